// Lines that come live, the newest on top: held back while paused, and no more of them than a page can bear.

const SHOWN = 500;

/** A cell of a table, with the label that it has where rows are stacked. */
export function cell(kind, label, text) {
  const made = document.createElement(kind);
  if (label) made.dataset.label = label;
  made.textContent = text ?? '';
  return made;
}

/** When something was, to the millisecond. */
export function when(at) {
  const time = new Date(at);
  const made = cell('td', 'When', `${time.toLocaleTimeString(undefined, { hour12: false })}.${String(time.getMilliseconds()).padStart(3, '0')}`);
  made.title = time.toLocaleString();
  return made;
}

/** Says how it stands. */
export function say(words, kind = '') {
  const state = document.getElementById('state');
  state.textContent = words;
  state.className = `notice ${kind}`;
}

/**
 * @param {HTMLElement} rows where lines go
 * @param {(line: any) => HTMLElement} draw makes a row, with an id
 */
export function tail(rows, draw) {
  const none = document.getElementById('none');
  const pause = document.getElementById('pause');
  const paused = () => pause.getAttribute('aria-pressed') === 'true';
  let held = [];
  const show = (line) => {
    const row = draw(line);
    document.getElementById(row.id)?.remove();
    rows.prepend(row);
    while (rows.children.length > SHOWN) rows.lastElementChild.remove();
    none.hidden = true;
  };
  pause.addEventListener('click', () => {
    const goes = paused();
    pause.setAttribute('aria-pressed', String(!goes));
    pause.textContent = goes ? 'Pause' : 'Go on';
    if (goes) held.splice(0).forEach(show);
  });
  return {
    take(line) {
      if (!paused()) return show(line);
      held.push(line);
      held = held.slice(-SHOWN);
      pause.textContent = `Go on (${held.length})`;
    },
    clear() {
      rows.replaceChildren();
      held = [];
      none.hidden = false;
    },
  };
}

/** Listens to a stream of events: what follows each, by its name. */
export function listen(address, then) {
  say('Connecting…');
  const source = new EventSource(address);
  for (const [name, heard] of Object.entries(then)) {
    source.addEventListener(name, ({ data }) => heard(data ? JSON.parse(data) : {}));
  }
  source.onerror = () => source.readyState === EventSource.CLOSED && say('This was refused: look at the filter, or log in again.', 'bad');
  addEventListener('pagehide', () => source.close());
  return source;
}
