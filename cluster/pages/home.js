// The home page: choose or make a room.

import { isRoomName, newRoomName, recentRooms } from './names.js';

const $ = (id) => document.getElementById(id);
const input = $('room');

input.value = newRoomName();
$('another').addEventListener('click', () => {
  input.value = newRoomName();
  $('problem').hidden = true;
  input.focus();
});

$('form').addEventListener('submit', (event) => {
  event.preventDefault();
  // An address that was pasted whole names its room too.
  const text = input.value.trim();
  const name = (/\/r\/([^/?#]+)/.exec(text)?.[1] ?? text).replace(/\s+/g, '-');
  const ok = isRoomName(name);
  $('problem').hidden = ok;
  input.setAttribute('aria-invalid', String(!ok));
  if (ok) location.href = `/r/${encodeURIComponent(name)}`;
  else input.focus();
});

const recent = recentRooms();
$('recent').hidden = recent.length === 0;
for (const name of recent) {
  const link = Object.assign(document.createElement('a'), { className: 'button', href: `/r/${encodeURIComponent(name)}`, textContent: name });
  const item = document.createElement('li');
  item.append(link);
  $('rooms').append(item);
}
