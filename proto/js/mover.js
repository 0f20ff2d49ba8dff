// Moving connections from one edge to another while both work: by ICE restarts, one connection after the
// other, since the old path carries media until the new one does. Nobody is in a hurry here.

/** A connection that has not moved within this is left where it is, and the next one is looked at. */
export const MOVE_MS = 8000;
/** Restarts that a drain may cost a connection. */
const TRIES = 3;
/** How often it is looked at whether a connection could be moved, or has. */
const LOOK_MS = 1000;
/** The first connection is moved within this, each client at another time. */
export const DRAIN_WITHIN_MS = 2000;
/** A nearer edge draws connections this long after it was found, each client at another time: nothing is broken,
 * and a measurement may be taken back. */
export const CLOSER_MS = [10_000, 60_000];

/**
 * `host`: `peers() -> Iterable<Peer>`, `clock`, `random`, `onto(edge) -> boolean` whether the edge is still the one
 * that is offered first, `offered() -> [{edge}]`.
 */
export class Mover {
  #host;
  #draining = new Set();
  #nearer = null; // {edge, at}: connections elsewhere are moved there once, from then on
  #tries = new WeakMap(); // peer -> {edge: restarts}
  #under = null; // {peer, edge, until}: the one that is being moved
  #timer;
  #due;

  constructor(host) {
    this.#host = host;
  }

  /** These edges are being emptied, all of them and no others. */
  drain(edges) {
    const more = edges.some((edge) => !this.#draining.has(edge));
    this.#draining = new Set(edges);
    if (more) this.#later(this.#host.random() * DRAIN_WITHIN_MS);
  }

  /** A clearly nearer edge is offered. */
  closer(edge) {
    const [least, most] = CLOSER_MS;
    const wait = least + this.#host.random() * (most - least);
    this.#nearer = { edge, at: this.#host.clock.now() + wait };
    this.#later(wait);
  }

  stop() {
    this.#host.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#draining.clear();
    this.#nearer = this.#under = null;
  }

  /** No later than the look that is due already. */
  #later(ms) {
    const due = this.#host.clock.now() + ms;
    if (this.#timer !== undefined && this.#due <= due) return;
    this.#host.clock.clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = this.#host.clock.setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, ms);
  }

  #look() {
    const now = this.#host.clock.now();
    if (this.#under) {
      const { peer, edge, until } = this.#under;
      const moved = peer.path && peer.path.edge !== edge;
      if (!moved && now < until && this.#isHere(peer)) return this.#later(LOOK_MS);
      this.#under = null;
    }
    const waiting = [...this.#host.peers()].filter((peer) => this.#wants(peer, now));
    const ready = waiting.find((peer) => peer.move());
    if (ready) {
      const { edge } = ready.path;
      this.#count(ready, edge);
      this.#under = { peer: ready, edge, until: now + MOVE_MS };
    } else if (waiting.length === 0 && (!this.#nearer || this.#nearer.at <= now)) {
      // Whoever comes over a draining edge later (from a former offer) is moved by the next frame that names it.
      this.#nearer = null;
      return undefined;
    }
    return this.#later(LOOK_MS);
  }

  #isHere(peer) {
    return [...this.#host.peers()].includes(peer);
  }

  /** Whether a connection goes over a relay of ours that it should leave. */
  #wants(peer, now) {
    const { path } = peer;
    if (!path?.own || !path.edge) return false; // the other side's relay is theirs to leave
    if (this.#draining.has(path.edge)) {
      const another = this.#host.offered().some(({ edge }) => !this.#draining.has(edge));
      return another && this.#tried(peer, path.edge) < TRIES;
    }
    const { edge, at } = this.#nearer ?? {};
    return edge !== undefined && at <= now && path.edge !== edge && this.#host.onto(edge) && this.#tried(peer, edge) < 1;
  }

  #tried(peer, edge) {
    return this.#tries.get(peer)?.[edge] ?? 0;
  }

  #count(peer, from) {
    const edge = this.#draining.has(from) ? from : this.#nearer.edge;
    this.#tries.set(peer, { ...this.#tries.get(peer), [edge]: this.#tried(peer, edge) + 1 });
  }
}
