// Signals once and in order (PROTOCOL.md section 6): what is held for each receiver, and the mark
// kept of each sender. No socket, no timer: signaling.js drives it.

import { ChappeError } from './emitter.js';

/** Signals that may wait here for one receiver, beyond those that are on their way. */
export const QUEUE_MAX = 1024;
/** Bytes that may be held for all receivers together. */
export const HELD_BYTES_MAX = 16 * 1024 * 1024;
/** Marks that go with a resume (PROTOCOL.md section 6). */
const MARKS_MAX = 1500;
/** Senders who have left and whose marks are kept. */
const LEFT_MAX = 256;
/** A refusal that names no time is tried again after this, in milliseconds. */
const RETRY_MS = 250;

const utf8 = new TextEncoder();

/** What one receiver has not acknowledged: `held[0]` has the id `base + 1`, and so on. */
class Outbox {
  base = 0; // the last id that was settled
  sent = 0; // the last id that was given to the socket
  held = [];
  pausedUntil = 0;

  constructor(to) {
    this.to = to;
  }

  get waiting() {
    return this.base + this.held.length - this.sent;
  }

  /** Whether the next one is within what a receiver may leave unacknowledged. */
  fits(limits) {
    const onTheirWay = this.held.slice(0, this.sent - this.base);
    if (onTheirWay.length === 0) return true;
    if (onTheirWay.length >= limits.unacked_max) return false;
    const bytes = onTheirWay.reduce((sum, entry) => sum + entry.bytes, 0);
    return bytes + this.held[onTheirWay.length].bytes <= limits.unacked_bytes_max;
  }
}

/** All that this client has said and nobody has confirmed. */
export class Outboxes {
  #boxes = new Map();
  #turn = []; // boxes with something to send, in turn
  #bytes = 0;
  /** What `welcome.limits` said. */
  limits = { unacked_max: 64, unacked_bytes_max: 256 * 1024, payload_max: 56 * 1024 };

  /**
   * Holds a signal.
   * @returns {Promise<void>} Settled when it is delivered, or can never be.
   */
  push(to, { kind, payload = null, connection }) {
    const box = this.#box(to);
    const body = JSON.stringify({ to, connection, kind, payload });
    const bytes = utf8.encode(JSON.stringify([payload, connection ?? null])).length;
    if (bytes > this.limits.payload_max) {
      return Promise.reject(new ChappeError('too_large', `${bytes} bytes, at most ${this.limits.payload_max} allowed`));
    }
    if (box.waiting >= QUEUE_MAX || this.#bytes + bytes > HELD_BYTES_MAX) {
      return Promise.reject(new ChappeError('overflow', `too much is waiting for ${to}`));
    }
    this.#bytes += bytes;
    return new Promise((resolve, reject) => {
      box.held.push({ body, bytes, resolve, reject });
      this.#enqueue(box);
    });
  }

  /** The text of the next frame that may be sent at `now`, or null. Receivers take turns. */
  next(now) {
    for (let tries = this.#turn.length; tries > 0; tries--) {
      const box = this.#turn.shift();
      if (box.waiting === 0) {
        box.queued = false;
        continue;
      }
      this.#turn.push(box);
      if (box.pausedUntil > now || !box.fits(this.limits)) continue;
      const entry = box.held[box.sent - box.base];
      box.sent += 1;
      return `{"type":"signal","id":${box.sent},${entry.body.slice(1)}`;
    }
    return null;
  }

  /** When the first of the paused ones may go on; Infinity with none. */
  wakeAt(now) {
    return Math.min(...this.#turn.map((box) => (box.pausedUntil > now ? box.pausedUntil : Infinity)), Infinity);
  }

  /** Everything to that peer up to `id` has arrived. */
  delivered(to, id) {
    this.#settle(to, id, (entry) => entry.resolve());
  }

  /** Nothing to that peer up to `id` will ever arrive. */
  undelivered(to, id, reason) {
    this.#settle(to, id, (entry) => entry.reject(new ChappeError(reason, `${to} will never have it`)));
  }

  /**
   * A signal was refused.
   * @returns {boolean} Whether it was one of ours.
   */
  refused({ code, message, to, id, retry_after_ms: wait = RETRY_MS }, now) {
    const box = this.#boxes.get(to);
    if (code === 'rate_limited' && !box) {
      for (const any of this.#boxes.values()) this.#back(any, any.base, now + wait);
      return true;
    }
    if (!box) return false;
    if (code === 'busy' || code === 'rate_limited' || code === 'bad_id' || code === 'unavailable') {
      // What is behind a refused one is refused for its gap: the first refusal covers all.
      if (box.pausedUntil <= now) this.#back(box, code === 'bad_id' ? box.base : id - 1, now + wait);
    } else if (id > box.base && id <= box.base + box.held.length) {
      // Not taken, and never will be: those behind it move up.
      const [entry] = box.held.splice(id - box.base - 1, 1);
      this.#bytes -= entry.bytes;
      this.#back(box, id - 1, 0);
      entry.reject(new ChappeError(code, message));
    }
    return true;
  }

  /** After a resume all that is held goes again, in order. */
  rewind() {
    for (const box of this.#boxes.values()) {
      box.pausedUntil = 0;
      this.#back(box, box.base, 0);
    }
  }

  /** The session is over: nothing here can arrive any more. */
  clear(error) {
    const boxes = [...this.#boxes.values()];
    this.#boxes.clear();
    this.#turn = [];
    this.#bytes = 0;
    for (const box of boxes) for (const entry of box.held.splice(0)) entry.reject(error);
  }

  #box(to) {
    let box = this.#boxes.get(to);
    if (!box) this.#boxes.set(to, (box = new Outbox(to)));
    return box;
  }

  #enqueue(box) {
    if (box.queued) return;
    box.queued = true;
    this.#turn.push(box);
  }

  #back(box, to, until) {
    box.sent = Math.min(box.sent, Math.max(to, box.base));
    box.pausedUntil = Math.max(box.pausedUntil, until);
    if (box.waiting > 0) this.#enqueue(box);
  }

  #settle(to, id, settle) {
    const box = this.#boxes.get(to);
    if (!box) return;
    const done = box.held.splice(0, Math.max(0, id - box.base));
    box.base += done.length;
    box.sent = Math.max(box.sent, box.base);
    for (const entry of done) {
      this.#bytes -= entry.bytes;
      settle(entry);
    }
  }
}

/** The last signal taken of each sender, and the acknowledgements that are due. */
export class Inbox {
  #marks = new Map();
  #left = new Set(); // senders who have left, the last one last
  #due = new Map();
  #told = new Map(); // the marks that went with the last resume

  /**
   * A signal has come; of those before it nothing up to `settled` will come any more.
   * @returns {boolean} Whether to take it. One that is higher than the next comes again, in order.
   */
  take(from, id, settled = 0) {
    const mark = Math.max(this.#marks.get(from) ?? 0, settled);
    if (id > mark + 1) return false;
    this.#marks.set(from, Math.max(mark, id));
    this.#due.set(from, this.#marks.get(from));
    return id === mark + 1;
  }

  /** How many senders wait for an acknowledgement. */
  get due() {
    return this.#due.size;
  }

  /** The next acknowledgement's text, or null. */
  nextAck() {
    for (const [from, id] of this.#due) {
      this.#due.delete(from);
      return JSON.stringify({ type: 'ack', from, id });
    }
    return null;
  }

  /** `{sender: last id}`, for a resume: of as many as may be told, first of those who are here. */
  marks() {
    const here = [...this.#marks].filter(([from]) => !this.#left.has(from));
    const left = [...this.#marks].filter(([from]) => this.#left.has(from));
    this.#told = new Map([...here, ...left].slice(0, MARKS_MAX));
    return Object.fromEntries(this.#told);
  }

  /** What was taken over an older socket since those were told is acknowledged over the newer one. */
  catchUp() {
    for (const [from, id] of this.#marks) if (this.#told.get(from) !== id) this.#due.set(from, id);
  }

  /** That sender is here. */
  keep(from) {
    this.#left.delete(from);
  }

  /** That sender has left: a repetition may be on its way, and even who was called gone may be back. */
  left(from) {
    if (!this.#marks.has(from)) return;
    this.#left.delete(from);
    this.#left.add(from);
    if (this.#left.size <= LEFT_MAX) return;
    const [first] = this.#left;
    this.#left.delete(first);
    this.#marks.delete(first);
    this.#due.delete(first);
  }

  clear() {
    this.#marks.clear();
    this.#left.clear();
    this.#due.clear();
  }
}

/** Lets `burst` frames pass at once and `perSec` for long, kept a tenth below what the server allows. */
export class Bucket {
  #fullAt = 0;

  constructor(perSec, burst) {
    this.step = 1000 / (perSec * 0.9);
    this.depth = this.step * Math.max(1, burst * 0.9);
  }

  /** How long until one may pass, in milliseconds; 0: it may. */
  wait(now) {
    return Math.max(0, Math.max(this.#fullAt, now) + this.step - now - this.depth);
  }

  /** One passes. */
  take(now) {
    this.#fullAt = Math.max(this.#fullAt, now) + this.step;
  }
}
