// Keeps `#live` as the server renders it, by server-sent events of the page's own address. What does not change
// stays the same element, so that focus, selection and what is open outlive it.

import { renew } from './times.js';

const live = document.getElementById('live');
const stale = document.getElementById('stale');
let source;
let opened = false; // what was never alive is not old

/** Makes `to`'s children into those of `from`. */
export function morph(to, from) {
  const keyed = new Map([...to.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = to.firstChild;
  for (const wanted of [...from.childNodes]) {
    let have = at;
    if (wanted.nodeType === Node.ELEMENT_NODE && wanted.id && have?.id !== wanted.id && keyed.has(wanted.id)) {
      have = keyed.get(wanted.id);
      to.insertBefore(have, at);
    } else if (!have || have.nodeType !== wanted.nodeType || have.nodeName !== wanted.nodeName || (have.id ?? '') !== (wanted.id ?? '')) {
      to.insertBefore(wanted, at);
      continue;
    }
    if (have.nodeType === Node.TEXT_NODE) {
      if (have.data !== wanted.data) have.data = wanted.data;
    } else if (have.nodeType === Node.ELEMENT_NODE) {
      attributes(have, wanted);
      if (!have.hasAttribute('data-keep')) morph(have, wanted);
    }
    at = have.nextSibling;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function attributes(to, from) {
  for (const { name, value } of from.attributes) {
    if (to.getAttribute(name) !== value) to.setAttribute(name, value);
  }
  for (const { name } of [...to.attributes]) {
    // What the reader has opened stays open.
    if (!from.hasAttribute(name) && !(name === 'open' && to.matches('details, dialog'))) to.removeAttribute(name);
  }
}

function begin() {
  if (!live || source || document.hidden) return;
  source = new EventSource(location.pathname + location.search);
  source.addEventListener('live', ({ data }) => {
    opened = true;
    stale.hidden = true;
    const fresh = new DOMParser().parseFromString(data, 'text/html').body;
    if (document.activeElement?.matches('#live form:not(.filters) :is(input, select, textarea)')) return; // somebody is writing
    morph(live, fresh);
    renew();
  });
  source.addEventListener('gone', () => location.reload());
  source.onerror = () => {
    stale.hidden = !opened;
    if (source.readyState !== EventSource.CLOSED) return;
    end();
    // Closed at once: the node is away, or the login has ended.
    fetch('/admin/api/v1/me').then((answer) => {
      if (answer.status === 401) location.reload();
      else setTimeout(begin, 5_000);
    }, () => setTimeout(begin, 5_000));
  };
}

function end() {
  source?.close();
  source = undefined;
}

document.addEventListener('visibilitychange', () => (document.hidden ? end() : begin()));
document.addEventListener('changed', () => {
  end();
  begin();
});
begin();
