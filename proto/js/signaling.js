// One session with the cluster, over as many sockets as it takes: join, resume, join again, move.
// Knows PROTOCOL.md and nothing of media or of a page: sockets, clock and chance are handed in.

import { Bucket, Inbox, Outboxes } from './delivery.js';
import { ChappeError, Emitter } from './emitter.js';
import { backoff, openFirst, signalUrl } from './socket.js';

/** A socket on which nothing came for this long is asked: half of what a black-holed node may cost. */
export const ASK_AFTER_MS = 4000;
/** And is lost when it has not answered within this. */
export const ANSWER_PING_MS = 2500;
/** The same after a hint that the network changed (CLIENTS.md, life on real devices). */
export const ANSWER_HINT_MS = 2000;
/** A join has to be answered within this. */
const ANSWER_JOIN_MS = 10_000;
/** Acknowledgements wait this long for others to join them. */
const ACK_AFTER_MS = 20;
/** The time between two looks at the clock. */
const TICK_MS = 500;
/** A look that comes this much late: the device has slept. */
const SLEPT_MS = 3000;
/** A socket that lived this long was a good one: the next loss starts over with no wait. */
const STEADY_MS = 5000;
/** Frames other than signals that may wait for a socket. */
const CONTROL_MAX = 256;
/** Bytes that a socket may hold unsent before we stop giving it more. */
const BUFFERED_MAX = 1024 * 1024;

/** WebSocket close codes after which there is nothing to resume (PROTOCOL.md section 8). */
const FINAL = {
  4010: 'replaced', 4011: 'kicked', 4012: 'banned', 4013: 'room_closed', 4014: 'lost',
  4020: 'protocol', 4021: 'rate', 4022: 'join_timeout', 4023: 'refused',
};
/** Refusals of a join that may be different next time. */
const RETRYABLE = new Set(['busy', 'rate_limited', 'unavailable', 'internal']);
const TOKEN_ERRORS = new Set(['token_missing', 'token_invalid', 'token_expired']);

const realClock = () => ({
  now: () => performance.now(),
  wall: () => Date.now(), // performance.now() may stand still while a device sleeps
  setTimeout: (f, ms) => setTimeout(f, ms),
  clearTimeout: (id) => clearTimeout(id),
});

/**
 * Events: `state (state, error?)`, `welcome (frame, {fresh})`, `gone ()`, `gap (missed)`, and each
 * later frame by its type, signals once and in order.
 */
export class Signaling extends Emitter {
  #options;
  #clock;
  #random;
  #urls;
  #nodes = [];
  #join;
  #unconfirmed = 0; // updates that have not come back as `peer_updated`
  #present = new Set();
  #resume = null;
  #live = null;
  #trying = null;
  #moveTo = null;
  #attempts = 0;
  #tokenTries = 0;
  #notBefore = 0;
  #timers = {};
  #out = new Outboxes();
  #in = new Inbox();
  #control = [];
  #bucket = new Bucket(100, 200);
  #acksDue = false;
  #quietUntil = 0;
  #lastTick = 0;
  #silentAfter = 25_000;
  #grace = 30_000;
  #broadcasts = 0;
  #ended = null;

  /**
   * @param {object} options `urls`, `room`, `getToken?`, `name?`, `metadata?`, `identity?`; for tests
   *   `WebSocket`, `clock {now, setTimeout, clearTimeout}`, `random`.
   */
  constructor(options) {
    super();
    this.#options = options;
    this.#clock = options.clock ?? realClock();
    this.#random = options.random ?? Math.random;
    this.#urls = options.urls.map((url) => signalUrl(url, globalThis.location?.href));
    const { room, name, metadata, identity } = options;
    this.#join = { type: 'join', room, name, metadata, identity };
    this.state = 'connecting';
    /** The signaling round trip in milliseconds, once measured. */
    this.rttMs = undefined;
  }

  /** Begins. What comes of it is told by `state` and `welcome`. */
  start() {
    this.#lastTick = this.#wall();
    this.#tick();
    this.#attempt();
  }

  // ------------------------------------------------------------------ what one can say

  /**
   * Sends a signal: once, in order, through whatever happens to sockets.
   * @returns {Promise<void>} Resolves when delivered.
   */
  signal(to, kind, payload, connection) {
    if (this.#ended) return Promise.reject(this.#ended);
    const promise = this.#out.push(to, { kind, payload, connection });
    this.#pump();
    return promise;
  }

  /** Sends any other frame, now or when there is a socket. */
  say(frame) {
    if (this.#ended) throw this.#ended;
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
  leave() {
    if (this.#ended) return;
    this.#write(this.#live, { type: 'leave' });
    this.#end(new ChappeError('left'));
  }

  /** Joins afresh after a page that had left was brought back. */
  restart() {
    this.#ended = null;
    this.#reset();
    this.#attempts = 0;
    this.#setState('reconnecting');
    this.start();
  }

  /** Something about the network or the device has changed: is the socket still there? */
  hint() {
    if (this.#ended) return;
    if (this.#live) this.#ask(ANSWER_HINT_MS);
    else if (this.#timers.backoff && this.#clock.now() >= this.#notBefore) this.#attempt();
  }

  // ------------------------------------------------------------------ getting a socket

  #setState(state, error) {
    if (this.state === state) return;
    this.state = state;
    this.emit('state', state, error);
  }

  #timer(name, ms, f) {
    this.#clock.clearTimeout(this.#timers[name]);
    this.#timers[name] = this.#clock.setTimeout(() => {
      this.#timers[name] = undefined;
      f();
    }, ms);
  }

  #stopTimer(name) {
    this.#clock.clearTimeout(this.#timers[name]);
    this.#timers[name] = undefined;
  }

  #retry(retryAfter = 0) {
    this.#abandon();
    if (!this.#live && this.state === 'connected') this.#setState('reconnecting');
    const now = this.#clock.now();
    this.#notBefore = Math.max(this.#notBefore, now + retryAfter);
    const wait = Math.max(backoff(this.#attempts++, this.#random), this.#notBefore - now);
    this.#timer('backoff', wait, () => this.#attempt());
  }

  /** The nodes in the order to try them. */
  #targets() {
    const targets = new Set([this.#moveTo, ...this.#nodes, ...this.#urls].filter(Boolean));
    // A node that sends us away is not where to go, unless all share one address.
    if (this.#live && targets.size > 1) targets.delete(this.#live.url);
    return [...targets];
  }

  async #attempt() {
    this.#stopTimer('backoff');
    this.#abandon();
    const attempt = (this.#trying = { link: null, cancel() {} });
    const token = this.#resume ? undefined : await this.#token(attempt);
    if (this.#trying !== attempt || this.#ended) return;
    const race = openFirst(this.#targets(), {
      WebSocket: this.#options.WebSocket ?? globalThis.WebSocket,
      clock: this.#clock,
      onOpen: (socket, url) => this.#opened(attempt, socket, url, token),
      onFail: () => this.#retry(),
    });
    if (this.#trying === attempt && !attempt.link) attempt.cancel = race.cancel;
  }

  /** Drops the attempt under way, if any; the live socket stays. */
  #abandon() {
    const attempt = this.#trying;
    this.#trying = null;
    this.#stopTimer('answer');
    attempt?.cancel();
    if (attempt?.link) this.#discard(attempt.link);
  }

  async #token(attempt) {
    if (!this.#options.getToken) return undefined;
    try {
      return (await this.#options.getToken({ room: this.#join.room })) ?? undefined;
    } catch (error) {
      if (this.#trying !== attempt) return undefined;
      if (error?.fatal || this.state === 'connecting') {
        this.#end(new ChappeError('token_failed', `getToken: ${error?.message ?? error}`));
      } else {
        this.#retry();
      }
      return undefined;
    }
  }

  #opened(attempt, socket, url, token) {
    const link = { socket, url, joined: false, closing: null, heard: this.#clock.now(), since: 0, pingBy: Infinity };
    attempt.link = link;
    attempt.cancel = () => {};
    socket.onmessage = (event) => this.#heard(link, event.data);
    socket.onclose = (event) => this.#closed(link, event.code, event.reason);
    this.#sendJoin(link, token);
  }

  #sendJoin(link, token) {
    const past = this.#resume ? { resume: this.#resume, marks: this.#in.marks() } : { token };
    this.#write(link, { ...this.#join, ...past });
    this.#timer('answer', ANSWER_JOIN_MS, () => this.#retry());
  }

  #discard(link) {
    link.socket.onmessage = link.socket.onclose = null;
    link.socket.close();
  }

  // ------------------------------------------------------------------ losing it

  #closed(link, code, reason) {
    const final = FINAL[code];
    if (final && !link.closing) link.closing = { code: final, message: reason, resume: false };
    this.#lose(link);
  }

  /** That socket is of no more use; its `closed` frame, if one came, says what to do. */
  #lose(link) {
    this.#discard(link);
    const live = link === this.#live;
    if (live) this.#live = null;
    else if (this.#trying?.link !== link) return;
    let { code, message, resume = true, retry_after_ms: retryAfter } = link.closing ?? {};
    // Another socket of ours is taking over (its `resumed` is on the way), or the session lives on one.
    const takenOver = live && code === 'replaced' && this.#trying?.link;
    if (takenOver || (!live && this.#live)) resume = true;
    if (!resume && code !== 'lost' && code !== 'join_timeout') return this.#end(new ChappeError(code, message));
    if (!resume) this.#reset();
    if (live && !takenOver) this.#setState('reconnecting');
    if (live && this.#clock.now() - link.since > STEADY_MS) this.#attempts = 0;
    if (!live || !this.#trying) this.#retry(retryAfter);
  }

  /** A join was refused. */
  #refused({ code, message, retry_after_ms: retryAfter }) {
    if (TOKEN_ERRORS.has(code) && this.#options.getToken && this.#tokenTries++ === 0) return this.#retry();
    if (this.#live || RETRYABLE.has(code)) return this.#retry(retryAfter);
    return this.#end(new ChappeError(code, message));
  }

  /** The session is forgotten, and everything that belonged to it. */
  #reset() {
    const had = this.#resume !== null;
    this.#resume = null;
    this.#in.clear();
    this.#present.clear();
    this.#control = [];
    this.#unconfirmed = 0;
    this.#broadcasts = 0;
    this.#out.clear(new ChappeError('gone', 'the session was lost'));
    if (had) this.emit('gone');
  }

  #end(error) {
    if (this.#ended) return;
    this.#ended = error;
    this.#abandon();
    for (const name of Object.keys(this.#timers)) this.#stopTimer(name);
    const link = this.#live;
    this.#live = null;
    if (link) {
      link.socket.onmessage = link.socket.onclose = null;
      link.socket.close(1000);
    }
    this.#out.clear(error);
    this.#in.clear();
    this.#setState('disconnected', error);
  }

  // ------------------------------------------------------------------ what comes

  #heard(link, text) {
    link.heard = this.#clock.now();
    link.pingBy = Infinity;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (link === this.#live) this.#frame(link, frame);
    else if (this.#trying?.link === link) this.#answer(link, frame);
  }

  /** Before the welcome. */
  #answer(link, frame) {
    switch (frame.type) {
      case 'welcome':
      case 'resumed':
      case 'rebuilt':
        return this.#adopt(link, frame);
      case 'gone':
        return this.#gone(link, frame.reason);
      case 'error':
        // A `closed` may follow; there is no need to wait for it.
        return this.#refused(frame);
      case 'closed':
        link.closing = frame;
        return this.#lose(link);
      case 'ping':
        return this.#write(link, { type: 'pong', t: frame.t });
    }
  }

  async #gone(link, reason) {
    // While another socket lives, the session does: this node just does not know it.
    if (this.#live) return this.#retry();
    this.#stopTimer('answer');
    this.#reset();
    if (reason === 'revoked') return this.#end(new ChappeError('kicked'));
    if (reason === 'replaced') return this.#end(new ChappeError('replaced'));
    const attempt = this.#trying;
    const token = await this.#token(attempt);
    if (this.#trying === attempt && attempt.link === link) this.#sendJoin(link, token);
  }

  #adopt(link, frame) {
    const now = this.#clock.now();
    const old = this.#live;
    this.#trying = null;
    this.#moveTo = null;
    this.#live = link;
    if (old) this.#discard(old);
    this.#stopTimer('answer');
    this.#stopTimer('backoff');
    link.since = now;
    link.peer = frame.peer;
    this.#tokenTries = 0;
    const { limits } = frame;
    this.#resume = frame.resume;
    this.#nodes = frame.nodes.length > 0 ? frame.nodes.map((url) => signalUrl(url, link.url)) : [link.url];
    this.#silentAfter = limits.silent_after_ms;
    this.#grace = limits.grace_ms;
    this.#out.limits = limits;
    this.#bucket = new Bucket(limits.frames_per_sec, limits.frames_burst);
    const fresh = frame.type === 'welcome';
    const missed = fresh ? 0 : frame.broadcasts - this.#broadcasts;
    this.#broadcasts = frame.broadcasts;
    const present = new Set(frame.roster.map(({ peer }) => peer));
    for (const peer of this.#present) if (!present.has(peer)) this.#in.forgetAt(peer, now + this.#grace);
    for (const peer of present) this.#in.keep(peer);
    this.#present = present;
    this.#out.rewind();
    this.emit('welcome', frame, { fresh });
    if (this.#live !== link) return;
    this.#setState('connected');
    if (missed > 0) this.emit('gap', missed);
    if (this.#unconfirmed > 0) {
      this.#unconfirmed = 1;
      this.#write(link, { type: 'update', name: this.#join.name, metadata: this.#join.metadata });
    }
    this.#pump();
  }

  /** After the welcome. */
  #frame(link, frame) {
    switch (frame.type) {
      case 'ping':
        return this.#write(link, { type: 'pong', t: frame.t });
      case 'pong':
        if (typeof frame.t === 'number') this.rttMs = this.#clock.now() - frame.t;
        return undefined;
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
        if (frame.code === 'rate_limited') this.#quiet(frame.retry_after_ms ?? 250);
        if (!ours) this.emit('error', new ChappeError(frame.code, frame.message));
        return this.#pump();
      }
      case 'closed':
        link.closing = frame;
        return this.#lose(link);
      case 'moving':
        this.#moveTo = signalUrl(frame.to, link.url);
        if (!this.#trying) this.#attempt();
        return undefined;
      case 'broadcast':
        return this.#broadcast(frame);
      case 'peer_joined':
        this.#present.add(frame.peer);
        this.#in.keep(frame.peer);
        break;
      case 'peer_left':
        this.#present.delete(frame.peer);
        this.#in.forgetAt(frame.peer, this.#clock.now() + this.#grace);
        break;
      case 'peer_updated':
        if (frame.peer === link.peer && frame.change === 'metadata') this.#unconfirmed = Math.max(0, this.#unconfirmed - 1);
        break;
    }
    this.emit(frame.type, frame);
  }

  #signal(frame) {
    const taken = this.#in.take(frame.from, frame.id);
    if (this.#in.due >= 16) this.#acksDue = true;
    if (this.#in.due > 0 && !this.#timers.ack) {
      this.#timer('ack', ACK_AFTER_MS, () => {
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

  #write(link, frame) {
    if (link?.socket.readyState !== 1) return;
    this.#bucket.take(this.#clock.now());
    link.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  #quiet(ms) {
    this.#quietUntil = this.#clock.now() + ms;
  }

  /** Sends all that may be sent now, and comes back when more may. */
  #pump() {
    const link = this.#live;
    if (!link || link.socket.readyState !== 1) return;
    for (;;) {
      const now = this.#clock.now();
      const wait = link.socket.bufferedAmount > BUFFERED_MAX ? 100 : Math.max(this.#bucket.wait(now), this.#quietUntil - now);
      if (wait > 0) return this.#timer('pump', wait, () => this.#pump());
      const text = (this.#acksDue && this.#in.nextAck()) || this.#control.shift() || this.#out.next(now);
      if (this.#in.due === 0) this.#acksDue = false;
      if (!text) {
        const at = this.#out.wakeAt(now);
        if (at < Infinity) this.#timer('pump', at - now, () => this.#pump());
        return undefined;
      }
      this.#write(link, text);
    }
  }

  // ------------------------------------------------------------------ is it alive?

  #ask(within) {
    const now = this.#clock.now();
    const link = this.#live;
    link.pingBy = Math.min(link.pingBy, now + within);
    this.#write(link, { type: 'ping', t: now });
  }

  #wall() {
    return this.#clock.wall ? this.#clock.wall() : this.#clock.now();
  }

  #tick() {
    const now = this.#clock.now();
    const wall = this.#wall();
    const slept = wall - this.#lastTick > TICK_MS + SLEPT_MS;
    this.#lastTick = wall;
    this.#timer('tick', TICK_MS, () => this.#tick());
    this.#in.expire(now);
    const link = this.#live;
    if (slept) this.emit('wake');
    if (slept && !(link?.pingBy < Infinity)) return this.hint();
    if (!link) return undefined;
    if (now >= link.pingBy || now - link.heard > this.#silentAfter) return this.#lose(link);
    if (now - link.heard >= ASK_AFTER_MS && link.pingBy === Infinity) this.#ask(ANSWER_PING_MS);
    return undefined;
  }
}
