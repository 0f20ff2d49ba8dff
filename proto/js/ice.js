// What getStats says of one connection, read once: which path it takes, how good it is, and whether
// it has stalled. And the relays that one may use. Nothing here waits for `failed`.

/** Nothing received for this long where something was flowing: restart. */
export const STALLED_MS = 2500;
/** The same once something else says that the path is gone: its edge, or the network. */
export const SUSPECT_MS = 1000;
/** A pair that carries nothing is checked every 2.5 s by Chromium: twice that and a little. */
export const QUIET_MS = 6000;
/** A connection that has not come about within this is restarted. */
export const CONNECT_MS = 10_000;
/** Waits after each restart that changed nothing. */
const RESTART_MS = [4000, 8000, 15_000];
/** After so many restarts that changed nothing the connection is replaced. */
const RESTARTS_MAX = 3;

/**
 * One look at a connection's statistics.
 * @param {RTCStatsReport} report
 */
export function digest(report) {
  const all = [...report.values()];
  const byId = (id) => (id ? report.get(id) : undefined);
  const transport = all.find((s) => s.type === 'transport');
  const pair = byId(transport?.selectedCandidatePairId)
    // Firefox has no transport statistics.
    ?? all.find((s) => s.type === 'candidate-pair' && s.nominated && s.state === 'succeeded' && s.selected !== false);
  const inbound = all.filter((s) => s.type === 'inbound-rtp');
  const sum = (list, field) => list.reduce((total, s) => total + (s[field] ?? 0), 0);
  return {
    pairId: pair?.id,
    rttMs: pair?.currentRoundTripTime === undefined ? undefined : pair.currentRoundTripTime * 1000,
    bytesReceived: pair?.bytesReceived ?? 0,
    bytesSent: pair?.bytesSent ?? 0,
    checks: (pair?.responsesReceived ?? 0) + (pair?.requestsReceived ?? 0),
    local: byId(pair?.localCandidateId),
    remote: byId(pair?.remoteCandidateId),
    packetsReceived: sum(inbound, 'packetsReceived'),
    packetsLost: sum(inbound, 'packetsLost'),
    framesDecoded: sum(inbound, 'framesDecoded'),
    videoBytes: sum(inbound.filter((s) => s.kind === 'video'), 'bytesReceived'),
    relays: all.filter((s) => s.type === 'local-candidate' && s.candidateType === 'relay' && s.url).map((s) => s.url),
    availableOutgoing: pair?.availableOutgoingBitrate,
  };
}

/** Decides, from one look after the other, when a connection needs an ICE restart. */
export class StallWatch {
  /** Whether nothing was received at the last look: look again soon. */
  silent = false;
  #heardAt;
  #last = null;
  #bytesAt = -Infinity;
  #flowing = false;
  #suspect = false;
  #restarts = 0;
  #notBefore = 0;
  #connected = false;

  constructor(now) {
    this.#heardAt = now;
  }

  /** Another connection: all begins anew. */
  reset(now) {
    this.silent = false;
    this.#heardAt = now;
    this.#bytesAt = -Infinity;
    this.#last = null;
    this.#flowing = this.#suspect = this.#connected = false;
    this.#restarts = this.#notBefore = 0;
  }

  /** Its edge is said to be lost, or the network has changed: believed only of a silent pair. */
  suspect() {
    this.#suspect = true;
    this.#notBefore = 0;
  }

  /** The other side has restarted it: that has its time, as a restart of our own has. Two at once undo each other. */
  restarted(now) {
    const wait = RESTART_MS[Math.min(this.#restarts, RESTART_MS.length - 1)];
    this.#notBefore = Math.max(this.#notBefore, now + wait);
  }

  /** After a sleep the silence before it proves nothing. */
  awake(now) {
    this.#heardAt = now;
  }

  /**
   * A look.
   * @param {number} now
   * @param {object} look `digest`'s, with `state` (connectionState), `expecting` (whether media should
   *   come), `hold` (whether a restart could be negotiated at all: no signaling, the peer away, an offer open).
   * @returns {'restart' | 'replace' | null}
   */
  observe(now, { bytesReceived, checks, pairId, state, expecting, hold }) {
    const last = this.#last;
    this.#last = { bytesReceived, checks, pairId };
    const bytes = last !== null && bytesReceived > last.bytesReceived;
    const heard = bytes || (last !== null && checks > last.checks) || (last !== null && pairId !== last.pairId);
    if (bytes) {
      this.#flowing = now - this.#bytesAt < 2 * STALLED_MS;
      this.#bytesAt = now;
    }
    if (state === 'connected') this.#connected = true;
    if (heard) {
      this.#heardAt = now;
      this.#suspect = false;
      if (state === 'connected') this.#restarts = this.#notBefore = 0;
    }
    this.silent = !heard;
    if (heard && state !== 'failed') return null;
    if (state !== 'failed' && now - this.#heardAt < this.#patience(expecting)) return null;
    if (hold || now < this.#notBefore) return null;
    const tried = this.#restarts++;
    this.#notBefore = now + RESTART_MS[Math.min(tried, RESTART_MS.length - 1)];
    this.#suspect = false;
    if (tried < RESTARTS_MAX) return 'restart';
    this.#restarts = 0;
    return 'replace';
  }

  #patience(expecting) {
    if (!this.#connected) return CONNECT_MS;
    if (!this.#flowing || !expecting) return QUIET_MS;
    return this.#suspect ? SUSPECT_MS : STALLED_MS;
  }
}

/** `stun:`, `turn:` and `turns:` URLs' host and port (RFC 7064, RFC 7065). */
export function hostPort(url) {
  const match = /^(?:stuns?|turns?):(\[[^\]]+\]|[^:?]+)(?::(\d+))?/.exec(url ?? '');
  return match && { host: match[1].replace(/^\[|\]$/g, ''), port: Number(match[2] ?? (/^(stun|turn)s:/.test(url) ? 5349 : 3478)) };
}

/** The relays that the cluster has handed out, and which edge a candidate belongs to. */
export class IceServers {
  servers = [];
  edges = [];
  /** Edges that are being emptied. */
  draining = [];
  #known = new Map(); // edge -> {edge, region, hosts}, also those of earlier frames

  /** Stores; connections that exist are not told. */
  store({ ice_servers: servers, edges, draining = [] }) {
    this.servers = servers;
    this.edges = edges;
    this.draining = draining;
    edges.forEach(({ edge, region, urls }, n) => {
      // The nth entry of `ice_servers` is the nth edge's, and edges beyond them are only to be measured: TLS may be
      // at another name than what is measured.
      const all = [...urls, ...urlsOf(servers[n])];
      this.#known.delete(edge);
      this.#known.set(edge, { edge, region, at: all.map(hostPort).filter(Boolean) });
    });
    while (this.#known.size > 64) this.#known.delete(this.#known.keys().next().value);
  }

  /** The edges that connections are given, each with its URLs. */
  get offered() {
    return this.edges.slice(0, this.servers.length).map(({ edge }, n) => ({ edge, urls: urlsOf(this.servers[n]) }));
  }

  /** The edge at that URL or address. */
  edgeOf({ url, address } = {}) {
    const at = hostPort(url) ?? (address ? { host: address } : null);
    if (!at) return undefined;
    const all = [...this.#known.values()];
    return all.find((e) => e.at.some((x) => x.host === at.host && x.port === at.port))
      ?? all.find((e) => e.at.some((x) => x.host === at.host));
  }
}

function urlsOf(server) {
  return server ? [server.urls].flat() : [];
}

/** The path that a connection takes, of a digest. */
export function pathOf({ local, remote, rttMs }, iceServers) {
  if (!local || !remote) return undefined;
  const relayed = [local, remote].find((c) => c.candidateType === 'relay');
  const edge = relayed && iceServers.edgeOf(relayed === local ? local : { address: remote.address });
  return {
    kind: relayed ? 'relay' : 'direct',
    // What we speak to the relay counts: between relays it is UDP in any case.
    protocol: (local.candidateType === 'relay' && local.relayProtocol) || local.protocol,
    // Firefox tells no URL.
    own: local.candidateType === 'relay',
    url: local.candidateType === 'relay' ? local.url : undefined,
    edge: edge?.edge,
    region: edge?.region,
    rttMs,
  };
}

/** How good a connection is, from two looks that lie `ms` apart. */
export function qualityOf(before, after, { ms, state, expectingVideo }) {
  const received = after.packetsReceived - before.packetsReceived;
  const lost = Math.max(0, after.packetsLost - before.packetsLost);
  const loss = received + lost > 0 ? lost / (received + lost) : 0;
  const frames = after.framesDecoded - before.framesDecoded;
  const fps = Math.max(0, (frames * 1000) / ms);
  const rttMs = after.rttMs;
  let level = 'good';
  if (loss > 0.03 || rttMs > 300) level = 'fair';
  if (loss > 0.1 || rttMs > 700 || (expectingVideo && frames <= 0)) level = 'poor';
  if (state !== 'connected') level = 'lost';
  return { level, loss, fps, rttMs };
}
