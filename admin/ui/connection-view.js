// Rows of a connection test.

import { WAYS, millis, rate, stateWord } from './connection-words.js';

const BADGES = { good: 'good', bad: 'bad', running: 'info' };

/** An element with text and attributes. */
function element(name, text = '', attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** A cell whose label is shown where the table is narrow. */
const cell = (label, text, kind) => element('td', text, { 'data-label': label, ...(kind && { class: kind }) });

/** A figure, or that there is none: such a line is left out where the table is narrow. */
function figure(place, value, words) {
  place.textContent = words(value);
  place.classList.toggle('absent', value === undefined);
}

/** Adds the rows of a test; `show` brings them up to what is known of it. */
export function row(body, result) {
  const line = element('tr', '', { 'data-way': result.way, 'data-name': result.name });
  const where = element('th', '', { scope: 'row' });
  where.append(element('a', result.title, { href: result.href }), ' ', element('small', result.region, { class: 'soft' }));
  const way = cell('Way', '');
  const said = element('span');
  said.append(WAYS[result.way], element('br'), element('code', result.url, { class: 'soft url' }));
  way.append(said);
  const [state, first, trip, through] = [cell('Result', ''), cell('First answer', '', 'num'), cell('Round trip', '', 'num'), cell('Throughput', '', 'num')];
  const badge = element('span');
  state.append(badge);
  line.append(where, way, state, first, trip, through);
  const told = element('tr', '', { class: 'told', hidden: '' });
  const words = element('td', '', { colspan: '6' });
  told.append(words);
  body.append(line, told);
  result.show = () => {
    badge.className = `badge ${BADGES[result.state] ?? ''}`;
    badge.textContent = stateWord(result);
    line.dataset.state = result.state;
    figure(first, result.firstMs, millis);
    figure(trip, result.rttMs, millis);
    figure(through, result.mbps, rate);
    told.hidden = !result.told;
    if (!result.told) return;
    const text = element('p');
    text.append(element('span', result.told.why, { class: 'soft' }), ' ', result.told.fix);
    words.replaceChildren(text);
  };
  result.show();
}

/** The candidates, each once. */
export function candidates(body, count, all) {
  const seen = new Map(all.map((one) => [`${one.type} ${one.protocol} ${one.address} ${one.url}`, one]));
  count.textContent = String(seen.size);
  const line = ({ type, protocol, address, priority, relayProtocol, url }) => {
    const made = element('tr');
    const at = cell('Address', '');
    at.append(element('code', address));
    const by = cell('URL', '');
    by.append(element('code', url || '–'));
    made.append(cell('Type', type), cell('Protocol', protocol), at, cell('Priority', String(priority), 'num'), cell('To the relay', relayProtocol || '–'), by);
    return made;
  };
  body.replaceChildren(...[...seen.values()].map(line));
}
