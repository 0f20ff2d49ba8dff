// One session with the cluster, over as many sockets as it takes: what is said and heard in it.
// Knows PROTOCOL.md and nothing of media or of a page: sockets, clock and chance are handed in.

import { Connector } from './connector.js';
import { Bucket, Inbox, Outboxes } from './delivery.js';
import { ChappeError, Emitter } from './emitter.js';

/** Acknowledgements wait this long for others to join them. */
const ACK_AFTER_MS = 20;
/** So many senders that wait for one are not kept waiting. */
const ACK_AT_ONCE = 16;
/** Frames other than signals that may wait for a socket. */
const CONTROL_MAX = 256;
/** Bytes that a socket may hold unsent before we stop giving it more. */
const BUFFERED_MAX = 1024 * 1024;

/**
 * Events: `state (state, error?)`, `welcome (frame, {fresh})`, `waiting (frame)`, `gone ()`, `gap (missed)`, and each
 * later frame by its type, signals once and in order.
 */
export class Signaling extends Emitter {
  #connector;
  #clock;
  #join;
  #unconfirmed = 0; // updates that have not come back as `peer_updated`
  #me = null;
  #present = new Set();
  #timers = {};
  #out = new Outboxes();
  #in = new Inbox();
  #control = [];
  #bucket = new Bucket(100, 200);
  #acksDue = false;
  #quietUntil = 0;
  #broadcasts = 0;

  /**
   * @param {object} options `urls`, `room`, `getToken?`, `name?`, `metadata?`, `identity?`, `token?` (that
   *   of `moved`, used before `getToken` is asked); for tests
   *   `WebSocket`, `clock {now, setTimeout, clearTimeout}`, `random`.
   */
  constructor(options) {
    super();
    const { room, name, metadata, identity } = options;
    this.#join = { type: 'join', room, name, metadata, identity };
    this.#connector = new Connector(options, {
      joining: () => ({ join: this.#join, marks: this.#in.marks() }),
      adopted: (frame, connected) => this.#adopted(frame, connected),
      waiting: (frame) => this.emit('waiting', frame),
      heard: (frame) => this.#heard(frame),
      wrote: () => this.#bucket.take(this.#clock.now()),
      reset: (had) => this.#reset(had),
      ended: (error) => this.#ended(error),
      state: (state, error) => this.emit('state', state, error),
      wake: () => this.emit('wake'),
    });
    this.#clock = this.#connector.clock;
  }

  /** `connecting`, `connected`, `reconnecting`, `disconnected`. */
  get state() {
    return this.#connector.state;
  }

  /** The signaling round trip in milliseconds, once measured. */
  get rttMs() {
    return this.#connector.rttMs;
  }

  /** Begins; after an end, joins afresh. What comes of it is told by `state` and `welcome`. */
  start() {
    this.#connector.start();
  }

  /** Something about the network or the device has changed: is the socket still there? */
  hint() {
    this.#connector.hint();
  }

  // ------------------------------------------------------------------ what one can say

  /**
   * Sends a signal: once, in order, through whatever happens to sockets.
   * @returns {Promise<void>} Resolves when delivered.
   */
  signal(to, kind, payload, connection) {
    if (this.#connector.ended) return Promise.reject(this.#connector.ended);
    const promise = this.#out.push(to, { kind, payload, connection });
    this.#pump();
    return promise;
  }

  /** Sends any other frame, now or when there is a socket. */
  say(frame) {
    if (this.#connector.ended) throw this.#connector.ended;
    if (this.#control.length >= CONTROL_MAX) throw new ChappeError('overflow', 'too many frames wait for a connection');
    if (frame.type === 'update') {
      const { type, ...fields } = frame;
      Object.assign(this.#join, fields);
      this.#unconfirmed += 1;
    }
    this.#control.push(JSON.stringify(frame));
    this.#pump();
  }

  /** Leaves for good, and says so where it can. */
  leave(error = new ChappeError('left')) {
    this.#connector.write({ type: 'leave' });
    this.#connector.end(error);
  }

  // ------------------------------------------------------------------ the session

  #adopted(frame, connected) {
    const { limits, roster, broadcasts } = frame;
    this.#me = frame.peer;
    this.#out.limits = limits;
    this.#bucket = new Bucket(limits.frames_per_sec, limits.frames_burst);
    const fresh = frame.type === 'welcome';
    const missed = fresh ? 0 : broadcasts - this.#broadcasts;
    this.#broadcasts = broadcasts;
    const present = new Set(roster.map(({ peer }) => peer));
    for (const peer of this.#present) if (!present.has(peer)) this.#in.left(peer);
    for (const peer of present) this.#in.keep(peer);
    this.#present = present;
    this.#out.rewind();
    this.#in.catchUp();
    this.#acksDue = this.#in.due > 0;
    this.emit('welcome', frame, { fresh });
    connected();
    if (missed > 0) this.emit('gap', missed);
    if (this.#unconfirmed > 0) {
      this.#unconfirmed = 1;
      this.#connector.write({ type: 'update', name: this.#join.name, metadata: this.#join.metadata });
    }
    this.#pump();
  }

  /** It is forgotten, and everything that belonged to it. */
  #reset(had) {
    this.#in.clear();
    this.#present.clear();
    this.#control = [];
    this.#unconfirmed = 0;
    this.#broadcasts = 0;
    this.#out.clear(new ChappeError('gone', 'the session was lost'));
    if (had) this.emit('gone');
  }

  #ended(error) {
    for (const timer of Object.values(this.#timers)) this.#clock.clearTimeout(timer);
    this.#timers = {};
    this.#out.clear(error);
    this.#in.clear();
  }

  // ------------------------------------------------------------------ what comes

  #heard(frame) {
    switch (frame.type) {
      case 'signal':
        return this.#signal(frame);
      case 'delivered':
        this.#out.delivered(frame.to, frame.id);
        return this.#pump();
      case 'undelivered':
        this.#out.undelivered(frame.to, frame.id, frame.reason);
        return this.#pump();
      case 'error': {
        const ours = this.#out.refused(frame, this.#clock.now());
        if (frame.code === 'rate_limited') this.#quietUntil = this.#clock.now() + (frame.retry_after_ms ?? 250);
        if (!ours) this.emit('error', new ChappeError(frame.code, frame.message));
        return this.#pump();
      }
      case 'broadcast':
        return this.#broadcast(frame);
      case 'peer_joined':
        this.#present.add(frame.peer);
        this.#in.keep(frame.peer);
        break;
      case 'peer_left':
        this.#present.delete(frame.peer);
        this.#in.left(frame.peer);
        break;
      case 'peer_updated':
        if (frame.peer === this.#me && frame.change === 'metadata') this.#unconfirmed = Math.max(0, this.#unconfirmed - 1);
        break;
    }
    this.emit(frame.type, frame);
  }

  #signal(frame) {
    const taken = this.#in.take(frame.from, frame.id, frame.settled);
    if (this.#in.due >= ACK_AT_ONCE) this.#acksDue = true;
    if (this.#in.due > 0 && !this.#timers.ack) {
      this.#later('ack', ACK_AFTER_MS, () => {
        this.#acksDue = true;
        this.#pump();
      });
    }
    if (taken) this.emit('signal', frame);
  }

  #broadcast(frame) {
    if (frame.n <= this.#broadcasts) return;
    const missed = frame.n - this.#broadcasts - 1;
    this.#broadcasts = frame.n;
    if (missed > 0) this.emit('gap', missed);
    this.emit('broadcast', frame);
  }

  // ------------------------------------------------------------------ what goes

  /** Sends all that may be sent now, and comes back when more may. */
  #pump() {
    if (!this.#connector.open) return undefined;
    for (;;) {
      const now = this.#clock.now();
      const wait = this.#connector.buffered > BUFFERED_MAX ? 100 : Math.max(this.#bucket.wait(now), this.#quietUntil - now);
      if (wait > 0) return this.#later('pump', wait, () => this.#pump());
      const text = (this.#acksDue && this.#in.nextAck()) || this.#control.shift() || this.#out.next(now);
      if (this.#in.due === 0) this.#acksDue = false;
      if (!text) {
        const at = this.#out.wakeAt(now);
        if (at < Infinity) this.#later('pump', at - now, () => this.#pump());
        return undefined;
      }
      this.#connector.write(text);
    }
  }

  #later(name, ms, f) {
    this.#clock.clearTimeout(this.#timers[name]);
    this.#timers[name] = this.#clock.setTimeout(() => {
      this.#timers[name] = undefined;
      f();
    }, ms);
  }
}
