// Which of the edges that one connection was given gave it a relayed address, and which did not.

import { hostPort } from './ice.js';

/** Watches one RTCPeerConnection from its beginning. */
export class RelayWatch {
  #failed = new Set(); // URLs that an error was told of
  #told = new Set();

  constructor(pc) {
    // Not `onicecandidateerror`: that one belongs to the application.
    pc.addEventListener?.('icecandidateerror', ({ url }) => url && this.#failed.add(at(url)));
  }

  /** ICE is restarted: what was asked before says nothing of what is asked now. */
  restarted() {
    this.#failed.clear();
  }

  /**
   * The edges of which no URL gave a relayed address, though others did or a connection has come about without: so
   * it is not the client's network. Each is named once.
   * @param {{edge: string, urls: string[]}[]} edges With all TURN URLs that were given for each.
   * @param {{relays: string[], state: string}} look Of `digest`, with `state` (connectionState).
   * @returns {string[]}
   */
  failed(edges, { relays, state }) {
    if (this.#failed.size === 0) return [];
    const given = new Set(relays.map(at));
    if (given.size === 0 && state !== 'connected') return [];
    const bad = edges.filter(({ edge, urls }) => {
      const all = urls.map(at);
      return !this.#told.has(edge) && all.length > 0 && all.every((url) => this.#failed.has(url) && !given.has(url));
    });
    for (const { edge } of bad) this.#told.add(edge);
    return bad.map(({ edge }) => edge);
  }
}

/** Host, port and transport: browsers write a URL in their own way. */
function at(url) {
  const { host, port } = hostPort(url) ?? { host: url };
  return `${host} ${port} ${/[?&]transport=(\w+)/i.exec(url)?.[1]?.toLowerCase() ?? 'udp'} ${/^turns:/i.test(url)}`;
}
