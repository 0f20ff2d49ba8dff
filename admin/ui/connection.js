// Test my connection: asks the API what there is, tries it from here, and says in words what was found.

import { call, tell } from './api.js';
import { mapped, signal, stun, turn } from './connection-probe.js';
import { candidates, row } from './connection-view.js';
import { diagnose, nat, report, summary } from './connection-words.js';

/** Tests at once: more would measure each other. */
const AT_ONCE = 4;

const $ = (id) => document.getElementById(`test-${id}`);
const place = document.getElementById('test');
let running;

/** What there is to test, as results that are still to come. */
function wanted({ node, nodes, edges }) {
  const own = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/v1/signal`;
  const of = (kind, name, title, region, way, url, more) => ({ kind, name, title, region, way, url, state: 'waiting', ...more });
  const signals = nodes.flatMap((one) => {
    const here = one.node === node;
    const urls = [...new Set(here ? [own, ...one.urls] : one.urls)];
    return urls.map((url) => of('node', `node ${one.node}`, `Node ${one.node}`, here ? `${one.region}, this one` : one.region, 'signal', url, { href: `/admin/nodes/${one.node}` }));
  });
  if (!nodes.some((one) => one.node === node)) {
    signals.unshift(of('node', `node ${node}`, `Node ${node}`, 'this one', 'signal', own, { href: `/admin/nodes/${node}` }));
  }
  const relays = edges.flatMap(({ edge, region, urls, relays: ports }) =>
    urls.map(({ url, way, address }) => of('edge', edge, edge, region, way, url, { address, relays: ports, href: `/admin/edges/${edge}` })),
  );
  return [...relays, ...signals];
}

/** One after the other, whatever becomes of each. */
function inTurn() {
  let last = Promise.resolve();
  return (job) => {
    const next = last.then(job, job);
    last = next.catch(() => {});
    return next;
  };
}

async function one(result, { username, credential, cancelled, alone }) {
  const say = (stage) => {
    Object.assign(result, { state: 'running', stage });
    result.show();
  };
  say('asks');
  const probe = { stun, signal }[result.way] ?? turn;
  let found;
  try {
    found = await probe(result, { username, credential, cancelled, say, alone });
  } catch (error) {
    found = { fault: { kind: 'refused', text: error.message } };
  }
  Object.assign(result, found, { stage: undefined });
  if (result.fault) result.state = cancelled.aborted ? 'stopped' : result.fault.kind === 'mixed' ? 'skipped' : 'bad';
  else result.state = 'good';
  result.show();
}

/** The kind of NAT, from what the edges that answered see of one socket. */
async function natOf(results, cancelled) {
  const answered = results.filter(({ way, state }) => way === 'stun' && state === 'good');
  if (answered.length === 0 || cancelled.aborted) return undefined;
  const seen = await mapped(answered.map(({ url }) => url), { cancelled });
  return nat({ servers: answered.length, ...seen });
}

function explain(results) {
  const udp = (one) => one.kind === 'edge' && one.state === 'good' && (one.way === 'udp' || one.way === 'stun');
  for (const result of results.filter(({ state }) => state === 'bad' || state === 'skipped')) {
    const udpElsewhere = results.some((other) => udp(other) && other.name !== result.name);
    const told = diagnose(result.fault, { ...result, udpElsewhere });
    // Once is enough of each edge.
    if (!results.some((other) => other.name === result.name && other.told?.why === told.why)) result.told = told;
    result.show();
  }
}

function conclude(results, seenNat, leftOut) {
  const { level, words } = summary(results, seenNat);
  const all = leftOut > 0 ? `${words} One test takes no more edges: ${leftOut} were left out.` : words;
  const line = document.createElement('p');
  line.textContent = all;
  $('summary').className = `notice ${level}`;
  $('summary').replaceChildren(line);
  candidates($('candidates'), $('count'), results.flatMap(({ candidates: some }) => some ?? []));
  $('text').value = report(results, { words: all, when: new Date().toISOString(), page: `${location.origin}, node ${place.dataset.node}`, browser: navigator.userAgent });
  for (const part of ['seen', 'report', 'copy']) $(part).hidden = false;
}

function busy(now) {
  place.dataset.state = now ? 'running' : 'done';
  const held = document.activeElement;
  $('begin').hidden = now;
  $('cancel').hidden = !now;
  $('progress').hidden = !now;
  if (held === $('begin') || held === $('cancel')) $(now ? 'cancel' : 'begin').focus();
  if (!now) $('begin').textContent = 'Test again';
}

function say(words, level = '') {
  const line = document.createElement('p');
  line.textContent = words;
  $('summary').className = `notice ${level}`;
  $('summary').replaceChildren(line);
  $('summary').hidden = false;
}

async function test(cancelled) {
  for (const part of ['nothing', 'seen', 'report', 'copy']) $(part).hidden = true;
  if (!('RTCPeerConnection' in window)) return say('This browser has no WebRTC, or somebody has switched it off: nothing can be tested.', 'bad');
  const { ok, answer } = await call('POST', '/admin/api/v1/connection-test');
  if (!ok) return say(answer.detail ?? 'The test cannot begin.', 'bad');
  const results = wanted(answer);
  $('rows').replaceChildren();
  for (const result of results) row($('rows'), result);
  $('results').hidden = false;
  say(`Testing ${answer.edges.length} edges and ${answer.nodes.length} nodes…`);
  Object.assign($('progress'), { max: results.length, value: 0 });
  const alone = inTurn();
  const waiting = results.values();
  const worker = async () => {
    for (const result of waiting) {
      if (cancelled.aborted) break;
      await one(result, { ...answer, cancelled, alone });
      $('progress').value += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  for (const result of results.filter(({ state }) => state === 'waiting')) {
    result.state = 'stopped';
    result.show();
  }
  const seenNat = await natOf(results, cancelled);
  explain(results);
  conclude(results, seenNat, answer.edges_left_out);
}

$('begin').addEventListener('click', async () => {
  running = new AbortController();
  busy(true);
  try {
    await test(running.signal);
  } catch (error) {
    say(`The test broke off: ${error.message}`, 'bad');
  } finally {
    busy(false);
  }
});

$('cancel').addEventListener('click', () => running?.abort());
addEventListener('pagehide', () => running?.abort());

$('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText($('text').value);
    tell('Copied.');
  } catch {
    // Without HTTPS a page has no clipboard: the text is there to be copied by hand.
    $('report').open = true;
    $('text').select();
    tell(document.execCommand('copy') ? 'Copied.' : 'Press Ctrl-C: the report is selected.');
  }
});

$('begin').disabled = false;
