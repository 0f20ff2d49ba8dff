// Who waits to be let in: shown to those who may answer, with what to do. And one's own wait.

import { waitingWords } from './words.js';

const $ = (id) => document.getElementById(id);

/** The list, changed where it has changed. `say` tells a screen reader. */
export function knocks(room, say) {
  $('knocks').hidden = room.waiting.size === 0;
  $('knocks-title').textContent = room.waiting.size === 1 ? 'Somebody waits to be let in' : `${room.waiting.size} wait to be let in`;
  const rows = new Map([...$('knocks-list').children].map((li) => [li.dataset.id, li]));
  for (const knock of room.waiting.values()) {
    if (rows.delete(knock.id)) continue;
    const li = $('knocks-list').appendChild($('knock').content.firstElementChild.cloneNode(true));
    li.dataset.id = knock.id;
    const name = knock.name || knock.identity || 'Guest';
    li.querySelector('span').textContent = name;
    const [admit, deny] = li.querySelectorAll('button');
    for (const [button, act, word] of [[admit, () => room.admit(knock), 'Admit'], [deny, () => room.deny(knock), 'Deny']]) {
      button.setAttribute('aria-label', `${word} ${name}`);
      button.addEventListener('click', act);
    }
    say(`${name} waits to be let in`);
  }
  for (const li of rows.values()) li.remove();
}

/** One's own wait, or nothing with no position. */
export function waits(position) {
  const text = position ? waitingWords(position) : '';
  for (const id of ['lobby-waits', 'over-waits']) {
    $(id).hidden = !text;
    $(id).querySelector('span').textContent = text;
  }
}
