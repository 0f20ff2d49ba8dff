// How far each edge is, measured from a page: STUN through a connection of its own per edge, since
// several servers in one give one answer, the fastest's; else a timed fetch.

/** Connections that measure at the same time. */
export const AT_ONCE = 3;
/** A probe is given up after this. */
export const PROBE_MS = 3000;
/** A result is good for this long on the same network. */
export const KEEP_MS = 5 * 60_000;
/** What gave no answer is tried again after this. */
export const RETRY_MS = 60_000;
/** Edges that are measured: the first few of the node's ranking. */
export const EDGES_MAX = 8;

const realEnv = () => ({
  RTCPeerConnection: globalThis.RTCPeerConnection,
  fetch: globalThis.fetch?.bind(globalThis),
  now: () => performance.now(),
  // By the URL as browsers write it: without a port that is the scheme's own.
  timings: (url) => performance.getEntriesByName(new URL(url).href, 'resource'),
  setTimeout: (f, ms) => setTimeout(f, ms),
  clearTimeout: (id) => clearTimeout(id),
});

/** Measures edges and remembers. One per page and network: `forget` when the network changes. */
export class Probes {
  #env;
  #results = new Map(); // edge -> {rttMs, at}

  constructor(env = realEnv()) {
    this.#env = env;
  }

  /** The network is another one. */
  forget() {
    this.#results = new Map(); // what is being measured goes with the former
  }

  /** Those of which nothing is known that is fresh. */
  due(edges) {
    const now = this.#env.now();
    return edges.slice(0, EDGES_MAX).filter(({ edge }) => {
      const known = this.#results.get(edge);
      return !known || now - known.at > (known.rttMs === undefined ? RETRY_MS : KEEP_MS);
    });
  }

  /**
   * Round-trip times in milliseconds by edge, of those that were due and have answered: what was measured earlier was
   * said earlier, and the server counts what it hears as new.
   * @param {{edge: string, urls: string[], probe?: string}[]} edges
   * @returns {Promise<Record<string, number>>}
   */
  async measure(edges) {
    const [results, due, fresh] = [this.#results, this.due(edges), {}];
    const { now } = this.#env;
    for (const { edge } of due) results.set(edge, { at: now() }); // under way: nobody else measures it
    const worker = async () => {
      for (let edge = due.shift(); edge; edge = due.shift()) {
        const rttMs = (await this.#stun(edge)) ?? (await this.#fetch(edge));
        results.set(edge.edge, { rttMs, at: now() });
        if (rttMs !== undefined) fresh[edge.edge] = rttMs;
      }
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, due.length) }, worker));
    return results === this.#results ? fresh : {};
  }

  /** From gathering to the server-reflexive candidate. Without a NAT there is none. */
  #stun({ urls }) {
    const { RTCPeerConnection, now, setTimeout, clearTimeout } = this.#env;
    const url = urls.find((u) => u.startsWith('stun:'));
    if (!url || !RTCPeerConnection) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const pc = new RTCPeerConnection({ iceServers: [{ urls: url }] });
      let began;
      const finish = (rttMs) => {
        clearTimeout(deadline);
        pc.onicecandidate = null;
        pc.close();
        resolve(rttMs);
      };
      const deadline = setTimeout(() => finish(undefined), PROBE_MS);
      pc.onicecandidate = ({ candidate }) => {
        if (!candidate) finish(undefined);
        else if (candidate.type === 'srflx') finish(now() - began);
      };
      pc.createDataChannel('probe');
      pc.createOffer()
        .then((offer) => {
          began = now();
          return pc.setLocalDescription(offer);
        })
        .catch(() => finish(undefined));
    });
  }

  /** The second request on a connection that the first has warmed. */
  async #fetch({ probe }) {
    const { fetch, now, timings, setTimeout, clearTimeout } = this.#env;
    if (!probe || !fetch) return undefined;
    const abort = new AbortController();
    const deadline = setTimeout(() => abort.abort(), PROBE_MS);
    const init = { cache: 'no-store', credentials: 'omit', redirect: 'error', signal: abort.signal };
    const get = async () => {
      const response = await fetch(probe, init);
      await response.text();
      if (!response.ok) throw new Error(`${probe}: ${response.status}`);
    };
    try {
      await get();
      const began = now();
      await get();
      const took = now() - began;
      return timed(timings?.(probe).at(-1), began) ?? took;
    } catch {
      return undefined;
    } finally {
      clearTimeout(deadline);
    }
  }
}

/**
 * From the request to the first byte of the answer, as the browser's network side saw it: without the page's own
 * delays. Only of a fetch begun since `began`, whose server lets pages see its times (Timing-Allow-Origin).
 */
function timed(entry, began) {
  if (!entry || entry.startTime < began || !(entry.requestStart > 0)) return undefined;
  const took = entry.responseStart - entry.requestStart;
  return took > 0 ? took : undefined;
}
