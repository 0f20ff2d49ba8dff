import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Probes } from '../probes.js';
import { Room } from '../room.js';
import { FakeConnection } from './fake-rtc.mjs';
import { FakeClock, FakeCluster, FakeNetwork, FakeNode, chance } from './fakes.mjs';

const edge = (ms) => ({ edge: `e${ms}`, region: 'here', urls: [`stun:${ms}`] });
const EDGES = [10, 20, 30].map(edge);

/** A connection that has its server-reflexive candidate after as many milliseconds as its server's name says. */
const connection = (clock) => class {
  constructor({ iceServers: [{ urls }] }) {
    this.ms = Number(/\d+/.exec(urls)[0]);
  }
  createDataChannel() {}
  async createOffer() { return {}; }
  async setLocalDescription() {
    clock.setTimeout(() => this.onicecandidate?.({ candidate: { type: 'srflx' } }), this.ms);
  }
  close() {}
};

/** Somebody in a room whose node names these edges; `frame` sends it `ice_servers`, `probes` is what it said since. */
async function member(edges) {
  const clock = new FakeClock();
  const [random, network] = [chance(1), new FakeNetwork(clock)];
  const cluster = new FakeCluster(clock, random);
  const node = new FakeNode(cluster);
  network.nodes.set('ws://a.example/v1/signal', node);
  cluster.edges = edges;
  const room = new Room({
    url: 'ws://a.example/v1/signal', room: 'r', WebSocket: network.WebSocket, clock, random, window: null,
    createConnection: (configuration) => new FakeConnection(configuration, clock),
    probes: new Probes({ RTCPeerConnection: connection(clock), ...clock }),
  });
  let joined = false;
  room.join().then(() => (joined = true));
  await clock.until(() => joined);
  const frame = (named, reason) => cluster.sessions.get(room.me.id).pipe.down({
    type: 'ice_servers', ice_servers: cluster.iceServers, ice_ttl_ms: 3_600_000, edges: named, reason,
  });
  let seen = 0;
  const probes = () => {
    const said = node.heardFrames.filter(({ type }) => type === 'probes').map(({ edges: of }) => of);
    return said.slice(seen, (seen = said.length));
  };
  return { clock, network, frame, probes };
}

test('every edge that a frame names is measured once, and told once', async () => {
  const { clock, frame, probes } = await member(EDGES.slice(0, 2));
  await clock.advance(4000);
  assert.deepEqual(probes(), [{ e10: 10, e20: 20 }]);
  frame(EDGES, 'closer');
  await clock.advance(1000);
  assert.deepEqual(probes(), [{ e30: 30 }], 'whatever the frame is for');
  for (const reason of ['measure', 'requested', 'draining', 'edge_lost']) frame(EDGES, reason);
  await clock.advance(1000);
  assert.deepEqual(probes(), [], 'all of that is known');
  await clock.advance(300_000);
  frame(EDGES, 'expiring');
  await clock.advance(1000);
  assert.deepEqual(probes(), [{ e10: 10, e20: 20, e30: 30 }]);
});

test('one edge is measured too; after a return everything is measured anew', async () => {
  const { clock, network, probes } = await member(EDGES.slice(0, 1));
  await clock.advance(4000);
  assert.deepEqual(probes(), [{ e10: 10 }]);
  network.reset();
  await clock.advance(6000);
  assert.deepEqual(probes(), [{ e10: 10 }], 'it may be another network, or another node');
});
