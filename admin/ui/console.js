// What every page of the console does: forms that call the API, live fragments, search, the menu.

import './times.js';
import './live.js';
import './search.js';
import { call, tell } from './api.js';

const $ = (selector, root = document) => root.querySelector(selector);

// ---------------------------------------------------------------- forms: `data-api="METHOD /path"`

/** Whether somebody has changed a field since the page came. */
function changed(field) {
  if (field.type === 'hidden') return true;
  if (field.type === 'checkbox' || field.type === 'radio') return field.checked !== field.defaultChecked;
  if (field.options) return [...field.options].some((option) => option.selected !== option.defaultSelected);
  return field.value !== field.defaultValue;
}

/** The value of a field that holds JSON. */
function parsed(field, text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Not JSON: ${error.message}`, { cause: field.name });
  }
}

/** The form as a JSON object: `data-type` of a field says what it is, an empty one is left out unless
 * `data-empty`, and is null by `data-empty="null"`; a field with `data-whole` is all of it. Of a `part` only what was
 * changed is told. */
function body(form, part) {
  const whole = [...form.elements].find((field) => field.dataset.whole !== undefined);
  if (whole) return parsed(whole, whole.value);
  const out = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled || (field.type === 'radio' && !field.checked)) continue;
    if (part && !changed(field)) continue;
    const kind = field.dataset.type ?? (field.type === 'checkbox' ? 'bool' : field.type === 'number' ? 'number' : 'text');
    const text = field.value.trim();
    let value;
    if (kind === 'bool') value = field.checked;
    else if (text === '' && field.dataset.empty === undefined) continue;
    else if (text === '' && field.dataset.empty === 'null') value = null;
    else if (kind === 'number') value = Number(text);
    else if (kind === 'seconds') value = Math.round(Number(text) * 1000);
    else if (kind === 'lines') value = text.split('\n').map((line) => line.trim()).filter(Boolean);
    else if (kind === 'list') value = text.split(/[\s,]+/).filter(Boolean);
    else if (kind === 'pairs') value = pairs(text);
    else if (kind === 'json') value = text === '' ? null : parsed(field, text);
    else if (kind === 'time') value = new Date(text).getTime();
    else value = field.value;
    const path = field.name.split('.');
    const last = path.pop();
    path.reduce((at, key) => (at[key] ??= {}), out)[last] = value;
  }
  return out;
}

/** Lines of a name and what it is each: `eu 0.02`. */
function pairs(text) {
  const lines = text.split('\n').map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(lines.map((line) => [line.split(/\s+/)[0], line.replace(/^\S+\s*/, '')]));
}

function complain(form, problem) {
  const field = problem.field && form.elements[problem.field];
  let place = $('.problem', form);
  if (!place) {
    place = document.createElement('p');
    place.className = 'problem';
    place.setAttribute('role', 'alert');
    // Before the buttons of the form, which are its last: what was made has some of its own.
    ([...form.querySelectorAll('.actions')].pop() ?? form.lastElementChild ?? form).before(place);
  }
  place.textContent = problem.detail ?? problem.title ?? 'That did not work.';
  if (field && field.setAttribute) {
    field.setAttribute('aria-invalid', 'true');
    field.focus();
  }
}

/** Nothing is wrong with it any more. */
function settle(form) {
  for (const field of form.querySelectorAll('[aria-invalid]')) field.removeAttribute('aria-invalid');
  $('.problem', form)?.remove();
}

async function submit(form, submitter) {
  const [method, path] = (submitter?.dataset.api ?? form.dataset.api).split(' ');
  const ask = submitter?.dataset.confirm ?? form.dataset.confirm;
  if (ask && !(await confirmed(ask, submitter?.textContent.trim() || 'Go on'))) return;
  settle(form);
  const button = submitter ?? $('button', form);
  button?.setAttribute('aria-busy', 'true');
  let sent;
  try {
    sent = form.elements.length > 1 || form.dataset.body !== undefined ? body(form, method === 'PATCH') : undefined;
  } catch (error) {
    button?.removeAttribute('aria-busy');
    return complain(form, { field: error.cause, detail: error.message });
  }
  // `{name}` in the path is a field of the form.
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => {
    const value = sent?.[name] ?? '';
    if (sent) delete sent[name];
    return encodeURIComponent(value);
  });
  const { ok, answer } = await call(method, filled, sent);
  button?.removeAttribute('aria-busy');
  if (!ok) {
    if (form.closest('dialog') || form.elements.length > 1) complain(form, answer);
    else tell(answer.detail ?? 'That did not work.', true);
    return;
  }
  form.dispatchEvent(new CustomEvent('done', { bubbles: true, detail: answer }));
  const place = submitter?.dataset.show ?? form.dataset.show;
  const shown = place && document.getElementById(place);
  if (shown) return show(shown, answer);
  form.closest('dialog')?.close();
  tell(form.dataset.done ?? 'Done.');
  const then = submitter?.dataset.then ?? form.dataset.then;
  if (then) location.assign(then.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(answer?.[name] ?? '')));
  else document.dispatchEvent(new Event('changed'));
}

/** Fills what was made, once, into a place that waits for it: `data-fill="field"`, a drawing by `data-svg`. */
function show(place, answer) {
  for (const slot of place.querySelectorAll('[data-fill]')) {
    const value = slot.dataset.fill.split('.').reduce((at, key) => at?.[key], answer);
    const text = typeof value === 'object' ? JSON.stringify(value, null, 2) : (value ?? '');
    slot.textContent = slot.dataset.origin === undefined ? text : location.origin + text;
  }
  for (const slot of place.querySelectorAll('[data-svg]')) {
    const drawn = answer[slot.dataset.svg];
    slot.hidden = !drawn;
    if (drawn) slot.replaceChildren(new DOMParser().parseFromString(drawn, 'image/svg+xml').documentElement);
  }
  place.hidden = false;
  place.scrollIntoView({ block: 'nearest' });
  place.querySelector('button, code')?.focus();
  document.dispatchEvent(new Event('changed'));
}

/** Asks before something that cannot be taken back. */
function confirmed(words, act) {
  const dialog = document.createElement('dialog');
  const text = document.createElement('p');
  text.textContent = words;
  const actions = document.createElement('div');
  actions.className = 'actions';
  const button = (label, value, kind) => {
    const made = document.createElement('button');
    Object.assign(made, { className: `button ${kind}`, value, textContent: label });
    actions.append(made);
  };
  button('Cancel', '', '');
  button(act, 'yes', 'danger');
  const form = document.createElement('form');
  form.method = 'dialog';
  form.append(text, actions);
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      resolve(dialog.returnValue === 'yes');
      dialog.remove();
    });
  });
}

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (form.dataset.api === undefined && event.submitter?.dataset.api === undefined) return;
  event.preventDefault();
  submit(form, event.submitter);
});

// ---------------------------------------------------------------- buttons

document.addEventListener('click', async (event) => {
  const opener = event.target.closest('[data-open]');
  if (opener) return document.getElementById(opener.dataset.open)?.showModal();
  if (event.target.closest('[data-close]')) return event.target.closest('dialog')?.close();
  const copier = event.target.closest('[data-copy]');
  if (copier) {
    const from = document.getElementById(copier.dataset.copy);
    await navigator.clipboard.writeText(from.value ?? from.textContent);
    return tell('Copied.');
  }
  const menu = event.target.closest('[data-menu]');
  const side = $('#side');
  const open = Boolean(menu) && !side.classList.contains('open');
  if (menu || !event.target.closest('#side')) {
    side?.classList.toggle('open', open);
    $('[data-menu]')?.setAttribute('aria-expanded', String(open));
  }
});

// What a dialog told once is gone when it is closed, and so is what was wrong.
document.addEventListener('close', ({ target: dialog }) => {
  for (const told of dialog.querySelectorAll('.secret')) {
    told.hidden = true;
    for (const slot of told.querySelectorAll('[data-fill], [data-svg]')) slot.replaceChildren();
  }
  for (const form of dialog.querySelectorAll('form')) settle(form);
}, true);

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') $('#side')?.classList.remove('open');
});

// A time in a field is told in the reader's own zone.
for (const field of document.querySelectorAll('input[data-at]')) {
  const at = new Date(field.dataset.at);
  at.setMinutes(at.getMinutes() - at.getTimezoneOffset());
  field.defaultValue = at.toISOString().slice(0, 19);
}

// A filter that is changed is asked for at once; its address can be shared.
document.addEventListener('change', (event) => {
  const form = event.target.closest('form.filters');
  if (form && !form.dataset.api) form.requestSubmit();
});
