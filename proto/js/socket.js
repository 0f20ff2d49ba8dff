// Which node, and when: addresses, the wait before another attempt, and the first to open of several.

/** Waits before each attempt to come back, in milliseconds (PROTOCOL.md section 8). */
export const BACKOFF_MS = [0, 300, 1200, 2700, 4800, 7000];
/** From the third attempt on up to this is added, so that a crowd does not return at once. */
export const JITTER_MS = 1000;
/** The next address is tried beside the last one when that has not opened within this. */
export const STAGGER_MS = 500;
/** The same where nothing says yet which one is near: a handshake over TLS takes three round trips, so one that is
 * 35 ms nearer than the one before it wins. */
export const RACE_MS = 100;

/** How long to wait before the attempt of that number, counted from 0. */
export function backoff(attempt, random) {
  const wait = BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)];
  return attempt < 2 ? wait : wait + random() * JITTER_MS;
}

/**
 * A node's address as its WebSocket's: http becomes ws, and no path becomes `/v1/signal`.
 * @param {string} url
 * @param {string} [base] The page's address, for a relative one.
 */
export function signalUrl(url, base) {
  const parsed = new URL(url, base);
  parsed.protocol = { 'http:': 'ws:', 'https:': 'wss:' }[parsed.protocol] ?? parsed.protocol;
  if (parsed.pathname === '/') parsed.pathname = '/v1/signal';
  parsed.search = parsed.hash = '';
  return parsed.href;
}

/**
 * Opens a socket to the first of several addresses that answers; the later ones are tried when the
 * earlier ones fail or are slow, and the losers are closed.
 * `stagger` is how long each has before the next one is tried too, `within` how long it may take, in milliseconds; `onDead(url)` is told of each that did not open.
 * @returns {{cancel(): void}}
 */
export function openFirst(urls, { WebSocket, clock, within, stagger = STAGGER_MS, onOpen, onDead, onFail }) {
  const opening = new Set();
  let next = 0;
  let timer;
  let over = false;

  const finish = () => {
    over = true;
    clock.clearTimeout(timer);
    for (const attempt of opening) attempt.discard();
    opening.clear();
  };

  const start = () => {
    clock.clearTimeout(timer);
    const url = urls[next++];
    let socket;
    try {
      socket = new WebSocket(url);
    } catch {
      return failed(url);
    }
    const attempt = {
      deadline: clock.setTimeout(() => fail(), within),
      discard() {
        clock.clearTimeout(attempt.deadline);
        socket.onopen = socket.onclose = socket.onerror = null;
        socket.close();
      },
    };
    const fail = () => {
      attempt.discard();
      opening.delete(attempt);
      failed(url);
    };
    opening.add(attempt);
    socket.onclose = fail;
    socket.onerror = () => {};
    socket.onopen = () => {
      clock.clearTimeout(attempt.deadline);
      socket.onopen = socket.onclose = socket.onerror = null;
      opening.delete(attempt);
      finish();
      onOpen(socket, url);
    };
    if (next < urls.length) timer = clock.setTimeout(start, stagger);
  };

  const failed = (url) => {
    if (over) return;
    onDead(url);
    if (next < urls.length) start();
    else if (opening.size === 0) {
      finish();
      onFail();
    }
  };

  start();
  return { cancel: finish };
}
