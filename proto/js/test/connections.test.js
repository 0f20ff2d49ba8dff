import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Connections, candidatesOf } from '../connections.js';
import { FakeClock } from './fakes.mjs';

function telling() {
  const clock = new FakeClock();
  const peers = [];
  const told = [];
  const connections = new Connections({ clock, peers: () => peers, say: (frame) => told.push(frame) });
  return { clock, peers, told, connections };
}

const peer = (id, connectionState, candidates) => ({ id, connectionState, candidates, connection: {} });

test('what changes within a second is told at once, and what did not change is not told again', async () => {
  const { clock, peers, told, connections } = telling();
  connections.welcome(64);
  peers.push(peer('ada', 'new'), { id: 'hidden', connectionState: 'none', connection: null });
  await clock.advance(999);
  assert.deepEqual(told, []);
  peers[0].connectionState = 'connecting';
  connections.changed();
  await clock.advance(1);
  assert.deepEqual(told, [{ type: 'connections', peers: { ada: { state: 'connecting' } } }]);
  peers[0].connectionState = 'connected';
  connections.changed();
  peers[0].candidates = { local: 'relay', remote: 'srflx' };
  connections.changed();
  await clock.advance(10_000);
  assert.deepEqual(told.slice(1).map((frame) => frame.peers.ada), [{ state: 'connected', local: 'relay', remote: 'srflx' }]);
  connections.changed();
  await clock.advance(10_000);
  assert.equal(told.length, 2);
  peers.length = 0;
  connections.changed();
  await clock.advance(1000);
  assert.deepEqual(told[2].peers, {});
});

test('a node that has the session anew is told anew; one that does not know the frame is told nothing', async () => {
  const { clock, peers, told, connections } = telling();
  peers.push(peer('ada', 'connected'));
  connections.welcome(64);
  await clock.advance(1000);
  connections.welcome(64);
  await clock.advance(1000);
  assert.deepEqual(told.map((frame) => frame.peers), [{ ada: { state: 'connected' } }, { ada: { state: 'connected' } }]);
  connections.welcome(undefined);
  peers[0].connectionState = 'failed';
  connections.changed();
  await clock.advance(10_000);
  assert.equal(told.length, 2);
});

test('of more than the node takes those that work are left out', async () => {
  const { clock, peers, told, connections } = telling();
  peers.push(peer('ada', 'connected'), peer('ben', 'failed'), peer('cleo', 'connected'), peer('dan', 'new'));
  connections.welcome(3);
  await clock.advance(1000);
  assert.deepEqual(Object.keys(told[0].peers), ['ben', 'dan', 'ada']);
});

test('of candidates their types alone are told, where they are known', () => {
  const candidate = (candidateType) => ({ candidateType, address: '192.0.2.7', port: 9 });
  assert.deepEqual(candidatesOf({ local: candidate('host'), remote: candidate('prflx') }), { local: 'host', remote: 'prflx' });
  assert.deepEqual(candidatesOf({ local: candidate('relay'), remote: candidate('192.0.2.7') }), { local: 'relay', remote: undefined });
  assert.equal(candidatesOf({ local: candidate('host') }), undefined);
});
