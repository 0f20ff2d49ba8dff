// Somebody else in the room: what is known of them, and the connection to them, looked after.

import { candidatesOf } from './connections.js';
import { Emitter } from './emitter.js';
import { Pair } from './negotiation.js';
import { RelayWatch } from './relays.js';
import { StallWatch, digest, pathOf, qualityOf } from './ice.js';

/** The time between two looks at a connection that is well, and at one that is silent. */
const LOOK_MS = 1000;
const LOOK_AGAIN_MS = 250;
/** Quality is judged over this long. */
const QUALITY_MS = 4000;

/**
 * Events, which the room passes on: `track`, `track-removed`, `connection`, `path`, `quality`, `error`, `restart`,
 * and, to the node, `candidates` and `ice-failed (edge, kind)`.
 */
export class Peer extends Emitter {
  /** Away: its socket is lost, and it may yet return. */
  away = false;
  /** Grants that were taken away from it: `publish`, `broadcast`. */
  withheld = [];
  /** Its media, by stream id. */
  streams = new Map();
  /** `{kind: 'direct' | 'relay', protocol, own, url, edge, region, rttMs}` (`own`: the relay is this side's) once connected. */
  path = undefined;
  /** The types of the candidates that it takes, `{local, remote}`, once connected. */
  candidates = undefined;
  /** `{level: 'good' | 'fair' | 'poor' | 'lost', loss, fps, rttMs}`, once measured. */
  quality = undefined;
  #pair = null;
  #host;
  #watch;
  #relays = null;
  #timer;
  #looks = [];
  #lookedAt = 0;

  /**
   * @param {object} view As in `peer_joined`.
   * @param {object} host `clock`, `createConnection()`, `configuration()`, `tracks()`, `newId()`,
   *   `send(peer, kind, payload, connection)`, `signaling() -> boolean`, `edgeOf`, `offered() -> [{edge, urls}]`,
   *   `polite`; null without WebRTC.
   */
  constructor(view, host) {
    super();
    this.id = view.peer;
    this.see(view);
    this.#host = host;
    if (!host) return;
    this.#watch = new StallWatch(host.clock.now());
    this.#pair = new Pair({
      polite: host.polite(this.id),
      create: host.createConnection,
      newId: host.newId,
      tracks: host.tracks,
      configuration: host.configuration,
      send: (kind, payload, connection) => host.send(this.id, kind, payload, connection),
    });
    this.#pair.on('open', (pc) => this.#opened(pc));
    this.#pair.on('track', (event) => this.#track(event));
    this.#pair.on('state', (state) => this.emit('connection', state));
    this.#pair.on('restarted', () => {
      this.#relays.restarted();
      this.#watch.restarted(this.#host.clock.now());
    });
    this.#pair.on('error', (error) => this.emit('error', error));
  }

  /** What others see of it now. */
  see({ identity, name, metadata, away, withheld }) {
    if (identity !== undefined) this.identity = identity;
    this.name = name ?? undefined;
    this.metadata = metadata ?? undefined;
    if (away !== undefined) {
      this.away = away; // a whole view: one from whom nothing is withheld says nothing of it
      this.withheld = withheld ?? [];
    }
  }

  /** RTCPeerConnection.connectionState, or `none`. */
  get connectionState() {
    return this.#pair?.pc?.connectionState ?? 'none';
  }

  /** All its tracks. */
  get tracks() {
    return [...this.streams.values()].flatMap((stream) => stream.getTracks());
  }

  /** The connection itself, for what the SDK does not do. It may be replaced at any time. */
  get connection() {
    return this.#pair?.pc ?? null;
  }

  /** For the room. */
  get pair() {
    return this.#pair;
  }

  /** The latest statistics, digested, or undefined. */
  async stats() {
    const pc = this.#pair?.pc;
    return pc ? digest(await pc.getStats()) : undefined;
  }

  /** Its edge is said to be lost, or our network to be another one. */
  suspect() {
    this.#watch?.suspect();
    this.#soon();
  }

  /** The device was asleep. */
  awake() {
    this.#watch?.awake(this.#host.clock.now());
    this.#soon();
  }

  /**
   * Restarts ICE with the latest servers although nothing is wrong: the present path serves until another does.
   * @returns {boolean} Whether this was the time for it; if not, later.
   */
  move() {
    const pc = this.#pair?.pc;
    if (!this.#host || pc?.connectionState !== 'connected' || this.#watch.silent || this.#held) return false;
    this.#watch.restarted(this.#host.clock.now());
    this.#restart();
    this.emit('restart', 'move');
    return true;
  }

  /** Whether a restart could not be negotiated now. */
  get #held() {
    return this.away || !this.#host.signaling() || !this.#pair.stable;
  }

  #restart() {
    this.#relays.restarted();
    this.#pair.restart(this.#host.configuration());
  }

  close() {
    this.#host?.clock.clearTimeout(this.#timer);
    this.#host = null;
    this.#pair?.close();
    this.#drop();
  }

  #opened(pc) {
    this.#drop();
    this.#relays = new RelayWatch(pc);
    this.path = this.candidates = this.quality = undefined;
    this.#looks = [];
    this.#watch.reset(this.#host.clock.now());
    this.#soon();
    this.emit('connection', 'new');
  }

  /** The media of a connection that is over. */
  #drop() {
    const streams = [...this.streams.values()];
    this.streams.clear();
    for (const stream of streams) {
      for (const track of stream.getTracks()) this.emit('track-removed', { track, stream });
    }
  }

  #track({ track, streams, receiver, transceiver }) {
    for (const stream of streams) {
      if (this.streams.get(stream.id) === stream) continue;
      this.streams.set(stream.id, stream);
      // Not `onremovetrack`: that one belongs to the application.
      stream.addEventListener?.('removetrack', ({ track: gone }) => this.#removed(gone, stream));
    }
    this.emit('track', { track, stream: streams[0], streams, receiver, transceiver });
  }

  #removed(track, stream) {
    if (this.streams.get(stream.id) !== stream) return;
    if (stream.getTracks().length === 0) this.streams.delete(stream.id);
    this.emit('track-removed', { track, stream });
  }

  #soon() {
    if (!this.#host) return;
    this.#host.clock.clearTimeout(this.#timer);
    this.#timer = this.#host.clock.setTimeout(() => this.#look(), LOOK_AGAIN_MS);
  }

  async #look() {
    const pc = this.#pair.pc;
    if (!pc) return;
    try {
      const stats = digest(await pc.getStats());
      if (this.#host && pc === this.#pair.pc) this.#judge(pc, stats);
    } catch (error) {
      this.emit('error', error);
    }
    if (!this.#host) return;
    this.#host.clock.clearTimeout(this.#timer);
    this.#timer = this.#host.clock.setTimeout(() => this.#look(), this.#watch.silent ? LOOK_AGAIN_MS : LOOK_MS);
  }

  #judge(pc, stats) {
    const now = this.#host.clock.now();
    const receiving = pc.getTransceivers().filter((t) => /recv/.test(t.currentDirection ?? ''));
    const state = pc.connectionState;
    const verdict = this.#watch.observe(now, {
      ...stats,
      state,
      expecting: receiving.length > 0,
      hold: this.#held,
    });
    // Of a relay of ours: the other side tells of its own.
    if (verdict && state !== 'new' && this.path?.own && this.path.edge) this.emit('ice-failed', this.path.edge, 'stalled');
    for (const edge of this.#relays.failed(this.#host.offered(), { ...stats, state })) this.emit('ice-failed', edge, 'no_relay');
    if (verdict === 'restart') this.#restart();
    if (verdict === 'replace') this.#pair.replace();
    if (verdict) this.emit('restart', verdict);
    this.#measure(stats, now, state, receiving);
  }

  #measure(stats, now, state, receiving) {
    if (now - this.#lookedAt < LOOK_MS * 0.9 && this.quality) return;
    this.#lookedAt = now;
    const path = state === 'connected' ? pathOf(stats, this.#host) : this.path;
    const moved = ['kind', 'protocol', 'url', 'edge'].some((field) => path?.[field] !== this.path?.[field]);
    this.path = path;
    if (moved) this.emit('path', path);
    const candidates = state === 'connected' ? candidatesOf(stats) : this.candidates;
    const others = ['local', 'remote'].some((side) => candidates?.[side] !== this.candidates?.[side]);
    this.candidates = candidates;
    if (others) this.emit('candidates');
    this.#looks = this.#looks.filter((look) => now - look.now < QUALITY_MS);
    const first = this.#looks[0];
    this.#looks.push({ now, stats });
    if (!first || now - first.now < LOOK_MS * 0.9) return;
    const expectingVideo = stats.videoBytes > first.stats.videoBytes
      || receiving.some(({ receiver: { track } }) => track.kind === 'video' && !track.muted);
    this.quality = qualityOf(first.stats, stats, { ms: now - first.now, state, expectingVideo });
    this.emit('quality', this.quality);
  }
}
