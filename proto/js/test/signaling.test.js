import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Signaling } from '../signaling.js';
import { Nodes, openWithin } from '../nodes.js';
import { backoff, signalUrl } from '../socket.js';
import { FakeClock, FakeCluster, FakeNetwork, FakeNode, chance } from './fakes.mjs';

const A = 'ws://a.example/v1/signal';
const B = 'ws://b.example/v1/signal';
const C = 'ws://c.example/v1/signal';

/** A cluster of three nodes and a network to it. */
function world(seed = 1) {
  const clock = new FakeClock();
  const random = chance(seed);
  const network = new FakeNetwork(clock);
  const cluster = new FakeCluster(clock, random);
  const [a, b, c] = [A, B, C].map((url) => {
    const node = new FakeNode(cluster);
    network.nodes.set(url, node);
    return node;
  });
  const enter = (options = {}) => {
    const log = [];
    const client = new Signaling({ urls: [A], room: 'r', WebSocket: network.WebSocket, clock, random, ...options });
    for (const type of ['state', 'welcome', 'gone', 'gap', 'signal', 'broadcast', 'peer_joined', 'peer_left', 'peer_updated', 'error']) {
      client.on(type, (...args) => log.push([type, ...args]));
    }
    client.log = log;
    client.of = (type) => log.filter((entry) => entry[0] === type).map((entry) => entry[1]);
    client.welcome = () => client.of('welcome').at(-1);
    client.start();
    return client;
  };
  const joined = async (options) => {
    const client = enter(options);
    await clock.until(() => client.state === 'connected');
    return client;
  };
  return { clock, random, network, cluster, a, b, c, enter, joined };
}

test('addresses and back-off', () => {
  assert.equal(signalUrl('https://x.example'), 'wss://x.example/v1/signal');
  assert.equal(signalUrl('ws://x.example:81/other?token=1#x'), 'ws://x.example:81/other');
  assert.deepEqual([0, 1, 2, 3, 4, 5, 9].map((n) => backoff(n, () => 0)), [0, 300, 1200, 2700, 4800, 7000, 7000]);
  assert.equal(backoff(1, () => 0.5), 300);
  assert.equal(backoff(2, () => 0.5), 1700);
});

test('joins, sees the roster, says goodbye', async () => {
  const { clock, joined } = world();
  const ada = await joined({ name: 'Ada' });
  const ben = await joined({ name: 'Ben', metadata: { x: 1 } });
  await clock.advance(50);
  assert.deepEqual(ben.welcome().roster.map((p) => p.name), ['Ada']);
  assert.equal(ada.of('peer_joined')[0].peer, ben.welcome().peer);
  ben.leave();
  await clock.advance(50);
  assert.equal(ada.of('peer_left')[0].reason, 'left');
  assert.deepEqual(ben.of('state'), ['connected', 'disconnected']);
  await assert.rejects(ben.signal(ada.welcome().peer, 'x', 1), { code: 'left' });
});

test('who comes first takes the nearer of several nodes, whichever is named first', async () => {
  for (const [far, near] of [[A, B], [B, A]]) {
    const { network, joined, cluster } = world();
    network.nodes.set(B, new FakeNode(cluster));
    network.nodes.get(far).opensAfter = 450; // within what a slow one is given when one comes back
    network.nodes.get(near).opensAfter = 60;
    await joined({ urls: [A, B] });
    assert.deepEqual([...network.pipes].map((pipe) => pipe.socket.url), [near]);
  }
});

test('the first of several nodes to open wins', async () => {
  const { network, a, joined } = world();
  a.mute = true;
  const client = await joined({ urls: [A, B] });
  assert.equal(client.state, 'connected');
  assert.deepEqual(network.opened, [A, B]);
  assert.equal(network.pipes.size, 1);
});

test('a burst is acknowledged by few frames', async () => {
  const { clock, a, joined } = world();
  const ada = await joined();
  const ben = await joined();
  const sent = Array.from({ length: 40 }, (_, n) => ada.signal(ben.welcome().peer, 'n', n));
  await clock.advance(200);
  await Promise.all(sent);
  assert.deepEqual(ben.of('signal').map((s) => s.payload), [...sent.keys()]);
  assert.ok(a.heardFrames.filter((f) => f.type === 'ack').length <= 3);
});

/** Everything at once: resets, black holes, moves, busy receivers; both ways, by a seed. */
async function schedule(seed) {
  const w = world(seed);
  const { clock, random, network, cluster, a, b } = w;
  cluster.nodeUrls = [A, B];
  cluster.limits.frames_per_sec = 2000;
  cluster.limits.frames_burst = 2000;
  const clients = [await w.joined(), await w.joined(), await w.joined()];
  const peers = clients.map((client) => client.welcome().peer);
  const total = 150;
  const settled = [];
  a.busy = b.busy = () => random() < 0.02;
  const next = clients.map(() => clients.map(() => 0));
  const left = () => next.some((row, i) => row.some((n, j) => i !== j && n < total));
  while (left()) {
    for (const [i, client] of clients.entries()) {
      for (const [j, peer] of peers.entries()) {
        if (i === j) continue;
        for (let burst = Math.floor(random() * 9); burst > 0 && next[i][j] < total; burst--) {
          settled.push(client.signal(peer, 'n', next[i][j]++));
        }
      }
    }
    const pipes = [...network.pipes];
    const some = pipes[Math.floor(random() * pipes.length)];
    const dice = random();
    if (dice < 0.06) network.reset();
    else if (dice < 0.2) some?.reset();
    else if (dice < 0.25 && some) some.hole = true;
    else if (dice < 0.32) some?.session && some.down({ type: 'moving', to: random() < 0.5 ? A : B, within_ms: 1000 });
    await clock.advance(random() * 60);
  }
  a.busy = b.busy = undefined;
  const outcomes = Promise.all(settled).then(() => 'all delivered');
  let outcome;
  outcomes.then((o) => (outcome = o), (e) => (outcome = e));
  await clock.until(() => outcome, 120_000);
  assert.equal(outcome, 'all delivered');
  for (const [j, client] of clients.entries()) {
    assert.equal(client.state, 'connected');
    for (const [i, from] of peers.entries()) {
      if (i === j) continue;
      const got = client.of('signal').filter((s) => s.from === from).map((s) => s.payload);
      assert.deepEqual(got, Array.from({ length: total }, (_, n) => n), `seed ${seed}: from ${i} to ${j}`);
    }
    assert.equal(client.of('gone').length, 0);
  }
  for (const client of clients) client.leave();
}

test('nothing lost, doubled or reordered through whatever happens to sockets', async (t) => {
  for (let seed = 1; seed <= 25; seed++) await t.test(`seed ${seed}`, () => schedule(seed));
});

test('busy: the same id again after the wait, and nothing newer before it', async () => {
  const { clock, a, joined } = world();
  const ada = await joined();
  const ben = await joined();
  let refusals = 0;
  a.busy = ({ id }) => id === 3 && refusals++ < 2;
  const sent = [1, 2, 3, 4, 5].map((n) => ada.signal(ben.welcome().peer, 'n', n));
  await clock.advance(1000);
  await Promise.all(sent);
  assert.deepEqual(ben.of('signal').map((s) => s.payload), [1, 2, 3, 4, 5]);
  const ids = a.heardFrames.filter((f) => f.type === 'signal').map((f) => f.id);
  assert.deepEqual(ids, [1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5]);
});

test('rate_limited without a name: all that is unacknowledged again', async () => {
  const { clock, a, network, joined } = world();
  const ada = await joined();
  const ben = await joined();
  const [pipe] = network.pipes;
  let drop = true;
  const { heard } = FakeNode.prototype;
  a.heard = function (from, frame) {
    if (drop && frame.type === 'signal' && frame.id === 2) {
      drop = false;
      return pipe.down({ type: 'error', code: 'rate_limited', message: '', retry_after_ms: 700 });
    }
    return heard.call(this, from, frame);
  };
  const began = clock.now();
  const sent = [1, 2, 3].map((n) => ada.signal(ben.welcome().peer, 'n', n));
  await clock.advance(600);
  assert.deepEqual(ben.of('signal').map((s) => s.payload), [1]);
  await clock.advance(600);
  await Promise.all(sent);
  assert.deepEqual(ben.of('signal').map((s) => s.payload), [1, 2, 3]);
  assert.ok(clock.now() - began >= 700);
});

test('keeps its own rate below the limit', async () => {
  const { clock, a, joined } = world();
  const ada = await joined();
  for (let n = 0; n < 250; n++) ada.say({ type: 'broadcast', payload: n });
  await clock.advance(10);
  const at = (ms) => clock.advance(ms).then(() => a.heardFrames.filter((f) => f.type === 'broadcast').length);
  const first = await at(0);
  assert.ok(first > 150 && first <= 200, `${first}`);
  assert.ok((await at(500)) - first <= 50);
  assert.equal(await at(2000), 250);
});

test('a signal that is refused for good leaves no gap', async () => {
  const { clock, a, joined } = world();
  const ada = await joined();
  const ben = await joined();
  const { heard } = FakeNode.prototype;
  a.heard = function (pipe, frame) {
    if (frame.type === 'signal' && frame.payload === 'bad') {
      return pipe.down({ type: 'error', code: 'malformed', message: 'no', to: frame.to, id: frame.id });
    }
    return heard.call(this, pipe, frame);
  };
  const sent = ['x', 'bad', 'y', 'z'].map((p) => ada.signal(ben.welcome().peer, 'n', p));
  sent[1].catch(() => {});
  await clock.advance(2000);
  const outcomes = await Promise.allSettled(sent);
  assert.deepEqual(outcomes.map((o) => o.reason?.code ?? 'delivered'), ['delivered', 'malformed', 'delivered', 'delivered']);
  assert.deepEqual(ben.of('signal').map((s) => s.payload), ['x', 'y', 'z']);
});

test('bounds: a payload too large, a queue too long', async () => {
  const { clock, network, joined } = world();
  const ada = await joined();
  const ben = await joined();
  const to = ben.welcome().peer;
  await assert.rejects(ada.signal(to, 'n', 'x'.repeat(60_000)), { code: 'too_large' });
  network.nodes.clear();
  network.reset();
  const outcomes = Array.from({ length: 1100 }, (_, n) => ada.signal(to, 'n', n).catch((e) => e.code));
  await clock.advance(1);
  assert.equal(await outcomes[1099], 'overflow');
  assert.equal(ada.state, 'reconnecting');
});

test('undelivered rejects, in words', async () => {
  const { clock, joined } = world();
  const ada = await joined();
  const refused = assert.rejects(ada.signal(`p_${'0'.repeat(24)}`, 'n', 1), { code: 'unknown' });
  await clock.advance(100);
  await refused;
});

test('a black hole is noticed within seven seconds and resumed elsewhere, past another one', async () => {
  const { clock, network, cluster, a, b, joined } = world();
  cluster.nodeUrls = [A, B, C];
  const ada = await joined();
  const { peer } = ada.welcome();
  const began = clock.now();
  for (const pipe of network.pipes) pipe.hole = true;
  a.mute = b.mute = true;
  await clock.until(() => ada.of('state').includes('reconnecting'));
  assert.ok(clock.now() - began < 6600, `${clock.now() - began}`);
  await clock.until(() => ada.state === 'connected');
  assert.ok(clock.now() - began < 7200, `${clock.now() - began}`);
  assert.equal(ada.welcome().type, 'resumed');
  assert.equal(ada.welcome().peer, peer);
});

test('a resume says what was taken, the name that one has now, and no token', async () => {
  const { clock, network, a, joined } = world();
  const ada = await joined({ name: 'Ada', getToken: () => 'jwt' });
  const ben = await joined();
  const sent = [1, 2].map((n) => ben.signal(ada.welcome().peer, 'n', n));
  ada.say({ type: 'update', name: 'Ada L.' });
  await clock.advance(100);
  await Promise.all(sent);
  network.reset();
  await clock.until(() => ada.of('welcome').length === 2);
  const join = a.heardFrames.filter((f) => f.type === 'join' && f.name === 'Ada L.').at(-1);
  assert.deepEqual(join.marks, { [ben.welcome().peer]: 2 });
  assert.equal(join.token, undefined);
  assert.equal(join.resume, ada.of('welcome')[0].resume);
});

test('a hint asks with two seconds to answer, and cuts a wait short', async () => {
  const { clock, network, joined } = world();
  const ada = await joined();
  for (const pipe of network.pipes) pipe.hole = true;
  ada.hint();
  await clock.until(() => ada.state === 'reconnecting', 2600);
  await clock.until(() => ada.state === 'connected', 500);
  const nodes = [...network.nodes];
  network.nodes.clear();
  network.reset();
  await clock.advance(9000); // by now it waits several seconds between attempts
  for (const [url, node] of nodes) network.nodes.set(url, node);
  ada.hint();
  await clock.until(() => ada.state === 'connected', 50);
});

test('after a sleep it asks before it believes', async () => {
  const { clock, network, joined } = world();
  const ada = await joined();
  clock.sleep(600_000);
  await clock.advance(100);
  assert.equal(ada.state, 'connected', 'silence while asleep proves nothing');
  clock.sleep(600_000);
  for (const pipe of network.pipes) pipe.hole = true;
  await clock.until(() => ada.state === 'reconnecting', 3000);
});

test('moving: the old socket stays until another has resumed', async () => {
  const { clock, network, cluster, b, joined } = world();
  const ada = await joined();
  const ben = await joined();
  const { peer } = ada.welcome();
  const session = cluster.sessions.get(peer);
  b.mute = true;
  session.pipe.down({ type: 'moving', to: B, within_ms: 30_000 });
  await clock.advance(300);
  const sent = ada.signal(ben.welcome().peer, 'n', 'through the old one');
  await clock.advance(100);
  await sent;
  b.mute = false;
  await clock.until(() => b.heardFrames.some((f) => f.type === 'join' && f.resume), 20_000);
  await clock.advance(200);
  assert.deepEqual(ada.of('state'), ['connected'], 'nobody noticed');
  assert.equal(session.peer, peer);
  assert.equal(network.pipes.size, 2);
  assert.equal(ben.of('peer_left').length, 0);
});

test('moving: to any of several, or anywhere else; not all at once', async () => {
  for (const [to, wanted] of [[[B, C], [B]], [[C], [C]], [[], [B, C]], [undefined, [B, C]]]) {
    const { clock, cluster, network, joined } = world();
    cluster.nodeUrls = [A, B, C];
    const clients = [];
    for (let n = 0; n < 20; n++) clients.push(await joined());
    network.opened = [];
    const began = clock.now();
    for (const session of cluster.sessions.values()) session.pipe.down({ type: 'moving', to, within_ms: 10_000 });
    const moved = () => [...cluster.sessions.values()].filter(({ pipe }) => pipe.node !== network.nodes.get(A)).length;
    await clock.until(() => moved() >= 5);
    assert.ok(moved() < 15, 'not all at once');
    await clock.until(() => moved() === 20);
    assert.ok(clock.now() - began < 8000, 'in good time');
    assert.ok(network.opened.every((url) => wanted.includes(url)), `${to}: ${network.opened}`);
    for (const client of clients) assert.deepEqual(client.of('state'), ['connected']);
  }
});

test('moving: what came over the old socket meanwhile is acknowledged over the new one', async () => {
  const { clock, cluster, b, joined } = world();
  cluster.nodeUrls = [A, B];
  const ada = await joined();
  const ben = await joined();
  const { heard } = FakeNode.prototype;
  b.heard = (pipe, frame) => clock.setTimeout(() => heard.call(b, pipe, frame), frame.type === 'join' ? 600 : 0);
  cluster.sessions.get(ada.welcome().peer).pipe.down({ type: 'moving', to: [B], within_ms: 0 });
  await clock.advance(100);
  const sent = [1, 2].map((n) => ben.signal(ada.welcome().peer, 'n', n));
  await clock.advance(100);
  await Promise.all(sent);
  await clock.until(() => ada.of('welcome').length === 2);
  await clock.advance(100);
  const [join, ack] = b.heardFrames.filter((f) => f.type === 'join' || f.type === 'ack');
  assert.deepEqual(join.marks, {});
  assert.deepEqual(ack, { type: 'ack', from: ben.welcome().peer, id: 2 });
});

test('moving: a socket that ends before its time is resumed at once', async () => {
  const { clock, cluster, network, joined } = world();
  cluster.nodeUrls = [A, B];
  const ada = await joined();
  cluster.sessions.get(ada.welcome().peer).pipe.down({ type: 'moving', to: [B], within_ms: 3_600_000 });
  await clock.advance(50);
  network.reset();
  await clock.until(() => ada.state === 'connected', 100);
  assert.equal(network.opened.at(-1), B);
  const { opened } = network;
  await clock.advance(3_600_000);
  assert.deepEqual(network.opened, opened, 'and it stays there');
});

test('a killed node: resumed on another one at once', async () => {
  const { clock, network, cluster, a, joined } = world();
  cluster.nodeUrls = [A, B, C];
  const ada = await joined();
  network.nodes.delete(A);
  for (const pipe of network.pipes) if (pipe.node === a) pipe.reset();
  await clock.until(() => ada.state === 'connected', 50);
  assert.deepEqual(network.opened, [A, B]);
});

test('a node that opens and does not answer a resume is left for another', async () => {
  const { clock, network, cluster, b, joined } = world();
  cluster.nodeUrls = [B, C];
  const ada = await joined();
  b.heard = () => {};
  const began = clock.now();
  network.reset();
  await clock.until(() => ada.of('welcome').length === 2);
  assert.equal(network.opened.at(-1), C);
  assert.ok(clock.now() - began < 5500, `${clock.now() - began}`);
});

test('busy: after its time, elsewhere', async () => {
  const { clock, network, cluster, b, joined } = world();
  cluster.nodeUrls = [B, C];
  const ada = await joined();
  b.refuse = { type: 'error', code: 'busy', message: '', retry_after_ms: 700 };
  const began = clock.now();
  network.reset();
  await clock.until(() => ada.of('welcome').length === 2);
  assert.deepEqual(network.opened, [A, B, C]);
  assert.ok(clock.now() - began >= 700 && clock.now() - began < 1000);
});

test('unavailable: it may still come on that socket, and is looked for elsewhere after that', async () => {
  for (const comes of [true, false]) {
    const { clock, network, cluster, b, joined } = world();
    cluster.nodeUrls = [B, C];
    const ada = await joined();
    const { heard } = FakeNode.prototype;
    b.heard = function (pipe, frame) {
      pipe.down({ type: 'error', code: 'unavailable', message: '', retry_after_ms: 1000 });
      if (comes) clock.setTimeout(() => heard.call(b, pipe, frame), 600);
    };
    network.reset();
    await clock.until(() => ada.of('welcome').length === 2, 2000);
    assert.equal(network.opened.at(-1), comes ? B : C);
    assert.equal(ada.of('error').length, 0);
    const [before, after] = ada.of('welcome');
    assert.equal(after.peer, before.peer); // the token was kept
  }
});

test('what failed is tried last, for a while; the wait for an address grows', () => {
  const nodes = new Nodes([A]);
  assert.deepEqual(nodes.targets(null, 0), [A]);
  nodes.welcomed([A, B, C], A);
  nodes.failed(A, 0);
  assert.deepEqual(nodes.targets(null, 1), [B, C, A]);
  nodes.failed(B, 1);
  assert.deepEqual(nodes.targets(null, 2), [C, A, B]);
  nodes.failed(A, 20_000);
  assert.deepEqual(nodes.targets(null, 20_000), [C, B, A]);
  assert.deepEqual(nodes.targets(C, 30_500), [B, A]);
  nodes.sendTo(['http://d.example', C], A);
  assert.deepEqual(nodes.targets(A, 60_000), ['ws://d.example/v1/signal', C, B]);
  assert.deepEqual([0, 1, 2, 3, 99].map((vain) => openWithin(3, vain)), [2000, 4000, 8000, 8000, 8000]);
  assert.equal(openWithin(1, 0), 4000);
});

for (const [what, refuse] of [
  ['does not know us', { type: 'gone', reason: 'unknown' }],
  ['refuses us', { type: 'error', code: 'forbidden', message: '' }],
]) {
  test(`moving to a node that ${what}: the session goes on where it was`, async () => {
    const { clock, b, cluster, joined } = world();
    const ada = await joined();
    const ben = await joined();
    const { peer } = ada.welcome();
    b.refuse = refuse;
    cluster.sessions.get(peer).pipe.down({ type: 'moving', to: [B], within_ms: 1000 });
    await clock.advance(5000);
    assert.ok(b.heardFrames.length > 1, 'it was tried');
    assert.deepEqual(ada.of('state'), ['connected']);
    const sent = ada.signal(ben.welcome().peer, 'n', 1);
    await clock.advance(200);
    await sent;
    b.refuse = null;
    await clock.until(() => cluster.sessions.get(peer).pipe.node === b, 20_000);
    assert.equal(ada.of('gone').length, 0);
  });
}

test('gone: joins again by itself, with a fresh token', async () => {
  const { clock, network, cluster, a, joined } = world();
  let tokens = 0;
  const ada = await joined({ getToken: async () => `token-${++tokens}` });
  const ben = await joined();
  const first = ada.welcome().peer;
  const held = ada.signal(ben.welcome().peer, 'n', 1);
  const lost = assert.rejects(held, { code: 'gone' });
  a.forget(cluster.sessions.get(first));
  network.reset();
  await clock.until(() => ada.of('welcome').length === 2);
  await lost;
  assert.notEqual(ada.welcome().peer, first);
  assert.equal(ada.of('gone').length, 1);
  assert.deepEqual(a.heardFrames.filter((f) => f.type === 'join' && f.token).map((f) => f.token), ['token-1', 'token-2']);
  const again = ada.signal(ben.welcome().peer, 'n', 'anew');
  await clock.advance(200);
  await again;
  assert.equal(ben.of('signal').at(-1).payload, 'anew');
});

for (const [reason, code] of [['revoked', 'kicked'], ['replaced', 'replaced'], ['closed', 'room_closed']]) {
  test(`gone, ${reason}: stays away`, async () => {
    const { clock, network, a, joined } = world();
    const ada = await joined();
    a.refuse = { type: 'gone', reason };
    network.reset();
    await clock.until(() => ada.state === 'disconnected');
    assert.equal(ada.log.at(-1)[2].code, code);
    await clock.advance(60_000);
    assert.equal(a.heardFrames.filter((f) => f.type === 'join').length, 2);
  });
}

test('rebuilt goes on with the same peer and the same counters', async () => {
  const { clock, network, a, joined } = world();
  const ada = await joined();
  const ben = await joined();
  const to = ben.welcome().peer;
  const one = ada.signal(to, 'n', 1);
  await clock.advance(100);
  await one;
  a.resumeAs = 'rebuilt';
  network.reset();
  const two = ada.signal(to, 'n', 2);
  await clock.advance(1000);
  await two;
  assert.deepEqual(ben.of('signal').map((s) => s.payload), [1, 2]);
  assert.equal(ada.of('gone').length, 0);
});

test('a refused join: for good, or after a while, or with another token', async () => {
  const { clock, a, enter, joined } = world();
  a.refuse = { type: 'error', code: 'room_full', message: 'full' };
  const full = enter();
  await clock.until(() => full.state === 'disconnected');
  assert.equal(full.log.at(-1)[2].code, 'room_full');

  a.refuse = { type: 'error', code: 'busy', message: '', retry_after_ms: 5000 };
  const began = clock.now();
  const busy = enter();
  await clock.advance(4900);
  a.refuse = null;
  await clock.until(() => busy.state === 'connected');
  assert.ok(clock.now() - began >= 5000);

  let asked = 0;
  a.refuse = { type: 'error', code: 'token_expired', message: '' };
  const late = await joined({ getToken: () => { if (++asked === 2) a.refuse = null; return 'x'; } });
  assert.equal(asked, 2);
  assert.equal(late.state, 'connected');

  a.refuse = { type: 'error', code: 'token_invalid', message: '' };
  const never = enter({ getToken: () => 'x' });
  await clock.until(() => never.state === 'disconnected');
});

test('kicked ends it; a socket that is replaced without our doing too', async () => {
  const { clock, a, cluster, joined } = world();
  const ada = await joined({ identity: 'ada' });
  const again = await joined({ identity: 'ada' });
  await clock.until(() => ada.state === 'disconnected');
  assert.equal(ada.log.at(-1)[2].code, 'replaced');
  a.end(cluster.sessions.get(again.welcome().peer), 'kicked', 4011);
  await clock.until(() => again.state === 'disconnected');
  assert.equal(again.log.at(-1)[2].code, 'kicked');
});

test('broadcasts: gaps are told, repetitions are not heard', async () => {
  const { clock, network, joined, cluster } = world();
  const ada = await joined();
  const ben = await joined();
  ada.say({ type: 'broadcast', payload: 1 });
  await clock.advance(50);
  const pipe = cluster.sessions.get(ben.welcome().peer).pipe;
  pipe.down({ type: 'broadcast', from: ada.welcome().peer, n: 1, payload: 'again' });
  pipe.down({ type: 'broadcast', from: ada.welcome().peer, n: 4, payload: 4 });
  cluster.broadcasts = 6;
  await clock.advance(50);
  assert.deepEqual(ben.of('broadcast').map((b) => b.payload), [1, 4]);
  assert.deepEqual(ben.of('gap'), [2]);
  network.reset();
  await clock.until(() => ben.of('welcome').length === 2);
  assert.deepEqual(ben.of('gap'), [2, 2]);
});

test('an update made while away arrives', async () => {
  const { clock, network, joined } = world();
  const ada = await joined({ name: 'Ada' });
  const ben = await joined();
  network.reset();
  ada.say({ type: 'update', metadata: { muted: true } });
  await clock.until(() => ben.of('peer_updated').some((u) => u.metadata?.muted));
  assert.equal(ben.of('peer_updated').at(-1).name, 'Ada');
});

test('the mark of a sender who left unseen is kept too', async () => {
  const { clock, a, cluster, joined } = world();
  const ada = await joined();
  const ben = await joined();
  const sent = ada.signal(ben.welcome().peer, 'n', 1);
  await clock.advance(100);
  await sent;
  const session = cluster.sessions.get(ben.welcome().peer);
  session.pipe.hole = true;
  ada.leave();
  await clock.until(() => ben.of('welcome').length === 2);
  session.pipe.reset();
  await clock.until(() => ben.of('welcome').length === 3);
  const marks = () => a.heardFrames.filter((f) => f.type === 'join' && f.resume).at(-1).marks;
  assert.deepEqual(Object.values(marks()), [1]);
  await clock.advance(31_000);
  session.pipe.reset();
  await clock.until(() => ben.of('welcome').length === 4);
  assert.deepEqual(Object.values(marks()), [1], 'who was called gone may be back');
});

test('a mark outlives its sender', async () => {
  const { clock, cluster, joined } = world();
  const ada = await joined();
  const ben = await joined();
  const from = ada.welcome().peer;
  const sent = ada.signal(ben.welcome().peer, 'n', 1);
  await clock.advance(100);
  await sent;
  ada.leave();
  await clock.advance(1000);
  const { pipe } = cluster.sessions.get(ben.welcome().peer);
  pipe.down({ type: 'signal', from, id: 1, kind: 'n', payload: 1 });
  await clock.advance(100);
  assert.equal(ben.of('signal').length, 1);
});
