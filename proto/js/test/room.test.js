import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Room } from '../room.js';
import { FakeConnection } from './fake-rtc.mjs';
import { FakeClock, FakeCluster, FakeNetwork, FakeNode, chance } from './fakes.mjs';

const URL_A = 'ws://a.example/v1/signal';

function world(seed = 1) {
  const clock = new FakeClock();
  const random = chance(seed);
  const network = new FakeNetwork(clock);
  const cluster = new FakeCluster(clock, random);
  const node = new FakeNode(cluster);
  network.nodes.set(URL_A, node);
  const enter = async (options = {}) => {
    const log = [];
    const room = new Room({
      url: URL_A, room: 'r', WebSocket: network.WebSocket, clock, random, window: null,
      createConnection: (configuration) => {
        const connection = new FakeConnection(configuration, clock);
        connection.made = room.made.push(connection);
        return connection;
      },
      ...options,
    });
    room.made = [];
    room.log = log;
    for (const type of ['state', 'peer-joined', 'peer-left', 'peer-updated', 'signal', 'no-relay', 'restart', 'relay', 'error', 'moved', 'closed']) {
      room.on(type, (...args) => log.push([type, ...args]));
    }
    room.said = (type) => log.filter((entry) => entry[0] === type);
    if (options.show) room.publish({ id: options.show });
    const joining = room.join();
    let settled;
    joining.then(() => (settled = true), () => (settled = true));
    await clock.until(() => settled);
    await joining;
    return room;
  };
  const pc = (room, other) => room.peers.get(other.me.id).connection;
  const bound = (a, b) => {
    assert.equal(pc(a, b).dtls, pc(b, a).id);
    assert.equal(pc(b, a).dtls, pc(a, b).id);
    assert.equal(pc(a, b).signalingState, 'stable');
  };
  const session = (room) => cluster.sessions.get(room.me.id);
  return { clock, network, cluster, node, enter, pc, bound, session };
}

test('everybody is connected to everybody, whoever has something to show', async () => {
  const { clock, enter, bound, pc } = world();
  const rooms = [await enter(), await enter({ show: 'ben' }), await enter({ show: 'cleo' })];
  await clock.advance(1000);
  for (const [i, a] of rooms.entries()) for (const b of rooms.slice(i + 1)) bound(a, b);
  const shown = (a, b) => pc(a, b).remoteDescription.tracks;
  assert.deepEqual(shown(rooms[0], rooms[1]), ['ben']);
  assert.deepEqual(shown(rooms[1], rooms[2]), ['cleo']);
  rooms[0].publish({ id: 'late' });
  await clock.advance(1000);
  assert.deepEqual(shown(rooms[2], rooms[0]), ['late']);
  for (const room of rooms) assert.deepEqual([room.said('error'), room.made.length], [[], 2]);
});

test('the newcomer makes the first offer; the other makes none before it', async () => {
  const { clock, node, enter } = world();
  await enter();
  const ben = await enter();
  await clock.advance(300);
  const offers = node.heardFrames.filter((frame) => frame.kind === 'offer');
  assert.notEqual(offers[0].to, ben.me.id);
  assert.equal(offers[0].connection.yours, undefined);
  for (const { connection } of offers.slice(1)) assert.ok(connection.yours, 'and later ones belong to it');
});

test('of each two who offer at once the one with the lower id gives way', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { clock, enter, bound, pc } = world(seed);
    const rooms = [await enter(), await enter(), await enter()];
    await clock.advance(500);
    for (const [i, room] of rooms.entries()) room.publish({ id: `t${i}` });
    const [low, high] = rooms.slice(0, 2).sort((a, b) => (a.me.id < b.me.id ? -1 : 1));
    await clock.advance(12);
    assert.deepEqual([pc(low, high), pc(high, low)].map((c) => c.rolledBack ?? 0), [1, 0]);
    await clock.advance(1000);
    for (const [i, a] of rooms.entries()) for (const b of rooms.slice(i + 1)) bound(a, b);
    for (const room of rooms) assert.deepEqual([room.said('error'), room.made.length], [[], 2]);
  }
});

test('an application\'s own signals; the SDK\'s are its own', async () => {
  const { clock, enter } = world();
  const [ada, ben] = [await enter(), await enter()];
  await clock.advance(100);
  const sent = ada.send(ben.me.id, 'chat', { text: 'hello' });
  await clock.advance(200);
  await sent;
  const [[, { peer, kind, payload }]] = ben.said('signal');
  assert.deepEqual([peer.id, kind, payload], [ada.me.id, 'chat', { text: 'hello' }]);
  await assert.rejects(ada.send(ben.me.id, 'offer', {}), { code: 'bad_kind' });
});

test('a lost socket touches no connection', async () => {
  const { clock, network, enter, bound } = world();
  const [ada, ben] = [await enter({ show: 'a' }), await enter()];
  await clock.advance(1000);
  network.reset();
  await clock.advance(2000);
  bound(ada, ben);
  assert.deepEqual([ada.made.length, ben.made.length], [1, 1]);
  assert.deepEqual(ada.said('state').map((e) => e[1]), ['connected', 'reconnecting', 'connected']);
  assert.deepEqual([ada.said('peer-left'), ben.said('peer-left')], [[], []]);
});

test('gone: joins again by itself, and every connection is made anew', async () => {
  const { clock, network, node, enter, bound, session } = world();
  const [ada, ben] = [await enter({ show: 'a' }), await enter()];
  await clock.advance(1000);
  const before = ada.me.id;
  node.end(session(ada), 'lost', 4014);
  await clock.advance(3000);
  assert.notEqual(ada.me.id, before);
  bound(ada, ben);
  assert.equal(ben.peers.size, 1);
});

test('rebuilt: whoever has not come back yet is away for a grace, and its connection goes on', async () => {
  const { clock, cluster, network, node, enter, session, bound, pc } = world();
  const [ada, ben] = [await enter({ show: 'a' }), await enter({ show: 'b' })];
  await clock.advance(1000);
  const pairs = [relayed(pc(ada, ben), 'turn:x'), relayed(pc(ben, ada), 'turn:x')];
  const flow = () => {
    for (const pair of pairs) pair.bytesReceived += 100;
    clock.setTimeout(flow, 100);
  };
  flow();
  node.resumeAs = 'rebuilt';
  const lost = session(ben);
  cluster.sessions.delete(lost.peer); // ada comes first, into an empty room
  session(ada).pipe.reset();
  await clock.advance(1000);
  assert.equal(ada.peers.get(ben.me.id).away, true);
  cluster.sessions.set(lost.peer, lost);
  network.reset();
  await clock.advance(1000);
  assert.equal(ada.peers.get(ben.me.id).away, false);
  await clock.advance(60_000);
  bound(ada, ben);
  assert.deepEqual([ada.made.length, ben.made.length], [1, 1]);

  cluster.sessions.delete(lost.peer);
  lost.pipe.hole = true; // and this time it stays away
  session(ada).pipe.reset();
  await clock.advance(29_000);
  assert.equal(ada.peers.size, 1);
  await clock.advance(3000);
  assert.equal(ada.said('peer-left')[0][2], 'lost');
});

test('resumed: whoever is missing has left, and whoever is new offers by itself', async () => {
  const { clock, node, enter, session, bound } = world();
  const [ada, ben] = [await enter({ show: 'a' }), await enter()];
  await clock.advance(500);
  const adas = session(ada);
  adas.pipe.hole = true; // ada hears nothing of what follows
  ben.leave();
  const cleo = await enter({ show: 'c' });
  await clock.advance(15_000);
  assert.deepEqual([...ada.peers.keys()], [cleo.me.id]);
  bound(ada, cleo);
  assert.deepEqual(ada.said('error'), []);
});

/** Makes a connection look connected over that relay; `flow` lets bytes come. */
function relayed(connection, url) {
  const pair = { id: 'P', type: 'candidate-pair', bytesReceived: 0, responsesReceived: 0, requestsReceived: 0, localCandidateId: 'L', remoteCandidateId: 'R', currentRoundTripTime: 0.02 };
  for (const entry of [pair, { id: 'T', type: 'transport', selectedCandidatePairId: 'P' },
    { id: 'L', type: 'local-candidate', candidateType: 'relay', protocol: 'udp', relayProtocol: 'udp', url },
    { id: 'R', type: 'remote-candidate', candidateType: 'host', protocol: 'udp', address: '10.0.0.9' }]) connection.stats.set(entry.id, entry);
  connection.connectionState = 'connected';
  connection.getTransceivers = () => [{ currentDirection: 'sendrecv', receiver: { track: { kind: 'audio' } } }];
  return pair;
}

test('operators are told how each connection is, again after each return, and by nodes that know of it alone', async () => {
  const { clock, cluster, network, node, enter, pc } = world();
  const told = (from = 0) => node.heardFrames.slice(from).filter((frame) => frame.type === 'connections').map((frame) => frame.peers);
  const older = [await enter(), await enter()];
  await clock.advance(5000);
  assert.deepEqual(told(), [], 'a node that does not name the limit does not know the frame');
  for (const room of older) room.leave();
  cluster.limits.connections_max = 64;
  const [ben, ada] = [await enter({ room: 's', media: false }), await enter({ room: 's' })];
  await clock.advance(1500);
  const is = (frames, peers) => assert.deepEqual(frames, [peers]);
  is(told().slice(-1), { [ben.me.id]: { state: 'new' } });
  relayed(pc(ada, ben), 'turn:x');
  pc(ada, ben).onconnectionstatechange();
  await clock.advance(3000);
  const connected = { [ben.me.id]: { state: 'connected', local: 'relay', remote: 'host' } };
  is(told().slice(-1), connected);
  const before = node.heardFrames.length;
  await clock.advance(5000);
  assert.deepEqual(told(before), [], 'nothing has changed');
  network.reset();
  await clock.advance(3000);
  is(told(before), connected);
  ben.leave();
  await clock.advance(1500);
  is(told().slice(-1), {});
});

test('edge_lost: a silent pair restarts with the new servers, a healthy one does not', async () => {
  const { clock, enter, session, pc, cluster } = world();
  const [ada, ben, cleo] = [await enter(), await enter(), await enter()];
  await clock.advance(500);
  const url = 'turn:edge.example:3478?transport=udp';
  const pairs = [relayed(pc(ada, ben), url), relayed(pc(ben, ada), url), relayed(pc(ada, cleo), url)];
  let flowing = 3;
  const flow = () => {
    for (const pair of pairs.slice(0, flowing)) pair.bytesReceived += 100;
    clock.setTimeout(flow, 100);
  };
  flow();
  await clock.advance(5000);
  assert.equal(ada.path(ben.me.id).edge, 'e1');
  const [healthy, silent] = [pc(ada, ben), pc(ada, cleo)];
  const fresh = [{ urls: ['turn:other.example'], username: 'x', credential: 'y' }];
  cluster.iceServers = fresh;
  flowing = 2;
  await clock.advance(800);
  session(ada).pipe.down({ type: 'ice_servers', ice_servers: fresh, ice_ttl_ms: 1, edges: [], reason: 'edge_lost', lost: 'e1' });
  await clock.advance(1200);
  assert.equal(silent.configurations.length, 2, 'within about a second of the hint');
  assert.deepEqual(silent.configurations[1].iceServers, fresh);
  assert.equal(silent.signalingState, 'stable');
  await clock.advance(20_000);
  assert.equal(healthy.configurations.length, 1, 'refreshed servers are only stored');
  assert.equal(ada.said('restart')[0][1].peer.id, cleo.me.id);
});

/** Ada's connections to others over an edge, with media that flows in both directions. */
async function calls(others, url) {
  const all = world();
  const { clock, enter, pc } = all;
  const ada = await enter();
  const rooms = [];
  for (let n = 0; n < others; n++) rooms.push(await enter());
  await clock.advance(500);
  const pairs = rooms.flatMap((other) => [relayed(pc(ada, other), url), relayed(pc(other, ada), url)]);
  const flow = () => {
    for (const pair of pairs) if (!pair.dead) pair.bytesReceived += 100;
    clock.setTimeout(flow, 100);
  };
  flow();
  await clock.advance(5000);
  return { ...all, ada, rooms, pairs };
}

const EDGE = 'turn:edge.example:3478?transport=udp';
const OTHER = 'turn:other.example:3478?transport=udp';
const FRESH = [{ urls: [OTHER], username: 'x', credential: 'y' }];
const FRESH_EDGES = [{ edge: 'e2', region: 'there', urls: ['stun:other.example:3478'] }];

test('an edge that is emptied: one connection after the other moves while it works, and no others do', async () => {
  const { clock, ada, rooms, session, pc } = await calls(3, EDGE);
  const [first, second, third] = rooms.map((other) => pc(ada, other));
  relayed(third, OTHER);
  third.stats.get('P').dead = true;
  const alive = () => (third.stats.get('P').bytesReceived += 100, clock.setTimeout(alive, 100));
  alive();
  const drain = { type: 'ice_servers', ice_servers: FRESH, ice_ttl_ms: 1, edges: FRESH_EDGES, reason: 'draining', draining: ['e1'] };
  session(ada).pipe.down(drain);
  await clock.until(() => ada.said('restart').length === 1, 3000);
  assert.deepEqual([first.configurations.length, second.configurations.length], [2, 1], 'one after the other');
  assert.deepEqual(first.configurations[1].iceServers, FRESH);
  await clock.advance(3000);
  assert.equal(second.configurations.length, 1, 'not before the first has moved');
  first.stats.get('L').url = OTHER;
  await clock.until(() => second.configurations.length === 2, 4000);
  second.stats.get('L').url = OTHER;
  session(ada).pipe.down(drain);
  await clock.advance(60_000);
  assert.deepEqual(ada.said('restart').map(([, { how }]) => how), ['move', 'move']);
  assert.equal(third.configurations.length, 1, 'it goes over another edge');
});

test('a drain that a connection cannot follow costs it three restarts, and what it has stays', async () => {
  const { clock, ada, rooms, session, pc } = await calls(1, EDGE);
  session(ada).pipe.down({ type: 'ice_servers', ice_servers: FRESH, ice_ttl_ms: 1, edges: FRESH_EDGES, reason: 'draining', draining: ['e1'] });
  await clock.advance(120_000);
  assert.deepEqual(ada.said('restart').map(([, { how }]) => how), ['move', 'move', 'move']);
  assert.equal(pc(ada, rooms[0]).connectionState, 'connected');
});

test('where the only edge is emptied nobody moves: there is nowhere to go', async () => {
  const { clock, ada, rooms, session, pc } = await calls(1, EDGE);
  session(ada).pipe.down({ type: 'ice_servers', ice_servers: [], ice_ttl_ms: 1, edges: [], reason: 'draining', draining: ['e1'] });
  await clock.advance(120_000);
  assert.deepEqual(ada.said('restart'), []);
  assert.equal(pc(ada, rooms[0]).configurations.length, 1);
});

test('a nearer edge draws connections lazily and once; one that is taken back draws nobody', async () => {
  const { clock, ada, rooms, session, pc } = await calls(1, EDGE);
  const closer = { type: 'ice_servers', ice_servers: FRESH, ice_ttl_ms: 1, edges: FRESH_EDGES, reason: 'closer' };
  session(ada).pipe.down(closer);
  await clock.advance(9000);
  assert.equal(ada.said('restart').length, 0);
  await clock.advance(60_000);
  assert.deepEqual(ada.said('restart').map(([, { how }]) => how), ['move']);
  assert.deepEqual(pc(ada, rooms[0]).configurations.at(-1).iceServers, FRESH);

  const { clock: later, ada: eve, session: evesSession } = await calls(1, EDGE);
  evesSession(eve).pipe.down(closer);
  await later.advance(1000);
  evesSession(eve).pipe.down({ ...closer, edges: [{ edge: 'e3', region: 'x', urls: [] }], reason: 'requested' });
  await later.advance(80_000);
  assert.equal(eve.said('restart').length, 0);
});

test('a drain does not wait for a nearer edge that draws lazily', async () => {
  const { clock, ada, session } = await calls(1, EDGE);
  const frame = { type: 'ice_servers', ice_servers: FRESH, ice_ttl_ms: 1, edges: FRESH_EDGES };
  session(ada).pipe.down({ ...frame, reason: 'closer' });
  await clock.advance(100);
  session(ada).pipe.down({ ...frame, reason: 'draining', draining: ['e1'] });
  await clock.until(() => ada.said('restart').length === 1, 3000);
});

test('a browser that refuses the servers of now keeps the connection and those it has', async () => {
  const { clock, ada, rooms, session, pc } = await calls(1, EDGE);
  const connection = pc(ada, rooms[0]);
  connection.setConfiguration = () => { throw new Error('InvalidModificationError'); };
  session(ada).pipe.down({ type: 'ice_servers', ice_servers: FRESH, ice_ttl_ms: 1, edges: FRESH_EDGES, reason: 'draining', draining: ['e1'] });
  await clock.until(() => ada.said('restart').length === 1, 3000);
  assert.equal(pc(ada, rooms[0]), connection);
  assert.equal(connection.connectionState, 'connected');
});

test('who answers an ICE restart gathers with the servers of now', async () => {
  const { clock, ada, rooms: [ben], session, pc } = await calls(1, EDGE);
  session(ben).pipe.down({ type: 'ice_servers', ice_servers: FRESH, ice_ttl_ms: 1, edges: FRESH_EDGES, reason: 'expiring' });
  await clock.advance(100);
  assert.equal(pc(ben, ada).configurations.length, 1, 'they are only stored');
  pc(ada, ben).restartIce();
  await clock.advance(300);
  assert.deepEqual(pc(ben, ada).configurations.at(-1).iceServers, FRESH);
  assert.equal(ben.said('restart').length, 0);
});

test('a relay that falls silent is told of by whose it is, unless its own network is new', async () => {
  const { clock, ada, rooms: [ben], session, pairs, node, network } = await calls(1, EDGE);
  const told = () => node.heardFrames.filter((frame) => frame.type === 'ice_failed');
  await clock.advance(10_000);
  pairs[0].dead = true;
  await clock.advance(4000);
  assert.deepEqual(told(), [{ type: 'ice_failed', edge: 'e1', kind: 'stalled' }]);
  pairs[0].dead = false;
  await clock.advance(20_000);
  network.reset();
  await clock.until(() => ada.state === 'connected' && ben.state === 'connected', 5000);
  const before = told().length;
  pairs[0].dead = pairs[1].dead = true;
  await clock.advance(4000);
  assert.equal(told().length, before, 'its socket was lost as well');
  assert.ok(session(ada));
});

test('an uplink that is cut while media flows moves nobody', async () => {
  const { clock, ada, session } = await calls(2, EDGE);
  for (let n = 0; n < 3; n++) {
    session(ada).pipe.down({ type: 'ice_servers', ice_servers: FRESH, ice_ttl_ms: 1, edges: FRESH_EDGES, reason: 'edge_lost', lost: 'e1' });
    await clock.advance(10_000);
  }
  assert.equal(ada.said('restart').length, 0);
});

test('a kick ends the direct connections to the kicked at once, at either end', async () => {
  const { clock, enter, pc } = world();
  const [ada, ben, cleo] = [await enter(), await enter(), await enter()];
  await clock.advance(500);
  const ends = [pc(ada, ben), pc(ben, ada), pc(cleo, ben), pc(ben, cleo)];
  const stays = [pc(ada, cleo), pc(cleo, ada)];
  ada.kick(ben.me.id);
  await clock.until(() => ends.every((connection) => connection.closed), 100);
  assert.equal(cleo.said('peer-left')[0][2], 'kicked');
  assert.ok(stays.every((connection) => !connection.closed));
});

test('no restart while the peer is away; one as soon as it is back', async () => {
  const { clock, enter, pc, session } = world();
  const [ada, ben] = [await enter(), await enter()];
  await clock.advance(500);
  const pair = relayed(pc(ada, ben), 'turn:edge.example:3478');
  for (let n = 0; n < 40; n++) {
    pair.bytesReceived += 100;
    await clock.advance(100);
  }
  const { pipe } = session(ben);
  pipe.node.mute = true;
  pipe.reset();
  await clock.advance(15_000);
  assert.deepEqual([ada.peers.get(ben.me.id).away, ada.said('restart').length], [true, 0]);
  pipe.node.mute = false;
  await clock.until(() => !ada.peers.get(ben.me.id).away, 20_000);
  await clock.advance(600);
  assert.equal(ada.said('restart').length, 1);
});

test('without a relay it says so', async () => {
  const { clock, cluster, enter, session } = world();
  cluster.iceServers = [];
  const ada = await enter();
  assert.deepEqual([ada.said('no-relay').length, ada.hasRelay], [1, false]);
  session(ada).pipe.down({ type: 'ice_servers', ice_servers: [{ urls: ['turn:x'] }], ice_ttl_ms: 1, edges: [], reason: 'edge_up' });
  await clock.advance(50);
  assert.equal(ada.hasRelay, true);
});

test('kick: resolves when it is done, rejects when it may not be', async () => {
  const { clock, node, enter } = world();
  const [ada, ben] = [await enter(), await enter()];
  await clock.advance(100);
  const kicked = ada.kick(ben.me.id);
  await clock.advance(100);
  await kicked;
  assert.equal(ben.reason.code, 'kicked');
  node.heard = (pipe, frame) => frame.type === 'kick' && pipe.down({ type: 'error', code: 'forbidden', message: 'no' });
  const refused = assert.rejects(ada.kick('p_x'), { code: 'forbidden' });
  await clock.advance(100);
  await refused;
});

test('mute: tracks leave every connection, and come back with the grant', async () => {
  const { clock, enter, pc, bound, network } = world();
  const [ada, ben] = [await enter(), await enter({ show: 'ben' })];
  await clock.advance(1000);
  const shown = (a, b) => pc(a, b).remoteDescription.tracks;
  assert.deepEqual([shown(ada, ben), ben.muted], [['ben'], false]);
  const told = [];
  ben.on('withheld', (withheld) => told.push(withheld));
  ada.mute(ben.me.id);
  await clock.advance(1000);
  assert.deepEqual([shown(ada, ben), ben.muted, told], [[], true, [['publish']]]);
  assert.deepEqual(ada.peers.get(ben.me.id).withheld, ['publish']);
  assert.deepEqual(ada.said('peer-updated').at(-1).slice(2), ['withheld']);
  assert.equal(ben.published.length, 1, 'it is the application\'s still');
  // Nobody who comes later is sent it, nor what is published meanwhile; and a return does not give it back.
  const cleo = await enter();
  ben.publish({ id: 'late' });
  network.reset();
  await clock.advance(3000);
  assert.deepEqual([shown(cleo, ben), shown(ada, ben), ben.muted], [[], [], true]);
  assert.deepEqual(cleo.peers.get(ben.me.id).withheld, ['publish']);
  ada.mute(ben.me.id, { grants: ['broadcast'] });
  ada.unmute(ben.me.id);
  await clock.advance(1000);
  assert.deepEqual(shown(ada, ben).sort(), ['ben', 'late']);
  assert.deepEqual(shown(cleo, ben).sort(), ['ben', 'late']);
  assert.deepEqual([told.at(-1), ben.me.withheld, ada.peers.get(ben.me.id).withheld], [['broadcast'], ['broadcast'], ['broadcast']]);
  bound(ada, ben);
  for (const room of [ada, ben, cleo]) assert.deepEqual(room.said('error'), []);
});

test('an operator\'s word to all is nobody\'s', async () => {
  const { clock, enter, session } = world();
  const ada = await enter();
  const heard = [];
  ada.on('broadcast', (event) => heard.push(event));
  session(ada).pipe.down({ type: 'broadcast', n: 1, payload: { text: 'ten minutes left' } });
  await clock.advance(50);
  assert.deepEqual(heard, [{ from: undefined, peer: undefined, payload: { text: 'ten minutes left' }, n: 1 }]);
});

test('pagehide says goodbye; a page that is brought back joins again', async () => {
  const { clock, enter, cluster } = world();
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  const window = Object.assign(new EventTarget(), { document, navigator: {} });
  const ada = await enter({ window });
  window.dispatchEvent(new Event('pagehide'));
  await clock.advance(100);
  assert.deepEqual([ada.state, cluster.sessions.size], ['disconnected', 0]);
  window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  await clock.advance(1000);
  assert.deepEqual([ada.state, cluster.sessions.size], ['connected', 1]);
});

test('nobody answers: join rejects in time', async () => {
  const { network, enter } = world();
  network.nodes.clear();
  await assert.rejects(enter({ timeoutMs: 5000 }), { code: 'timeout' });
});

test('moved to another room: the same object, other people, the same media', async () => {
  const { clock, node, enter, bound, pc, session } = world();
  const [ada, ben] = [await enter(), await enter({ show: 'ben', name: 'Ben', getToken: () => 'of-the-app' })];
  const cleo = await enter({ room: 'other', show: 'cleo' });
  await clock.advance(1000);
  const [before, former] = [ben.me.id, pc(ben, ada)];
  ben.update({ name: 'Benjamin' });
  await clock.advance(100);
  const waiting = ben.send(ada.me.id, 'chat', {}).catch((error) => error.code);
  session(ben).pipe.down({ type: 'moved', room: 'other', token: 'm1.1.x' });
  await clock.until(() => ben.said('moved').length > 0);
  assert.deepEqual([ben.name, ben.state, ben.said('moved')], ['other', 'reconnecting', [['moved', { from: 'r', room: 'other' }]]]);
  assert.deepEqual(ben.said('peer-left').map(([, peer, reason]) => [peer.id, reason]), [[ada.me.id, 'moved']]);
  assert.equal(former.signalingState, 'closed');
  await clock.until(() => ben.state === 'connected');
  await clock.advance(1000);
  assert.notEqual(ben.me.id, before);
  const join = node.heardFrames.filter((frame) => frame.type === 'join').at(-1);
  assert.deepEqual([join.room, join.token, join.name], ['other', 'm1.1.x', 'Benjamin']);
  assert.deepEqual([[...ben.peers.keys()], [...cleo.peers.keys()]], [[cleo.me.id], [ben.me.id]]);
  bound(ben, cleo);
  assert.deepEqual([pc(cleo, ben).remoteDescription.tracks, pc(ben, cleo).remoteDescription.tracks], [['ben'], ['cleo']]);
  assert.deepEqual([ada.peers.size, ben.said('closed'), ben.said('error')], [0, [], []]);
  assert.ok(['moved', undefined].includes(await waiting), 'sent to who is no more in one\'s room, or in time');
});

test('moved to a room that lets one not in: it is over, and the words say of what', async () => {
  const { clock, node, enter, session } = world();
  const ada = await enter();
  node.refuse = { type: 'error', code: 'locked', message: 'the room is locked' };
  session(ada).pipe.down({ type: 'moved', room: 'other', token: 'm1.1.x' });
  await clock.until(() => ada.said('closed').length > 0);
  const [[, reason]] = ada.said('closed');
  assert.deepEqual([ada.state, reason.code], ['disconnected', 'locked']);
  assert.equal(reason.message, 'locked: moved from r to other, which did not let one in: the room is locked');
});

test('moved with a token that is no good any more: the application is asked for one', async () => {
  const { clock, node, enter, session } = world();
  const asked = [];
  const ada = await enter({ getToken: (about) => { asked.push(about.room); return 'of-the-app'; } });
  node.refuse = { type: 'error', code: 'token_expired', message: '' };
  session(ada).pipe.down({ type: 'moved', room: 'other', token: 'm1.1.x' });
  await clock.until(() => asked.length > 1);
  node.refuse = null;
  await clock.until(() => ada.state === 'connected');
  const join = node.heardFrames.filter((frame) => frame.type === 'join').at(-1);
  assert.deepEqual([join.room, join.token, asked], ['other', 'of-the-app', ['r', 'other']]);
});

test('a session that was moved without hearing of it is not joined again', async () => {
  const { clock, network, node, enter } = world();
  const ada = await enter();
  node.refuse = { type: 'gone', reason: 'moved' };
  network.reset();
  await clock.until(() => ada.said('closed').length > 0);
  assert.equal(ada.said('closed')[0][1].code, 'moved');
});

/** A room with a lobby: joins wait until `answer` says otherwise. */
function lobby() {
  const all = world();
  const listeners = {};
  const window = { addEventListener: (type, f) => (listeners[type] = f), removeEventListener() {} };
  const { clock, network, node } = all;
  node.refuse = { type: 'waiting', position: 2, nodes: ['wss://b.example/v1/signal'] };
  const room = new Room({ url: URL_A, room: 'r', name: 'Ben', WebSocket: network.WebSocket, clock, random: chance(7), window, media: false });
  const seen = { positions: [], result: undefined };
  room.on('waiting', ({ position }) => seen.positions.push(position));
  room.join().then((joined) => (seen.result = joined), (error) => (seen.result = error.code));
  const pipe = () => [...network.pipes].at(-1);
  const joins = () => node.heardFrames.filter(({ type }) => type === 'join').length;
  const pings = async (ms) => {
    for (let passed = 0; passed < ms; passed += 10_000) {
      await clock.advance(10_000);
      pipe()?.down({ type: 'ping' });
    }
  };
  return { ...all, room, seen, pipe, joins, pings, listeners };
}

test('a lobby: one waits as long as it takes, and is then in as ever', async () => {
  const { clock, node, room, seen, pipe, joins, pings } = lobby();
  await clock.until(() => seen.positions.length > 0);
  pipe().down({ type: 'waiting', position: 1, nodes: [] });
  await pings(600_000);
  assert.deepEqual([seen.positions, seen.result, room.state, joins()], [[2, 1], undefined, 'connecting', 1]);
  node.refuse = null;
  node.heard(pipe(), { ...node.heardFrames.find(({ type }) => type === 'join') });
  await clock.until(() => seen.result);
  assert.equal(seen.result, room);
  assert.equal(room.state, 'connected');
});

test('a lobby: who is turned away is told why, and does not come again by itself', async () => {
  const { clock, network, room, seen, pipe } = lobby();
  await clock.until(() => seen.positions.length > 0);
  pipe().down({ type: 'error', code: 'denied', message: 'members only' });
  pipe().down({ type: 'closed', code: 'refused', message: '', resume: false });
  await clock.advance(60_000);
  assert.deepEqual([seen.result, room.reason.message, network.opened.length], ['denied', 'denied: members only', 1]);
});

test('a lobby: a node that is lost, falls silent or sends one away is knocked at elsewhere; a hint alone changes nothing', async () => {
  const { clock, network, node, room, seen, pipe, joins, pings, listeners } = lobby();
  network.nodes.set('wss://b.example/v1/signal', node);
  await clock.until(() => seen.positions.length > 0);
  node.heard = ((heard) => (from, frame) => (frame.type === 'ping' ? from.down({ type: 'pong', t: frame.t }) : heard.call(node, from, frame)))(node.heard);
  await pings(30_000);
  listeners.online();
  await clock.advance(10_000);
  assert.equal(joins(), 1);
  pipe().reset();
  await clock.until(() => joins() === 2);
  assert.equal(network.opened.at(-1), 'wss://b.example/v1/signal');
  await clock.advance(5000);
  pipe().hole = true;
  await clock.advance(20_000);
  assert.equal(joins(), 2, 'a silence of less than `silent_after_ms`');
  await clock.until(() => joins() === 3);
  await clock.advance(1000);
  pipe().down({ type: 'moving', to: ['wss://c.example/v1/signal'], within_ms: 3000 });
  network.nodes.set('wss://c.example/v1/signal', node);
  await clock.until(() => joins() === 4, 3000);
  assert.deepEqual([network.opened.at(-1), seen.result], ['wss://c.example/v1/signal', undefined]);
  room.leave();
  await clock.advance(100);
  assert.deepEqual([...network.pipes].filter(({ hole }) => !hole), [], 'and none is left behind');
});

test('who may let others in sees who waits, and answers', async () => {
  const { clock, node, enter, session } = world();
  const ada = await enter();
  const told = [];
  ada.on('knock', (knock) => told.push(['knock', knock.name]));
  ada.on('knock-gone', (knock) => told.push(['gone', knock.name]));
  const { pipe } = session(ada);
  const knock = (n) => ({ peer: `p_${n}`, identity: `i${n}`, name: `N${n}`, metadata: { n } });
  for (const n of [1, 2, 2]) pipe.down({ type: 'knock', ...knock(n) });
  await clock.advance(100);
  assert.deepEqual(ada.waiting.get('p_1'), { id: 'p_1', identity: 'i1', name: 'N1', metadata: { n: 1 } });
  ada.admit(ada.waiting.get('p_1'));
  ada.deny('p_2', 'no');
  await clock.advance(100);
  const said = node.heardFrames.filter(({ type }) => type === 'admit' || type === 'deny');
  assert.deepEqual(said, [{ type: 'admit', peer: 'p_1' }, { type: 'deny', peer: 'p_2', reason: 'no' }]);
  pipe.down({ type: 'knock_gone', peer: 'p_1' });
  pipe.down({ type: 'knock_gone', peer: 'p_9' });
  // A return tells all of it: one has gone meanwhile, another has come.
  node.waiting = [knock(3)];
  pipe.reset();
  await clock.until(() => ada.state === 'connected' && ada.waiting.has('p_3'));
  assert.deepEqual(told, [['knock', 'N1'], ['knock', 'N2'], ['gone', 'N1'], ['gone', 'N2'], ['knock', 'N3']]);
  ada.leave();
  assert.equal(ada.waiting.size, 0);
});
