// Which nodes to try, in which order, and how long each is given.

import { signalUrl } from './socket.js';

/** A node that has failed goes behind all others for this long. */
const FAILED_MS = 30_000;
/** An address that has not opened within this is given up; twice as long after each vain attempt. */
const OPEN_WITHIN_MS = 2000;
/** The same where there is no other one: a slow network needs it, and nobody waits for it. */
const OPEN_ONLY_WITHIN_MS = 4000;
const OPEN_WITHIN_MAX_MS = 8000;

/** The addresses that were given, those that the cluster named, and where it sends us. */
export class Nodes {
  #given;
  #named = [];
  #sentTo = [];
  #failed = new Map(); // url -> when

  /** @param {string[]} urls In the order to try them. */
  constructor(urls) {
    this.#given = urls.map((url) => signalUrl(url, globalThis.location?.href));
  }

  /** The node at `url` has taken us, and named others. */
  welcomed(nodes, url) {
    this.#named = nodes.length > 0 ? nodes.map((node) => signalUrl(node, url)) : [url];
    this.#sentTo = [];
    this.#failed.delete(url);
  }

  /** The node at `url` sends us away: to those, or anywhere else where there are none. */
  sendTo(nodes, url) {
    this.#sentTo = nodes.map((node) => signalUrl(node, url));
  }

  /** It did not open, or did not answer, or was lost. */
  failed(url, now) {
    this.#failed.delete(url);
    this.#failed.set(url, now);
  }

  /** All, in the order to try them; `live` is the node that we are on, if any. */
  targets(live, now) {
    const targets = new Set([...this.#sentTo, ...this.#named, ...this.#given]);
    // A node that sends us away is not where to go, unless all share one address.
    if (live && targets.size > 1) targets.delete(live);
    for (const [url, at] of this.#failed) if (now - at > FAILED_MS) this.#failed.delete(url);
    // What failed last is tried last: each attempt begins with another one.
    for (const url of this.#failed.keys()) if (targets.delete(url)) targets.add(url);
    return [...targets];
  }
}

/** How long each of so many addresses may take to open, after so many vain attempts at all of them. */
export function openWithin(count, vain) {
  const first = count > 1 ? OPEN_WITHIN_MS : OPEN_ONLY_WITHIN_MS;
  return Math.min(OPEN_WITHIN_MAX_MS, first * 2 ** Math.min(vain, 8));
}
