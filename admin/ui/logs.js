// The log of a node or an edge: lines of the API's events.

import { cell, listen, say, tail, when } from './tail.js';

const form = document.getElementById('which');
const changed = document.getElementById('changed');
const louder = document.querySelector('#louder form');
const words = document.getElementById('changed-words');
const KINDS = { error: 'bad', warn: 'warn', info: 'info' };
const lines = tail(document.getElementById('lines'), draw);
let source;

function draw(line) {
  const row = document.createElement('tr');
  row.id = `n-${line.n}`;
  const level = cell('td', 'Level', '');
  const badge = document.createElement('span');
  badge.className = `badge ${KINDS[line.level] ?? ''}`;
  badge.textContent = line.level;
  level.append(badge);
  const part = cell('td', 'Part', '');
  const code = document.createElement('code');
  code.textContent = line.target;
  part.append(code);
  const text = cell('th', '', line.text);
  text.scope = 'row';
  text.className = 'line';
  row.append(when(line.at), level, part, text);
  return row;
}

function begin() {
  source?.close();
  lines.clear();
  changed.hidden = true;
  const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ''));
  asked.delete('of');
  const { value: path, selectedOptions: [{ text: who }] } = form.elements.of;
  const address = `/admin/api/v1/${path}/logs`;
  document.getElementById('export-text').href = `${address}/export?${asked}`;
  document.getElementById('export-json').href = `${address}/export?${new URLSearchParams([...asked, ['format', 'json']])}`;
  changed.dataset.api = `DELETE ${address}/level`;
  louder.dataset.api = `PUT ${address}/level`;
  source = listen(`${address}/stream?${asked}`, {
    line: lines.take,
    watching: () => say(`${who}: what it says from now on is shown too.`, 'good'),
    gap: ({ missed }) => say(`${missed} lines came faster than they could be kept.`, 'warn'),
    fault: ({ detail }) => say(detail ?? 'It cannot be asked right now.', 'warn'),
    level({ changed: now }) {
      changed.hidden = !now;
      if (now) words.textContent = `It logs ${now.level} until ${new Date(now.until).toLocaleTimeString()}.`;
    },
  });
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  begin();
});
form.elements.of.addEventListener('change', begin);
form.elements.level.addEventListener('change', begin);
begin();
