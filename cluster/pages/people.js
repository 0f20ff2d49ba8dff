// The list of who is here.

import { myName, own } from './lobby.js';
import { setIcon } from './tiles.js';
import { nameOf, noteOf, pathWords, qualityWords } from './words.js';

const $ = (id) => document.getElementById(id);

/** The list, changed where it has changed, so that a reader of it is not disturbed. */
export function people(room) {
  const count = room.peers.size + 1;
  $('people-toggle').querySelector('span').textContent = `People ${count}`;
  $('people-title').textContent = count === 1 ? 'Only you are here' : `${count} in this room`;
  if ($('people').hidden) return;
  const server = room.signalingRttMs === undefined ? '' : `server: ${Math.round(room.signalingRttMs)} ms`;
  const all = [['me', `${myName()} (you)`, !own.isHeard, server], ...[...room.peers.values()].map((peer) => {
    const about = [noteOf(peer), pathWords(peer.path), qualityWords(peer.quality).replace('Connection: ', '')];
    return [peer.id, nameOf(peer), peer.metadata?.audio === false, about.filter(Boolean).join(' · ')];
  })];
  const list = $('people-list');
  const rows = new Map([...list.children].map((li) => [li.dataset.id, li]));
  for (const [id, name, muted, about] of all) {
    const li = rows.get(id) ?? list.appendChild($('person').content.firstElementChild.cloneNode(true));
    rows.delete(id);
    li.dataset.id = id;
    li.querySelector('span').textContent = name;
    li.querySelector('small').textContent = about;
    li.querySelector('svg').setAttribute('aria-label', muted ? 'muted' : 'can be heard');
    setIcon(li, muted ? 'mic-off' : 'mic');
  }
  for (const li of rows.values()) li.remove();
}
