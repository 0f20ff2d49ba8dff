// The signaling inspector: lines of the API's events, the newest on top.

import { cell, listen, say, tail, when } from './tail.js';

const form = document.getElementById('which');
const lines = tail(document.getElementById('passed'), draw);
let source;

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

function draw(line) {
  const row = document.createElement('tr');
  row.id = `n-${line.n}`;
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
  row.append(when(line.at), what, peer(line.from, 'From'), peer(line.to, 'To'), size, inside);
  return row;
}

function begin() {
  source?.close();
  const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ''));
  document.getElementById('export').href = `${form.dataset.room.replace(/events$/, 'export')}?${asked}`;
  source = listen(`${form.dataset.room}?${asked}`, {
    signal: lines.take,
    watching: () => say('Watching: what passes from now on is shown.', 'good'),
    absent: () => say('Nobody is in the room. It is watched as soon as somebody comes.'),
    gap: ({ missed, anew }) => say(anew ? 'The room moved, or nobody watched for a while: what passed meanwhile is not known.' : `${missed} lines passed faster than they could be kept.`, 'warn'),
    fault: ({ detail }) => say(detail ?? 'It cannot be asked right now.', 'warn'),
  });
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  lines.clear();
  begin();
});
form.elements.peer.value = new URLSearchParams(location.search).get('peer') ?? '';
begin();
