// The signaling inspector: lines of the API's events, the newest on top.

const form = document.getElementById('which');
const state = document.getElementById('state');
const rows = document.getElementById('passed');
const none = document.getElementById('none');
const pause = document.getElementById('pause');
const SHOWN = 500;

let source;
let held = []; // while paused

const cell = (kind, label, text) => {
  const made = document.createElement(kind);
  if (label) made.dataset.label = label;
  made.textContent = text ?? '';
  return made;
};

/** The end of an id tells peers apart, and leaves room for the rest. */
function peer(id, label) {
  const made = cell('td', label, '');
  if (!id) return made;
  const code = document.createElement('code');
  code.textContent = id.slice(-6);
  code.title = id;
  made.append(code);
  return made;
}

function show(line) {
  const row = document.createElement('tr');
  row.id = `n-${line.n}`;
  const at = new Date(line.at);
  const when = cell('td', 'When', at.toLocaleTimeString(undefined, { hour12: false }) + '.' + String(at.getMilliseconds()).padStart(3, '0'));
  when.title = at.toLocaleString();
  const what = cell('th', '', line.kind ?? line.what);
  what.scope = 'row';
  if (line.fate && line.fate !== 'relayed') {
    const badge = document.createElement('span');
    badge.className = `badge ${line.fate === 'undelivered' ? 'bad' : 'warn'}`;
    badge.textContent = line.fate;
    what.append(' ', badge);
  }
  const size = cell('td', 'Bytes', line.size ?? '');
  size.className = 'num';
  const inside = cell('td', 'In it', '');
  const rest = Object.fromEntries(Object.entries(line).filter(([key]) => !['n', 'at', 'what', 'kind', 'from', 'to', 'size', 'fate'].includes(key)));
  if (Object.keys(rest).length > 0) {
    const details = document.createElement('details');
    const summary = document.createElement('summary');
    summary.textContent = Object.keys(rest).join(', ');
    const code = document.createElement('code');
    code.className = 'block';
    code.textContent = JSON.stringify(rest, null, 2);
    details.append(summary, code);
    inside.append(details);
  }
  row.append(when, what, peer(line.from, 'From'), peer(line.to, 'To'), size, inside);
  document.getElementById(row.id)?.remove();
  rows.prepend(row);
  while (rows.children.length > SHOWN) rows.lastElementChild.remove();
  none.hidden = true;
}

function say(words, kind = '') {
  state.textContent = words;
  state.className = `notice ${kind}`;
}

function take(line) {
  if (pause.getAttribute('aria-pressed') !== 'true') return show(line);
  held.push(line);
  held = held.slice(-SHOWN);
  pause.textContent = `Go on (${held.length})`;
}

function begin() {
  source?.close();
  const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ''));
  source = new EventSource(`${form.dataset.room}?${asked}`);
  document.getElementById('export').href = `${form.dataset.room.replace(/events$/, 'export')}?${asked}`;
  say('Connecting…');
  const on = (name, then) => source.addEventListener(name, ({ data }) => then(data ? JSON.parse(data) : {}));
  on('signal', take);
  on('watching', () => say('Watching: what passes from now on is shown.', 'good'));
  on('absent', () => say('Nobody is in the room. It is watched as soon as somebody comes.'));
  on('gap', ({ missed, anew }) => say(anew ? 'The room moved, or nobody watched for a while: what passed meanwhile is not known.' : `${missed} lines passed faster than they could be kept.`, 'warn'));
  on('fault', ({ detail }) => say(detail ?? 'It cannot be asked right now.', 'warn'));
  source.onerror = () => source.readyState === EventSource.CLOSED && say('This was refused: look at the filter, or log in again.', 'bad');
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  rows.replaceChildren();
  held = [];
  none.hidden = false;
  begin();
});
pause.addEventListener('click', () => {
  const paused = pause.getAttribute('aria-pressed') === 'true';
  pause.setAttribute('aria-pressed', String(!paused));
  pause.textContent = paused ? 'Pause' : 'Go on';
  if (paused) held.splice(0).forEach(show);
});
form.elements.peer.value = new URLSearchParams(location.search).get('peer') ?? '';
addEventListener('pagehide', () => source?.close());
begin();
