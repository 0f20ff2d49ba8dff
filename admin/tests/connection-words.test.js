import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diagnose, nat, place, report, stateWord, summary } from '../ui/connection-words.js';

const edge = (name, way, state, more = {}) => ({ kind: 'edge', name, region: 'here', way, state, url: `turn:${name}:3478`, ...more });
const node = (n, state) => ({ kind: 'node', name: `node ${n}`, region: 'here', way: 'signal', state, url: `ws://${n}/v1/signal` });

test('hosts and ports of every kind of URL', () => {
  for (const [url, host, port] of [
    ['turn:192.0.2.1:3479?transport=udp', '192.0.2.1', '3479'],
    ['turns:turn.example?transport=tcp', 'turn.example', '5349'],
    ['stun:[2001:db8::1]:3478', '[2001:db8::1]', '3478'],
    ['wss://a.example/v1/signal', 'a.example', '443'],
    ['ws://127.0.0.1:8080/v1/signal', '127.0.0.1', '8080'],
  ]) {
    assert.deepEqual(place(url), { host, port }, url);
  }
});

test('a firewall rule is named by port and address, the name behind it or not', () => {
  const udp = { way: 'udp', url: 'turn:turn.example:3478?transport=udp', address: '203.0.113.7:3478' };
  assert.match(diagnose({ kind: 'silent', code: 701 }, { ...udp, udpElsewhere: true }).fix, /^Open UDP 3478 to 203\.0\.113\.7 /);
  assert.match(diagnose({ kind: 'silent', code: 701 }, { ...udp, udpElsewhere: true }).why, /Other edges answer by UDP/);
  assert.match(diagnose({ kind: 'silent', code: 701 }, udp).fix, /^Most likely this network drops UDP/);
  const tcp = { way: 'tcp', url: 'turn:203.0.113.7:443?transport=tcp', address: '203.0.113.7:443' };
  assert.match(diagnose({ kind: 'silent' }, tcp).fix, /^Open TCP 443 to 203\.0\.113\.7 /);
  assert.match(diagnose({ kind: 'refused', code: 701 }, tcp).why, /refuses/);
  assert.match(diagnose({ kind: 'refused' }, { way: 'signal', url: 'ws://127.0.0.1:8080/v1/signal' }).fix, /--public/);
  const six = { way: 'stun', url: 'stun:[2001:db8::1]:3478', address: '[2001:db8::1]:3478', udpElsewhere: true };
  assert.match(diagnose({ kind: 'silent' }, six).fix, /^Open UDP 3478 to \[2001:db8::1\] /);
});

test('what browsers do not say of a certificate is said here', () => {
  const named = diagnose({ kind: 'refused', code: 701 }, { way: 'tls', url: 'turns:turn.example:443?transport=tcp', address: '203.0.113.7:443' });
  assert.match(named.why, /not trusted by this browser/);
  assert.match(named.fix, /names turn\.example/);
  const bare = diagnose({ kind: 'refused', code: 701 }, { way: 'tls', url: 'turns:203.0.113.7:443?transport=tcp', address: '203.0.113.7:443' });
  assert.match(bare.fix, /seldom of addresses/);
  assert.match(diagnose({ kind: 'lookup', code: 701 }, { way: 'tls', url: 'turns:turn.example:443' }).why, /DNS has no address for turn\.example/);
  assert.match(diagnose({ kind: 'mixed' }, { way: 'signal', url: 'ws://a.example/v1/signal' }).fix, /--https/);
});

test('each code of TURN has words of its own, and the unknown ones too', () => {
  const told = (code) => diagnose({ kind: 'code', code }, { way: 'udp', url: 'turn:192.0.2.1:3478' });
  const all = [401, 403, 437, 438, 486, 508].map((code) => told(code).why);
  assert.equal(new Set(all).size, all.length);
  assert.match(told(486).fix, /--user-quota/);
  assert.match(told(508).fix, /drains/);
  assert.match(told(599).why, /fault of its own/);
  assert.match(told(499).why, /refuses/);
});

test('closed relay ports are named', () => {
  const told = diagnose({ kind: 'mute' }, { way: 'udp', url: 'turn:192.0.2.1:3478', address: '192.0.2.1:3478', relays: ['192.0.2.1 UDP 50000-50999'] });
  assert.match(told.fix, /192\.0\.2\.1 UDP 50000-50999/);
});

test('a small MTU is told from closed ports', () => {
  assert.match(diagnose({ kind: 'large' }, { way: 'udp', url: 'turn:192.0.2.1:3478' }).why, /MTU/);
});

test('kinds of NAT', () => {
  const at = (port, base = 'a', ip = '198.51.100.1') => ({ base, ip, port });
  assert.equal(nat({ servers: 0, mapped: [] }), undefined);
  assert.equal(nat({ servers: 2, mapped: [] }).kind, 'none');
  assert.equal(nat({ servers: 1, mapped: [at(1)] }).kind, 'unknown');
  assert.equal(nat({ servers: 2, mapped: [at(1)] }).kind, 'same');
  assert.equal(nat({ servers: 2, mapped: [at(1), at(2)] }).kind, 'symmetric');
  const hidden = { ip: 'x.local', port: 1 };
  assert.equal(nat({ servers: 2, mapped: [at(1)], own: [hidden] }).kind, 'kept', 'none, or one that keeps ports');
  assert.equal(nat({ servers: 2, mapped: [at(2)], own: [hidden] }).kind, 'same');
  assert.equal(nat({ servers: 2, mapped: [at(1), at(2)], own: [hidden] }).kind, 'symmetric');
  assert.equal(nat({ servers: 2, mapped: [at(1)], own: [at(1)] }).kind, 'none', 'a page that may use the camera sees it');
  assert.equal(nat({ servers: 2, mapped: [at(1), at(2, 'b')] }).kind, 'same', 'two networks of this machine');
  assert.equal(nat({ servers: 2, mapped: [at(1), at(2, 'a', '2001:db8::1')] }).kind, 'same', 'two families');
});

test('the summary says how many, the fastest, and what is behind a NAT', () => {
  const all = [edge('a', 'udp', 'good', { rttMs: 30 }), edge('b', 'udp', 'good', { rttMs: 12.4 }), edge('c', 'udp', 'bad'), edge('c', 'tcp', 'good', { rttMs: 50 }), edge('d', 'udp', 'bad'), node(1, 'good'), node(2, 'good')];
  const { level, words } = summary(all, { words: 'NAT.' });
  assert.equal(words, 'You reach 2 of 4 edges by UDP, and 1 more by TCP or TLS alone; fastest b in 12 ms. NAT. All 2 nodes answer signaling.');
  assert.equal(level, 'warn');
  assert.equal(summary(all.filter(({ state }) => state === 'good')).level, 'good');
});

test('the summary where little or nothing answers', () => {
  assert.match(summary([edge('a', 'udp', 'bad'), node(1, 'good')]).words, /^You reach none of 1 edge: /);
  assert.equal(summary([edge('a', 'udp', 'bad'), node(1, 'good')]).level, 'bad');
  assert.match(summary([node(1, 'good'), node(2, 'bad')]).words, /^There is no edge to test\. 1 of 2 nodes answers signaling\.$/);
  assert.equal(summary([edge('a', 'udp', 'good'), node(1, 'bad')]).level, 'bad');
  assert.match(summary([edge('a', 'udp', 'stopped')]).words, /cancelled/);
});

test('the report has everything but the credential', () => {
  const failed = edge('a', 'tcp', 'bad', { fault: { kind: 'code', code: 486, text: 'Quota' }, told: { why: 'Why.', fix: 'Fix.' }, credential: 'never', candidates: [] });
  const fine = edge('a', 'udp', 'good', { firstMs: 3, rttMs: 1.25, mbps: 48.2, candidates: [{ type: 'relay', protocol: 'udp', address: '192.0.2.1:50000', priority: 7, relayProtocol: 'udp', url: 'turn:a:3478' }] });
  const text = report([fine, failed], { words: 'Summary.', when: 'now', page: 'here', browser: 'B' });
  for (const part of ['Summary.', 'a (here)', 'works: first answer 3.0 ms, round trip 1.3 ms, 48 Mbit/s', 'fails: 486', 'Why.', 'Fix.', 'The browser says: Quota', 'relay udp 192.0.2.1:50000 priority 7 relay by udp']) {
    assert.ok(text.includes(part), `${part}\n${text}`);
  }
  assert.ok(!text.includes('never'));
  assert.equal(stateWord({ state: 'running', stage: 'measures' }), 'measures');
});
