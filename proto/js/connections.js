// Tells the node how the connections to the others are, for operators (PROTOCOL.md section 2): states, and the types of
// the candidates in use, no addresses.

/** Changes within this are told together. */
const TELL_MS = 1000;
/** RFC 8445's; a browser's own words are not told. */
const TYPES = new Set(['host', 'srflx', 'prflx', 'relay']);

/** The types of the selected pair's candidates, of a digest; undefined where no pair is selected. */
export function candidatesOf({ local, remote }) {
  const type = (candidate) => (TYPES.has(candidate.candidateType) ? candidate.candidateType : undefined);
  return local && remote ? { local: type(local), remote: type(remote) } : undefined;
}

/** All of them at once, whenever one has changed. */
export class Connections {
  #options;
  #most = 0;
  #timer;
  #told;

  /** @param {object} options `clock`, `peers() -> Iterable<Peer>`, `say(frame)`. */
  constructor(options) {
    this.#options = options;
  }

  /** A node may know nothing of them yet, or what was: it is told anew. `most` is 0 where it would not understand. */
  welcome(most = 0) {
    this.stop();
    this.#most = most;
    this.changed();
  }

  changed() {
    if (this.#most > 0) this.#timer ??= this.#options.clock.setTimeout(() => this.#tell(), TELL_MS);
  }

  stop() {
    this.#options.clock.clearTimeout(this.#timer);
    this.#timer = this.#told = undefined;
    this.#most = 0;
  }

  #tell() {
    this.#timer = undefined;
    const all = [...this.#options.peers()].filter((peer) => peer.connection)
      .map(({ id, connectionState: state, candidates }) => [id, { state, ...candidates }]);
    // Of too many those that work can be left out.
    all.sort(([, a], [, b]) => (a.state === 'connected') - (b.state === 'connected'));
    const frame = { type: 'connections', peers: Object.fromEntries(all.slice(0, this.#most)) };
    const text = JSON.stringify(frame);
    if (text === this.#told) return;
    this.#told = text;
    this.#options.say(frame);
  }
}
