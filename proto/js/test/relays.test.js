import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RelayWatch } from '../relays.js';

const urls = (host) => ['udp', 'tcp'].map((transport) => `turn:${host}:3478?transport=${transport}`);
const EDGES = [{ edge: 'e1', urls: urls('one.example') }, { edge: 'e2', urls: urls('2001:db8::2').map((u) => u.replace(/2001.*2:/, '[2001:db8::2]:')) }];

function watch() {
  const pc = new EventTarget();
  const relays = new RelayWatch(pc);
  const fail = (url) => pc.dispatchEvent(Object.assign(new Event('icecandidateerror'), { url }));
  return { relays, fail };
}

test('an edge none of whose URLs gave an address is named once, if another one gave one', () => {
  const { relays, fail } = watch();
  const look = { relays: [EDGES[1].urls[0]], state: 'connecting' };
  fail(EDGES[0].urls[0]);
  assert.deepEqual(relays.failed(EDGES, look), [], 'TCP may yet');
  fail(EDGES[0].urls[1]);
  assert.deepEqual(relays.failed(EDGES, look), ['e1']);
  assert.deepEqual(relays.failed(EDGES, look), []);
});

test('or if a connection came about without; where nothing works it is the network', () => {
  for (const state of ['connected', 'checking']) {
    const { relays, fail } = watch();
    for (const url of EDGES.flatMap((edge) => edge.urls)) fail(url);
    assert.deepEqual(relays.failed(EDGES, { relays: [], state }), state === 'connected' ? ['e1', 'e2'] : []);
  }
});

test('an error on one of several interfaces is none of the edge', () => {
  const { relays, fail } = watch();
  for (const url of EDGES[0].urls) fail(url);
  assert.deepEqual(relays.failed(EDGES, { relays: [EDGES[0].urls[1]], state: 'connected' }), []);
  relays.restarted();
  assert.deepEqual(relays.failed(EDGES, { relays: [], state: 'connected' }), [], 'what was before a restart is past');
});
