// Getting a socket to a node that knows the session, and keeping one: the first of several addresses,
// the wait before another attempt, join and resume, moving, and whether the other end is alive.

import { ChappeError } from './emitter.js';
import { Nodes, openWithin } from './nodes.js';
import { RACE_MS, STAGGER_MS, backoff, openFirst } from './socket.js';

/** A socket on which nothing came for this long is asked: half of what a black-holed node may cost. */
export const ASK_AFTER_MS = 4000;
/** And is lost when it has not answered within this. */
export const ANSWER_PING_MS = 2000;
/** The same after a hint that the network changed. */
export const ANSWER_HINT_MS = 2000;
/** A join has to be answered within this: given up earlier, it could leave a double of us behind. */
const ANSWER_JOIN_MS = 10_000;
/** A resume, which another node may answer as well; a node itself gives its room as long. */
const ANSWER_RESUME_MS = 5000;
/** A refusal that names no time is tried again after this. */
const RETRY_MS = 250;
/** Who is sent away goes somewhere in this part of the time, so that not all go at once. */
const SPREAD = 0.7;
/** The time between two looks at the clock. */
const TICK_MS = 250;
/** A look that comes this much late: the device has slept. */
const SLEPT_MS = 3000;
/** An attempt that has taken this long may be hanging in a network that is no more. */
const STALE_MS = 1000;
/** A socket that lived this long was a good one: the next loss starts over with no wait. */
const STEADY_MS = 5000;
/** WebSocket close codes after which there is nothing to resume (PROTOCOL.md section 8). */
const FINAL = {
  4010: 'replaced', 4011: 'kicked', 4012: 'banned', 4013: 'room_closed', 4014: 'lost', 4015: 'moved',
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
 * `host` is told: `joining() -> {join, marks}`, `adopted(frame, connected)`, `waiting(frame)`, `heard(frame)`, `wrote()`, `reset(had)`,
 * `state(state, error)`, `ended(error)`, `wake()`.
 */
export class Connector {
  /** `connecting`, `connected`, `reconnecting`, `disconnected`. */
  state = 'connecting';
  /** Why it is over: a ChappeError. */
  ended = null;
  /** The signaling round trip in milliseconds, once measured. */
  rttMs = undefined;
  #options;
  #host;
  #clock;
  #random;
  #nodes;
  #resume = null;
  #live = null;
  #trying = null;
  #attempts = 0;
  #vain = 0; // attempts in a row that found no node
  #tokenTries = 0;
  #given; // a token that came with the order to go to this room: it goes before the application's
  #notBefore = 0;
  #timers = {};
  #lastTick = 0;
  #silentAfter = 25_000;

  constructor(options, host) {
    this.#options = options;
    this.#host = host;
    this.#clock = options.clock ?? realClock();
    this.#random = options.random ?? Math.random;
    this.#nodes = new Nodes(options.urls);
    this.#given = options.token;
  }

  get clock() {
    return this.#clock;
  }

  /** The live socket takes frames now. */
  get open() {
    return this.#live?.socket.readyState === 1;
  }

  /** Bytes that it has not sent yet. */
  get buffered() {
    return this.#live?.socket.bufferedAmount ?? 0;
  }

  /** Begins, or begins again. */
  start() {
    if (this.ended) {
      this.ended = null;
      this.#attempts = 0;
      this.#reset();
      this.#setState('reconnecting');
    }
    this.#lastTick = this.#wall();
    this.#tick();
    this.#attempt();
  }

  /** Gives a frame to the live socket. */
  write(text) {
    this.#write(this.#live, text);
  }

  /** Something about the network or the device has changed: is the socket still there? */
  hint() {
    if (this.ended) return;
    const now = this.#clock.now();
    const waits = this.#trying?.link?.waits && this.#trying.link;
    if (this.#live) this.#ask(ANSWER_HINT_MS);
    else if (waits) this.#ask(ANSWER_HINT_MS, waits);
    else if (this.#timers.backoff ? now >= this.#notBefore : this.#trying?.since < now - STALE_MS) this.#attempt();
  }

  /** No more of it: everything is closed, and `ended` says why. */
  end(error) {
    if (this.ended) return;
    this.ended = error;
    this.#abandon();
    for (const name of Object.keys(this.#timers)) this.#stopTimer(name);
    const link = this.#live;
    this.#live = null;
    if (link) this.#discard(link, 1000);
    this.#host.ended(error);
    this.#setState('disconnected', error);
  }

  #setState(state, error) {
    if (this.state === state) return;
    this.state = state;
    this.#host.state(state, error);
  }

  // ------------------------------------------------------------------ getting one

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

  /** The node sends us away: its socket stays until another has resumed. */
  #move({ to, within_ms: within = 0 }) {
    this.#nodes.sendTo([to ?? []].flat(), this.#live.url);
    this.#timer('move', within * SPREAD * this.#random(), () => this.#trying || this.#attempt());
  }

  async #attempt() {
    this.#stopTimer('backoff');
    this.#abandon();
    const attempt = (this.#trying = { link: null, since: this.#clock.now(), cancel() {} });
    const token = this.#resume ? undefined : await this.#token(attempt);
    if (this.#trying !== attempt || this.ended) return;
    const targets = this.#nodes.targets(this.#live?.url, attempt.since);
    const race = openFirst(targets, {
      WebSocket: this.#options.WebSocket ?? globalThis.WebSocket,
      clock: this.#clock,
      within: openWithin(targets.length, this.#vain),
      // Whoever comes back is told by the cluster where to go; who comes first takes the nearest of those that he has.
      stagger: this.#resume ? STAGGER_MS : RACE_MS,
      onOpen: (socket, url) => this.#opened(attempt, socket, url, token),
      onDead: (url) => this.#nodes.failed(url, this.#clock.now()),
      onFail: () => {
        this.#vain += 1;
        this.#retry();
      },
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
    if (this.#given || !this.#options.getToken) return this.#given;
    try {
      return (await this.#options.getToken({ room: this.#options.room })) ?? undefined;
    } catch (error) {
      if (this.#trying !== attempt) return undefined;
      if (error?.fatal || this.state === 'connecting') {
        this.end(new ChappeError('token_failed', `getToken: ${error?.message ?? error}`));
      } else {
        this.#retry();
      }
      return undefined;
    }
  }

  #opened(attempt, socket, url, token) {
    const link = { socket, url, closing: null, heard: this.#clock.now(), since: 0, pingBy: Infinity };
    attempt.link = link;
    attempt.cancel = () => {};
    socket.onmessage = (event) => this.#heard(link, event.data);
    socket.onclose = (event) => this.#closed(link, event.code, event.reason);
    this.#sendJoin(link, token);
  }

  #sendJoin(link, token) {
    const { join, marks } = this.#host.joining();
    this.#write(link, { ...join, ...(this.#resume ? { resume: this.#resume, marks } : { token }) });
    this.#timer('answer', this.#resume ? ANSWER_RESUME_MS : ANSWER_JOIN_MS, () => this.#retryElsewhere(link));
  }

  #retryElsewhere(link, retryAfter) {
    this.#nodes.failed(link.url, this.#clock.now());
    this.#retry(retryAfter);
  }

  #discard(link, code) {
    link.socket.onmessage = link.socket.onclose = null;
    link.socket.close(code);
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
    this.#nodes.failed(link.url, this.#clock.now());
    let { code, message, resume = true, retry_after_ms: retryAfter } = link.closing ?? {};
    // Another socket of ours is taking over (its `resumed` is on the way), or the session lives on one.
    const takenOver = live && code === 'replaced' && this.#trying?.link;
    if (takenOver || link.unavailable || (!live && this.#live)) resume = true;
    if (!resume && code !== 'lost' && code !== 'join_timeout') return this.end(new ChappeError(code, message));
    if (!resume) this.#reset();
    if (live && !takenOver) this.#setState('reconnecting');
    if (live && this.#clock.now() - link.since > STEADY_MS) this.#attempts = 0;
    if (!live || !this.#trying) this.#retry(retryAfter);
  }

  /** A join was refused. */
  #refused(link, { code, message, retry_after_ms: retryAfter = RETRY_MS }) {
    if (TOKEN_ERRORS.has(code) && this.#options.getToken && (this.#given || this.#tokenTries++ === 0)) {
      this.#given = undefined;
      return this.#retry();
    }
    if (code === 'unavailable') {
      // It may still come on this socket (PROTOCOL.md section 8).
      link.unavailable = true;
      return this.#timer('answer', retryAfter, () => this.#retryElsewhere(link));
    }
    if (this.#live || RETRYABLE.has(code)) return this.#retryElsewhere(link, retryAfter);
    return this.end(new ChappeError(code, message));
  }

  #reset() {
    const had = this.#resume !== null;
    this.#resume = null;
    this.#host.reset(had);
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

  /** Somebody has to let us in: we wait as long as the node is there. */
  #waits(link, frame) {
    link.waits = true;
    this.#attempts = this.#tokenTries = this.#vain = 0;
    this.#nodes.welcomed(frame.nodes ?? [], link.url);
    this.#expect(link, this.#silentAfter);
    this.#host.waiting(frame);
  }

  /** Something has to come on a socket on which we wait to be let in. */
  #expect(link, within) {
    this.#timer('answer', within, () => this.#retryElsewhere(link));
  }

  /** Before the welcome. */
  #answer(link, frame) {
    if (link.waits) this.#expect(link, this.#silentAfter);
    switch (frame.type) {
      case 'waiting':
        return this.#waits(link, frame);
      case 'moving':
        this.#nodes.sendTo([frame.to ?? []].flat(), link.url);
        return this.#timer('move', (frame.within_ms ?? 0) * SPREAD * this.#random(), () => this.#trying?.link === link && this.#retryElsewhere(link));
      case 'welcome':
      case 'resumed':
      case 'rebuilt':
        return this.#adopt(link, frame);
      case 'gone':
        return this.#gone(link, frame.reason);
      case 'error':
        // A `closed` may follow; there is no need to wait for it.
        return this.#refused(link, frame);
      case 'closed':
        link.closing = frame;
        return this.#lose(link);
      case 'ping':
        return this.#write(link, { type: 'pong', t: frame.t });
    }
  }

  async #gone(link, reason) {
    // While another socket lives, the session does: this node just does not know it.
    if (this.#live) return this.#retryElsewhere(link);
    this.#stopTimer('answer');
    this.#reset();
    if (reason === 'revoked') return this.end(new ChappeError('kicked'));
    if (reason === 'replaced') return this.end(new ChappeError('replaced'));
    if (reason === 'closed') return this.end(new ChappeError('room_closed'));
    if (reason === 'moved') return this.end(new ChappeError('moved', 'one was moved to another room'));
    const attempt = this.#trying;
    const token = await this.#token(attempt);
    if (this.#trying === attempt && attempt.link === link) this.#sendJoin(link, token);
  }

  #adopt(link, frame) {
    const old = this.#live;
    this.#trying = null;
    this.#live = link;
    link.waits = false;
    if (old) this.#discard(old);
    for (const name of ['answer', 'backoff', 'move']) this.#stopTimer(name);
    link.since = this.#clock.now();
    this.#tokenTries = this.#vain = 0;
    this.#resume = frame.resume;
    this.#nodes.welcomed(frame.nodes, link.url);
    this.#silentAfter = frame.limits.silent_after_ms;
    this.#host.adopted(frame, () => this.#live === link && this.#setState('connected'));
  }

  /** After the welcome. */
  #frame(link, frame) {
    switch (frame.type) {
      case 'ping':
        return this.#write(link, { type: 'pong', t: frame.t });
      case 'pong':
        if (typeof frame.t === 'number') this.rttMs = this.#clock.now() - frame.t;
        return undefined;
      case 'closed':
        link.closing = frame;
        return this.#lose(link);
      case 'moving':
        return this.#move(frame);
      default:
        return this.#host.heard(frame);
    }
  }

  #write(link, frame) {
    if (link?.socket.readyState !== 1) return;
    this.#host.wrote();
    link.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  // ------------------------------------------------------------------ is it alive?

  #ask(within, link = this.#live) {
    const now = this.#clock.now();
    if (link.waits) this.#expect(link, within);
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
    const link = this.#live;
    if (slept) this.#host.wake();
    if (slept && !(link?.pingBy < Infinity)) return this.hint();
    if (!link) return undefined;
    if (now >= link.pingBy || now - link.heard > this.#silentAfter) return this.#lose(link);
    if (now - link.heard >= ASK_AFTER_MS && link.pingBy === Infinity) this.#ask(ANSWER_PING_MS);
    return undefined;
  }
}
