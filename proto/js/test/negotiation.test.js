import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pair } from '../negotiation.js';
import { FakeConnection } from './fake-rtc.mjs';
import { FakeClock, chance } from './fakes.mjs';

/** Two pairs, each the other's other side, and signals that arrive once, in order, some time later. */
function couple(seed = 1) {
  const clock = new FakeClock();
  const random = chance(seed);
  const log = [];
  const side = (polite) => {
    const tracks = [];
    let ids = 0;
    const pair = new Pair({
      polite,
      create: () => new FakeConnection({}, clock),
      newId: () => `${polite ? 'p' : 'i'}${++ids}`,
      tracks: () => tracks,
      send: (kind, payload, connection) => deliver(pair, { kind, payload: structuredClone(payload), connection }),
    });
    pair.name = polite ? 'polite' : 'impolite';
    pair.tracks = tracks;
    pair.errors = [];
    pair.opened = 0;
    pair.on('open', () => (pair.opened += 1));
    pair.on('error', (error) => pair.errors.push(error.message));
    pair.show = (id) => {
      tracks.push({ track: { id }, streams: [] });
      pair.addTrack({ id }, []);
    };
    return pair;
  };
  const polite = side(true);
  const impolite = side(false);
  const busy = { polite: 0, impolite: 0 };
  function deliver(from, signal) {
    log.push([from.name, signal.kind, signal.connection, clock.now(), signal.payload]);
    const to = from === polite ? impolite : polite;
    // In order: never before the one before it.
    busy[to.name] = Math.max(busy[to.name], clock.now() + Math.floor(random() * 80));
    clock.setTimeout(() => to.take(signal), busy[to.name] - clock.now());
  }
  const agree = () => {
    const [a, b] = [polite, impolite].map(({ pc }) => pc);
    assert.ok(a && b, 'both have a connection');
    for (const [x, y] of [[a, b], [b, a]]) {
      assert.equal(x.signalingState, 'stable');
      assert.equal(x.dtls, y.id, 'bound to each other');
      assert.equal(x.remoteDescription.ufrag, y.ufrag);
      assert.deepEqual(x.remoteCandidates, ['1', '2'], 'every candidate, and no late one');
      assert.deepEqual(x.remoteDescription.tracks, y.getSenders().map((s) => s.track.id));
    }
  };
  return { clock, random, log, polite, impolite, agree };
}

test('the newcomer offers, the other answers, and shows what it has', async () => {
  const { clock, polite, impolite, agree, log } = couple();
  impolite.show('camera');
  polite.begin();
  await clock.advance(2000);
  agree();
  assert.equal(log[0][1], 'offer');
  assert.deepEqual(log[0][2], { mine: 'p1' });
  assert.deepEqual(log.find(([from, kind]) => from === 'impolite' && kind === 'answer')[2], { mine: 'i1', yours: 'p1' });
});

test('glare: the polite one gives way', async () => {
  const { clock, polite, impolite, agree } = couple(3);
  polite.begin();
  impolite.begin();
  await clock.advance(2000);
  agree();
  for (const pair of [polite, impolite]) assert.deepEqual([pair.opened, pair.errors], [1, []]);
  polite.show('a');
  impolite.show('b');
  await clock.advance(2000);
  agree();
});

test('a rebuilt connection is answered by a new one, and late candidates meet neither', async () => {
  const { clock, polite, impolite, agree } = couple(2);
  polite.begin();
  await clock.advance(2000);
  polite.restart({ iceServers: [] }); // its candidates are still on the way
  await clock.advance(20);
  impolite.replace();
  await clock.advance(3000);
  agree();
  assert.deepEqual([polite.opened, impolite.opened], [2, 2]);
  assert.deepEqual([polite.errors, impolite.errors], [[], []]);
});

test('both rebuild at once: it ends', async () => {
  const { clock, polite, impolite, agree } = couple(5);
  polite.begin();
  await clock.advance(2000);
  polite.replace();
  impolite.replace();
  await clock.advance(3000);
  agree();
  assert.deepEqual([polite.opened, impolite.opened], [2, 2]);
});

test('a description that cannot be applied: another connection, whoever is polite', async () => {
  for (const who of ['polite', 'impolite']) {
    const world = couple(7);
    const { clock, polite, impolite, agree } = world;
    const [from, to] = who === 'polite' ? [polite, impolite] : [impolite, polite];
    const take = to.take.bind(to);
    let poisoned = false;
    to.take = (signal) => {
      if (signal.kind === 'offer' && !poisoned) {
        poisoned = true;
        return take({ ...signal, payload: { type: 'offer', sdp: '{"poison":true}' } });
      }
      return take(signal);
    };
    from.begin();
    await clock.advance(3000);
    assert.deepEqual(to.errors, ['cannot be applied']);
    agree();
  }
});

test('configuration changes only together with a restart', async () => {
  const { clock, polite, impolite, agree } = couple();
  const restarted = [];
  for (const pair of [polite, impolite]) pair.on('restarted', () => restarted.push(pair.name));
  polite.begin();
  await clock.advance(2000);
  const { pc } = polite;
  const before = pc.ufrag;
  polite.show('screen');
  await clock.advance(2000);
  assert.equal(pc.ufrag, before, 'a new track restarts nothing');
  assert.deepEqual(restarted, []);
  polite.restart({ iceServers: ['fresh'] });
  await clock.advance(2000);
  assert.notEqual(pc.ufrag, before);
  assert.deepEqual(restarted, ['impolite'], 'the other side hears of it');
  assert.deepEqual(pc.configurations.at(-1), { iceServers: ['fresh'] });
  agree();
});

test('bye closes that connection and no newer one', async () => {
  const { clock, polite, impolite, agree } = couple();
  polite.begin();
  await clock.advance(2000);
  await polite.take({ kind: 'bye', payload: null, connection: { mine: 'i1', yours: 'p0' } });
  agree();
  await polite.take({ kind: 'bye', payload: null, connection: { mine: 'i1', yours: 'p1' } });
  assert.equal(polite.pc, null);
  impolite.replace();
  await clock.advance(2000);
  agree();
});

test('whatever both do, in whatever order: they agree in the end', async () => {
  for (let seed = 1; seed <= 400; seed++) {
    const { clock, random, polite, impolite, agree } = couple(seed);
    (random() < 0.5 ? polite : impolite).begin();
    if (random() < 0.3) polite.begin();
    let replaced = 0;
    for (let step = 0; step < 12; step++) {
      const pair = random() < 0.5 ? polite : impolite;
      const dice = random();
      if (dice < 0.3) pair.show(`t${step}`);
      else if (dice < 0.6) pair.restart({});
      else if (dice < 0.75 && pair.pc && replaced < 4) {
        replaced += 1;
        pair.replace();
      }
      await clock.advance(random() < 0.3 ? 500 : random() * 60);
    }
    await clock.advance(5000);
    try {
      agree();
      const opened = polite.opened + impolite.opened;
      assert.ok(opened <= 2 + 3 * replaced, `${opened} connections after ${replaced} replacements`);
    } catch (error) {
      error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
});
