// What a connection test found, in words: why something fails and what to do, in those of `chappe turn check`.

/** What is spoken, as people read it. */
export const WAYS = { stun: 'STUN', udp: 'TURN over UDP', tcp: 'TURN over TCP', tls: 'TURN over TLS', signal: 'Signaling' };

const of = (why, fix) => ({ why, fix });

/** `host` and `port` of a `stun:`, `turn:`, `ws:` or `wss:` URL. */
export function place(url) {
  const [, scheme, host, port] = /^(\w+):(?:\/\/)?(\[[^\]]*\]|[^:/?]+)(?::(\d+))?/.exec(url) ?? [];
  const usual = { turns: '5349', stuns: '5349', ws: '80', wss: '443' }[scheme] ?? '3478';
  return { host: host ?? url, port: port ?? usual };
}

const isAddress = (host) => host.startsWith('[') || /^[\d.]+$/.test(host);
const ipOf = (address) => address.replace(/:\d+$/, '');
const isLoopback = (ip) => ip.startsWith('127.') || ip === '[::1]';

/** Error codes of TURN (RFC 8656 section 19.1, RFC 8489 section 14.8). */
const CODES = {
  300: () => of('The edge sends its clients to another one (ALTERNATE-SERVER).', 'See that edges do not send clients to each other.'),
  400: () => of('The edge finds the request malformed.', 'A proxy on the way that changes messages: turn off the router’s SIP or STUN helper.'),
  401: () =>
    of(
      'The edge does not accept the credential, which this node made just now.',
      'See that the edge follows this cluster (its uplink, on the page of the edge), and that the clocks of both are right. A credential ends after five minutes: test again.',
    ),
  403: () => of('The edge refuses this client by its own rules.', 'It may allow certain source addresses or origins only: look into its configuration and log.'),
  437: () =>
    of(
      'The edge has no allocation for this client’s address and port, or an older one: the port changed on the way, or requests reach different servers.',
      'A load balancer must send one client’s packets to one server, by source address and port; a NAT on the way must keep its mappings.',
    ),
  438: () => of('The edge rejects each nonce that it just gave.', 'Several servers behind one address do not share their nonces: balance by source address and port.'),
  440: () => of('The edge has no relay address of this family.', 'Give it one: --relay-ip.'),
  442: () => of('The edge relays no UDP, which is what WebRTC needs.', 'Look into its configuration.'),
  486: () =>
    of(
      'This user, or this source address, has as many allocations as it may. A page that is closed without a goodbye holds its own for up to ten minutes.',
      'Wait, or raise the quota: --user-quota and --source-quota.',
    ),
  508: () =>
    of(
      'The edge has no relay port left, cannot bind its relay address, or is being drained.',
      'Widen --min-port to --max-port, raise --capacity or the limit of open files, see that --relay-ip is an address of the machine, or use another edge while this one drains.',
    ),
};

/**
 * Why a test failed, and what probably mends it.
 * @param {{kind: string, code?: number, text?: string}} fault
 * @param {{way: string, url: string, address?: string, relays?: string[], udpElsewhere?: boolean}} target `udpElsewhere`: some
 *   edge answers by UDP.
 * @returns {{why: string, fix: string}}
 */
export function diagnose(fault, target) {
  if (fault.kind === 'code' && fault.code !== 701) {
    const known = CODES[fault.code]?.();
    if (known) return known;
    const server = fault.code >= 500 && fault.code < 600;
    return of(server ? 'The edge has a fault of its own.' : 'The edge refuses the request.', 'Look into its log, and try again.');
  }
  if (fault.kind === 'mixed') return of('A page that came by HTTPS opens no ws: URL.', 'Give the node HTTPS (--https), and clients its https: URL (--public).');
  if (fault.kind === 'mute') return mute(target);
  if (fault.kind === 'large') {
    return of(
      'Small packets come through and large ones do not: an MTU on the way is too small.',
      'A tunnel or VPN (WireGuard, PPPoE, a container’s overlay) with a small MTU, and ICMP “packet too big” filtered: allow ICMP, or set the MTU of the interface right.',
    );
  }
  if (fault.kind === 'lookup' || /lookup/i.test(fault.text ?? '')) {
    return of(`DNS has no address for ${place(target.url).host} here.`, 'Check its spelling, and ask another name server. A record that was just made may take an hour to be seen.');
  }
  return unreached(fault, target);
}

function unreached(fault, target) {
  const { host, port } = place(target.url);
  const at = target.address ? ipOf(target.address) : host;
  const secure = target.way === 'tls' || target.url.startsWith('wss:');
  if (target.way === 'stun' || target.way === 'udp') {
    const fix = `Open UDP ${port} to ${at} in its firewall and at its provider (security group), and see that the edge listens there (ss -lunp).`;
    const dropped = `${at} does not answer over UDP port ${port}: what is sent is dropped on the way, or there.`;
    if (isLoopback(at)) return of(`${at} does not answer over UDP port ${port}.`, 'See whether the edge runs and listens there: ss -lunp.');
    if (target.udpElsewhere) return of(`${dropped} Other edges answer by UDP, so this network lets it out.`, fix);
    return of(`${dropped} No edge answers by UDP.`, `Most likely this network drops UDP: then TURN over TCP, or over TLS on port 443, works from here. Else: ${fix}`);
  }
  if (target.way === 'signal' && isLoopback(at)) {
    return of(`${at} is every machine’s own address: clients elsewhere do not reach the node there.`, 'Say by --public what clients reach it by. On the node’s own machine: see whether it runs.');
  }
  const open = `Open TCP ${port} to ${at} in its firewall and at its provider (security group), and see that it listens there (ss -ltnp).`;
  if (fault.kind === 'silent') {
    return of(`${at} does not answer on TCP port ${port}: what is sent is dropped on the way, or there.`, isLoopback(at) ? 'See whether it runs and listens there: ss -ltnp.' : open);
  }
  if (!secure) return of(`TCP port ${port} of ${at} refuses, or closes at once: nothing listens there, or a firewall or proxy between says no.`, open);
  const name = isAddress(host)
    ? 'Certificates are seldom of addresses: give the edge a hostname (--hostname) and a certificate for it.'
    : `Get a certificate of a public CA that names ${host}, and give the server the whole chain; if the CA is your own, install its root on this machine.`;
  return of(
    `The connection to ${host} fails at once: the certificate is not trusted by this browser, or nothing listens on TCP port ${port}.`,
    `Browsers refuse a certificate without a word. ${name} ${target.way === 'tls' ? 'chappe turn check' : 'openssl s_client -connect'} tells which it is.`,
  );
}

/** Allocated, and nothing passes. */
function mute({ address, relays = [] }) {
  if (address && isLoopback(ipOf(address))) {
    return of('Allocations succeed, and nothing passes between two of them.', 'The edge relays to loopback only where it is told: --allow-peer 127.0.0.0/8.');
  }
  const ports = relays.length ? relays.join(', ') : 'UDP 49152-65535';
  return of(
    'Allocations succeed, and nothing passes between two of them.',
    `Open the edge’s relay ports, from everywhere: ${ports}, in its firewall and at its provider. Behind NAT all of them must be forwarded too, and --advertise must say the public address.`,
  );
}

/** Milliseconds as people read them. */
export function millis(ms) {
  if (ms === undefined) return '–';
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** Bits per second as people read them. */
export function rate(mbps) {
  if (mbps === undefined) return '–';
  return mbps < 10 ? `${mbps.toFixed(1)} Mbit/s` : `${Math.round(mbps)} Mbit/s`;
}

/** How a test stands, in a word or two. */
export function stateWord({ state, stage, fault }) {
  if (state === 'good') return 'works';
  if (state === 'bad') return fault?.kind === 'code' ? `fails: ${fault.code}` : fault?.kind === 'silent' ? 'no answer' : 'fails';
  if (state === 'skipped') return 'not possible here';
  return { waiting: 'waits', stopped: 'cancelled' }[state] ?? stage ?? 'asks';
}

/**
 * The kind of NAT, as far as edges' views of one socket tell.
 * @param {{servers: number, mapped: {base: string, ip: string, port: number}[], own?: {ip: string, port: number}[]}} seen By how
 *   many edges the address was told, each address that they told (`base` is the network that it was asked from), and the
 *   socket's own, whose address browsers hide mostly.
 */
export function nat({ servers, mapped, own = [] }) {
  if (servers === 0) return undefined;
  const same = (one, other) => one.ip === other.ip && one.port === other.port;
  if (mapped.every((one) => own.some((other) => same(one, other)))) {
    return { kind: 'none', words: 'The edges see this machine’s own address: there is no NAT.' };
  }
  const by = group(mapped, ({ base, ip }) => `${base} ${ip.includes(':')}`);
  if ([...by.values()].some((all) => all.some((one) => !same(one, all[0])))) {
    return { kind: 'symmetric', words: 'You are behind a NAT that takes another port for each edge: direct calls seldom work from here, relays carry them.' };
  }
  const kept = mapped.every(({ port }) => own.some((other) => other.port === port));
  const words = kept ? 'You are behind no NAT, or one that keeps this machine’s ports' : 'You are behind a NAT';
  if (servers < 2) return { kind: 'unknown', words: `${words}; of what kind two edges that answer STUN would tell.` };
  return { kind: kept ? 'kept' : 'same', words: `${words}${kept ? '' : ' that takes one port for all edges'}: most calls can go directly.` };
}

const group = (all, key) => {
  const by = new Map();
  for (const one of all) by.set(key(one), [...(by.get(key(one)) ?? []), one]);
  return by;
};

/** Everything in one sentence or three, and whether it is well. */
export function summary(results, seenNat) {
  const edges = [...group(results.filter(({ kind }) => kind === 'edge'), ({ name }) => name)];
  const works = (way) => ({ state, way: its }) => state === 'good' && its === way;
  const byUdp = edges.filter(([, all]) => all.some(works('udp'))).length;
  const otherwise = edges.filter(([, all]) => !all.some(works('udp')) && all.some((one) => works('tcp')(one) || works('tls')(one))).length;
  const fastest = results.filter(({ kind, rttMs }) => kind === 'edge' && rttMs !== undefined).sort((a, b) => a.rttMs - b.rttMs)[0];
  const nodes = [...group(results.filter(({ kind }) => kind === 'node'), ({ name }) => name)];
  const answering = nodes.filter(([, all]) => all.some(({ state }) => state === 'good')).length;

  const words = [];
  const many = (n, one) => `${n} ${one}${n === 1 ? '' : 's'}`;
  if (edges.length === 0) words.push('There is no edge to test.');
  else if (byUdp + otherwise === 0) words.push(`You reach none of ${many(edges.length, 'edge')}: from here calls work only where networks let people through to each other.`);
  else {
    const more = otherwise > 0 ? `, and ${otherwise}${byUdp > 0 ? ' more' : ''} by TCP or TLS alone` : '';
    const nearest = fastest ? `; fastest ${fastest.name} in ${millis(fastest.rttMs)}` : '';
    words.push(`You reach ${byUdp} of ${many(edges.length, 'edge')} by UDP${more}${nearest}.`);
  }
  if (seenNat) words.push(seenNat.words);
  if (nodes.length > 0) words.push(answering === nodes.length ? (answering === 1 ? 'Its node answers signaling.' : `All ${answering} nodes answer signaling.`) : `${answering} of ${many(nodes.length, 'node')} answer${answering === 1 ? 's' : ''} signaling.`);
  const stopped = results.some(({ state }) => state === 'stopped');
  if (stopped) words.push('The test was cancelled before its end.');

  const failed = results.some(({ state }) => state === 'bad');
  const dead = (edges.length > 0 && byUdp + otherwise === 0) || (nodes.length > 0 && answering === 0);
  const level = stopped ? '' : dead ? 'bad' : failed || edges.length === 0 ? 'warn' : 'good';
  return { level, words: words.join(' ') };
}

/** All of it as text, without the credential. */
export function report(results, { words, when, page, browser }) {
  const lines = [`Connection test of ${when} from ${page}`, `Browser: ${browser}`, '', words, ''];
  for (const [title, all] of group(results, ({ name, region }) => `${name} (${region})`)) {
    lines.push(title);
    for (const one of all) {
      const figures = [];
      if (one.firstMs !== undefined) figures.push(`first answer ${millis(one.firstMs)}`);
      if (one.rttMs !== undefined) figures.push(`round trip ${millis(one.rttMs)}`);
      if (one.mbps !== undefined) figures.push(rate(one.mbps));
      lines.push(`  ${WAYS[one.way]}  ${one.url}  ${stateWord(one)}${figures.length ? `: ${figures.join(', ')}` : ''}`);
      if (one.told) lines.push(`      ${one.told.why}`, `      ${one.told.fix}`);
      if (one.fault?.text) lines.push(`      The browser says: ${one.fault.text}`);
    }
    lines.push('');
  }
  const seen = results.flatMap(({ candidates }) => candidates ?? []);
  if (seen.length > 0) lines.push('Candidates');
  for (const one of seen) {
    lines.push(`  ${one.type} ${one.protocol} ${one.address} priority ${one.priority}${one.relayProtocol ? ` relay by ${one.relayProtocol}` : ''}${one.url ? ` ${one.url}` : ''}`);
  }
  return lines.join('\n');
}
