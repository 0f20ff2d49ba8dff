import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IceServers, StallWatch, digest, hostPort, pathOf, qualityOf } from '../ice.js';
import { Probes } from '../probes.js';
import { FakeClock } from './fakes.mjs';

/** A connection that is looked at every 250 ms; `run` says what is received and collects verdicts. */
function watched() {
  const watch = new StallWatch(0);
  const world = { now: 0, bytes: 0, checks: 0, state: 'connected', expecting: true, hold: false, pairId: 'p' };
  world.suspect = () => watch.suspect();
  world.restarted = () => watch.restarted(world.now);
  world.awake = () => watch.awake(world.now);
  world.run = (ms, { bytes = 0, checks = 0 } = {}) => {
    const verdicts = [];
    for (const end = world.now + ms; world.now < end;) {
      world.now += 250;
      world.bytes += bytes;
      world.checks += checks;
      const { bytes: bytesReceived, checks: all, ...rest } = world;
      const verdict = watch.observe(world.now, { ...rest, bytesReceived, checks: all });
      if (verdict) verdicts.push([world.now, verdict]);
    }
    return verdicts;
  };
  return world;
}
const MEDIA = { bytes: 1000 };

test('media stops: a restart after 2.5 s, not before, and never waiting for `failed`', () => {
  const call = watched();
  assert.deepEqual(call.run(20_000, MEDIA), []);
  assert.deepEqual(call.run(2250), []);
  assert.deepEqual(call.run(500), [[22_500, 'restart']]);
});

test('checks alone are life', () => {
  const call = watched();
  call.run(5000, MEDIA);
  assert.deepEqual(call.run(30_000, { checks: 1 }), []);
});

test('a lost edge: a second of silence is enough, but only of silence', () => {
  const call = watched();
  call.run(5000, MEDIA);
  call.suspect();
  assert.deepEqual(call.run(30_000, MEDIA), [], 'an uplink outage with healthy media restarts nobody');
  call.run(1000);
  call.suspect();
  assert.deepEqual(call.run(1000), [[36_250, 'restart']]);
});

test('a pair that carries nothing is given the time of its checks', () => {
  const call = watched();
  call.expecting = false;
  call.run(1000, { checks: 1 });
  for (let n = 0; n < 8; n++) assert.deepEqual([...call.run(2500), ...call.run(250, { checks: 1 })], []);
  assert.equal(call.run(7000).length, 1);
});

test('restarts back off; after three in vain the connection is replaced', () => {
  const call = watched();
  call.run(5000, MEDIA);
  const verdicts = call.run(40_000);
  assert.deepEqual(verdicts.map(([, v]) => v), ['restart', 'restart', 'restart', 'replace']);
  assert.deepEqual(verdicts.map(([at]) => at), [7500, 11_500, 19_500, 34_500]);
});

test('the other side has restarted it: two restarts at once would undo each other', () => {
  const call = watched();
  call.run(5000, MEDIA);
  call.run(2250);
  call.restarted();
  assert.deepEqual(call.run(3750), [], 'that one has its time');
  assert.deepEqual(call.run(250), [[11_250, 'restart']]);
  call.restarted();
  assert.deepEqual(call.run(7750), []);
  assert.deepEqual(call.run(500), [[19_250, 'restart']]);
});

test('nobody to negotiate with: it waits, and then acts at once', () => {
  const call = watched();
  call.run(5000, MEDIA);
  call.hold = true;
  assert.deepEqual(call.run(20_000), []);
  call.hold = false;
  assert.deepEqual(call.run(250), [[25_250, 'restart']]);
});

test('never connected: restarted after ten seconds; failed: at once', () => {
  const call = watched();
  call.state = 'connecting';
  assert.deepEqual(call.run(12_000), [[10_000, 'restart']]);
  const other = watched();
  other.run(5000, MEDIA);
  other.state = 'failed';
  assert.deepEqual(other.run(250, MEDIA), [[5250, 'restart']]);
});

test('after a sleep the clock starts anew', () => {
  const call = watched();
  call.run(5000, MEDIA);
  call.now += 600_000;
  call.awake();
  assert.deepEqual(call.run(2250), []);
  assert.equal(call.run(500).length, 1);
});

test('recovery resets the count', () => {
  const call = watched();
  call.run(5000, MEDIA);
  assert.equal(call.run(6750).length, 2);
  call.run(5000, MEDIA);
  const at = call.now;
  assert.deepEqual(call.run(2500), [[at + 2500, 'restart']]);
});

const report = (entries) => new Map(entries.map((entry) => [entry.id, entry]));
const relayed = report([
  { id: 'T', type: 'transport', selectedCandidatePairId: 'P' },
  { id: 'Q', type: 'candidate-pair', bytesReceived: 9 },
  { id: 'P', type: 'candidate-pair', bytesReceived: 100, responsesReceived: 2, requestsReceived: 3, currentRoundTripTime: 0.0125, localCandidateId: 'L', remoteCandidateId: 'R' },
  { id: 'L', type: 'local-candidate', candidateType: 'relay', protocol: 'udp', relayProtocol: 'tls', url: 'turns:fra.example:443?transport=tcp' },
  { id: 'R', type: 'remote-candidate', candidateType: 'relay', protocol: 'udp', address: '192.0.2.7' },
  { id: 'I', type: 'inbound-rtp', kind: 'video', packetsReceived: 50, packetsLost: 5, framesDecoded: 30, bytesReceived: 5000 },
]);

test('the selected pair is digested, and its path is named', () => {
  const servers = new IceServers();
  servers.store({ ice_servers: [], edges: [
    { edge: 'fra-1', region: 'eu', urls: ['stun:fra.example:3478'] },
    { edge: 'ams-1', region: 'eu', urls: ['stun:192.0.2.7:3478'] },
  ] });
  const stats = digest(relayed);
  assert.deepEqual([stats.bytesReceived, stats.checks, stats.rttMs, stats.framesDecoded], [100, 5, 12.5, 30]);
  assert.deepEqual(pathOf(stats, servers), { kind: 'relay', protocol: 'tls', own: true, url: 'turns:fra.example:443?transport=tcp', edge: 'fra-1', region: 'eu', rttMs: 12.5 });
  stats.local = { candidateType: 'host', protocol: 'udp', address: '10.0.0.1' };
  assert.deepEqual(pathOf(stats, servers), { kind: 'relay', protocol: 'udp', own: false, url: undefined, edge: 'ams-1', region: 'eu', rttMs: 12.5 });
  stats.remote = { candidateType: 'srflx', protocol: 'udp' };
  assert.equal(pathOf(stats, servers).kind, 'direct');
  // An edge that is no longer handed out is still known by its address: it is the one that was lost.
  servers.store({ ice_servers: [], edges: [] });
  assert.equal(servers.edgeOf({ url: 'turn:fra.example:3478?transport=udp' }).edge, 'fra-1');
  // One that is reached by TLS at another name than the address that is measured, or is not measured at all.
  servers.store({
    ice_servers: [
      { urls: ['turn:192.0.2.9:3478?transport=udp', 'turns:tls.example:443?transport=tcp'] },
      { urls: 'turns:par.example:443?transport=tcp' },
    ],
    edges: [{ edge: 'lon-1', region: 'eu', urls: ['stun:192.0.2.9:3478'] }, { edge: 'par-1', region: 'eu', urls: [] }],
  });
  assert.equal(servers.edgeOf({ url: 'turns:tls.example:443?transport=tcp' }).edge, 'lon-1');
  assert.equal(servers.edgeOf({ url: 'turns:par.example:443?transport=tcp' }).edge, 'par-1');
});

test('URLs of RFC 7064 and RFC 7065', () => {
  assert.deepEqual(hostPort('stun:a.example'), { host: 'a.example', port: 3478 });
  assert.deepEqual(hostPort('turns:a.example?transport=tcp'), { host: 'a.example', port: 5349 });
  assert.deepEqual(hostPort('turn:[2001:db8::1]:99?transport=udp'), { host: '2001:db8::1', port: 99 });
  assert.equal(hostPort('https://a.example'), null);
});

test('quality from two looks', () => {
  const look = (more) => ({ packetsReceived: 0, packetsLost: 0, framesDecoded: 0, rttMs: 20, ...more });
  const at = (more, state = 'connected') => qualityOf(look(), look(more), { ms: 2000, state, expectingVideo: true }).level;
  assert.equal(at({ packetsReceived: 100, framesDecoded: 50 }), 'good');
  assert.equal(at({ packetsReceived: 95, packetsLost: 5, framesDecoded: 50 }), 'fair');
  assert.equal(at({ packetsReceived: 80, packetsLost: 20, framesDecoded: 50 }), 'poor');
  assert.equal(at({ packetsReceived: 100, framesDecoded: 50, rttMs: 900 }), 'poor');
  assert.equal(at({ packetsReceived: 100 }), 'poor');
  assert.equal(at({}, 'disconnected'), 'lost');
});

test('probes: one connection per edge, three at once, kept for five minutes, fetch where there is no answer', async () => {
  const clock = new FakeClock();
  let open = 0;
  let most = 0;
  let made = 0;
  class Connection {
    constructor({ iceServers: [{ urls }] }) {
      this.ms = Number(/\d+/.exec(urls)[0]);
      made += 1;
      most = Math.max(most, ++open);
    }
    createDataChannel() {}
    async createOffer() { return {}; }
    async setLocalDescription() {
      if (this.ms < 100) clock.setTimeout(() => this.onicecandidate?.({ candidate: { type: 'srflx' } }), this.ms);
      else clock.setTimeout(() => this.onicecandidate?.({ candidate: { type: 'host' } }), 1);
    }
    close() { open -= 1; }
  }
  let fetched = 0;
  const fetch = () => new Promise((resolve) => {
    // The first one is cold.
    clock.setTimeout(() => resolve({ ok: true, text: async () => '' }), fetched++ === 0 ? 300 : 77);
  });
  const probes = new Probes({ RTCPeerConnection: Connection, fetch, ...clock });
  const edges = [10, 20, 30, 40, 500, 600].map((ms) => ({ edge: `e${ms}`, urls: [`stun:${ms}`] }));
  edges[4].probe = 'https://edge.example/probe';
  const measure = async () => {
    let result;
    probes.measure(edges).then((r) => (result = r));
    await clock.until(() => result);
    return result;
  };
  assert.deepEqual(await measure(), { e10: 10, e20: 20, e30: 30, e40: 40, e500: 77 });
  assert.deepEqual([most, made, open], [3, 6, 0]);
  assert.deepEqual([await measure(), made], [{}, 6], 'nothing that is told again as if it were new');
  await clock.advance(60_000);
  assert.deepEqual([await measure(), made], [{}, 7], 'what gave no answer is tried again');
  await clock.advance(240_000);
  assert.deepEqual(Object.keys(await measure()), ['e10', 'e20', 'e30', 'e40', 'e500']);
  assert.equal(made, 13);
  probes.forget();
  await measure();
  assert.equal(made, 19);
  probes.forget();
  const [former, again] = [probes.measure(edges), probes.measure(edges)];
  probes.forget();
  await clock.advance(4000);
  assert.deepEqual([await former, await again, made], [{}, {}, 25], 'of another network, and none measured twice');
});

test('probes: a fetch is timed by the browser where it tells, is answered well, and is given up after three seconds', async () => {
  const clock = new FakeClock();
  const entries = [];
  const timings = (url) => entries.filter(({ name }) => name === url);
  /** Measures one edge whose answers are `status` after `ms`, of which the browser tells `told`. */
  const measure = async (ms, { status = 204, told, aborts } = {}) => {
    const fetch = (name, init) => new Promise((resolve, reject) => {
      const startTime = clock.now();
      assert.deepEqual([init.cache, init.credentials, init.redirect], ['no-store', 'omit', 'error']);
      init.signal.onabort = () => (aborts?.push(clock.now() - startTime), reject(new Error('aborted')));
      clock.setTimeout(() => {
        if (told) entries.push({ name, startTime, ...told(startTime) });
        resolve({ ok: status < 300, status, text: async () => '' });
      }, ms);
    });
    const probes = new Probes({ fetch, timings, ...clock });
    let result;
    probes.measure([{ edge: 'e', urls: [], probe: `https://e.example/probe${entries.length}` }]).then((r) => (result = r));
    await clock.until(() => result);
    return result.e;
  };
  assert.equal(await measure(50), 50);
  assert.equal(await measure(50, { told: (at) => ({ requestStart: at + 5, responseStart: at + 25 }) }), 20);
  assert.equal(await measure(50, { told: () => ({ requestStart: 0, responseStart: 0 }) }), 50, 'it may not be seen');
  assert.equal(await measure(50, { told: () => ({ startTime: -1, requestStart: 1, responseStart: 2 }) }), 50, 'another one');
  assert.equal(await measure(50, { status: 429 }), undefined);
  const aborts = [];
  assert.equal(await measure(5000, { aborts }), undefined);
  assert.deepEqual(aborts, [3000]);
});
