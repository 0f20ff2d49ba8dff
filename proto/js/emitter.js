// Events and errors: what every other file stands on.

/** An error with a code that programs can tell apart. */
export class ChappeError extends Error {
  /**
   * @param {string} code One of PROTOCOL.md section 8, or of `ErrorCode` in chappe.d.ts.
   * @param {string} [message] For the developer who reads it.
   */
  constructor(code, message) {
    super(message ? `${code}: ${message}` : code);
    this.name = 'ChappeError';
    this.code = code;
  }
}

/** `on`, `once`, `off` and `emit`. A listener that throws disturbs nobody else. */
export class Emitter {
  #listeners = new Map();

  /** Calls `listener` for each event of that type. */
  on(type, listener) {
    let list = this.#listeners.get(type);
    if (!list) this.#listeners.set(type, (list = []));
    list.push({ listener, once: false });
    return this;
  }

  /** Calls `listener` for the next event of that type. */
  once(type, listener) {
    this.on(type, listener);
    this.#listeners.get(type).at(-1).once = true;
    return this;
  }

  /** Stops calling `listener`, or with none everybody who listens to that type. */
  off(type, listener) {
    if (!listener) this.#listeners.delete(type);
    const list = this.#listeners.get(type);
    if (list) this.#listeners.set(type, list.filter((entry) => entry.listener !== listener));
    return this;
  }

  /** Tells the listeners, in the order in which they came. */
  emit(type, ...args) {
    for (const entry of this.#listeners.get(type) ?? []) {
      if (entry.once) this.off(type, entry.listener);
      try {
        entry.listener(...args);
      } catch (error) {
        report(error);
      }
    }
  }
}

function report(error) {
  if (globalThis.reportError) globalThis.reportError(error);
  else queueMicrotask(() => { throw error; });
}
