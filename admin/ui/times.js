// Times in words, the exact one on hover, in the reader's own zone.

const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { weekday: 'short', hour: '2-digit', minute: '2-digit' });
const STEPS = [
  [60, 1, 'second'],
  [3600, 60, 'minute'],
  [86400, 3600, 'hour'],
  [86400 * 30, 86400, 'day'],
  [86400 * 365, 86400 * 30, 'month'],
  [Infinity, 86400 * 365, 'year'],
];

/** Writes every `<time data-ago>` anew, and the times beside plots. */
export function renew() {
  for (const time of document.querySelectorAll('time[data-ago]')) {
    const at = new Date(time.dateTime);
    const seconds = (at - Date.now()) / 1000;
    const [, unit, name] = STEPS.find(([below]) => Math.abs(seconds) < below);
    const text = Math.abs(seconds) < 5 ? 'just now' : words.format(Math.round(seconds / unit), name);
    if (time.textContent !== text) time.textContent = text;
    time.title = exact.format(at);
  }
  for (const label of document.querySelectorAll('.plot text')) {
    const { clock: short, day: long } = label.dataset;
    const text = short ? clock.format(new Date(short)) : long ? day.format(new Date(long)) : label.textContent;
    if (label.textContent !== text) label.textContent = text;
  }
}

renew();
setInterval(renew, 10_000);
