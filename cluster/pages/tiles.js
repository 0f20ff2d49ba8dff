// The tiles of a call: who is seen where, and what is written on each.

/** Space between tiles, in pixels. */
const GAP = 10;
/** A tile may be as wide as 16:9 and as tall as 3:4; within that it fills its place. */
const WIDEST = 16 / 9;
const TALLEST = 3 / 4;

/** The columns and rows in which `n` tiles are largest in `width` by `height`. */
export function arrange(n, width, height) {
  let best = { area: -1 };
  for (let columns = 1; columns <= n; columns++) {
    const rows = Math.ceil(n / columns);
    let w = (width - GAP * (columns - 1)) / columns;
    let h = (height - GAP * (rows - 1)) / rows;
    if (w <= 0 || h <= 0) continue;
    w = Math.min(w, h * WIDEST);
    h = Math.min(h, w / TALLEST);
    // An empty place in the last row costs a little, so that four are two by two.
    const area = w * h * (1 - 0.04 * (columns * rows - n));
    if (area > best.area) best = { area, columns, rows, w, h };
  }
  return best;
}

/** Where each of `n` tiles goes; the last row is centred. */
export function places(n, width, height) {
  const { columns, rows, w, h } = arrange(n, width, height);
  return Array.from({ length: n }, (_, i) => {
    const row = Math.floor(i / columns);
    const inRow = row === rows - 1 ? n - columns * row : columns;
    const left = (width - inRow * w - (inRow - 1) * GAP) / 2;
    const top = (height - rows * h - (rows - 1) * GAP) / 2;
    return { x: left + (i - row * columns) * (w + GAP), y: top + row * (h + GAP), w, h };
  });
}

/** All tiles, laid out anew whenever one comes or goes or the window changes. */
export class Tiles {
  #grid;
  #template;
  #tiles = new Map();

  constructor(grid, template) {
    this.#grid = grid;
    this.#template = template;
    new ResizeObserver(() => this.layout()).observe(grid);
  }

  get all() {
    return [...this.#tiles.values()];
  }

  /** The tile of that key, made if need be. */
  of(key, options) {
    let tile = this.#tiles.get(key);
    if (!tile) {
      tile = new Tile(this.#template.content.firstElementChild.cloneNode(true), options);
      this.#tiles.set(key, tile);
      this.#grid.append(tile.element);
      this.layout();
    }
    return tile;
  }

  has(key) {
    return this.#tiles.has(key);
  }

  remove(key) {
    const tile = this.#tiles.get(key);
    if (!tile) return;
    this.#tiles.delete(key);
    tile.show(null);
    tile.element.remove();
    this.layout();
  }

  clear() {
    for (const key of [...this.#tiles.keys()]) this.remove(key);
  }

  layout() {
    const { clientWidth: width, clientHeight: height } = this.#grid;
    if (width === 0 || height === 0) return;
    const screens = this.all.filter((tile) => tile.isScreen);
    const own = this.all.find((tile) => tile.isOwn && !tile.isScreen);
    const others = this.all.filter((tile) => !tile.isScreen && tile !== own);
    const people = own ? [...others, own] : others; // oneself last
    for (const tile of this.all) tile.element.classList.remove('small');
    if (screens.length > 0) this.#staged(screens, people, width, height);
    else if (others.length === 1 && own) this.#couple(others[0], own, width, height);
    else this.#place(people, { x: 0, y: 0, width, height });
  }

  /** The other one fills the place, oneself is in the corner. */
  #couple(other, own, width, height) {
    this.#place([other], { x: 0, y: 0, width, height }, true);
    const w = Math.max(96, Math.min(260, width * 0.24));
    const h = width < height ? (w * 4) / 3 : w / WIDEST;
    own.place({ x: width - w - 12, y: height - h - 12, w, h });
    own.element.classList.add('small');
  }

  /** Screens take the room, people a strip beside or below it. */
  #staged(screens, people, width, height) {
    const beside = width > height;
    const strip = beside ? Math.min(280, width * 0.22) : Math.min(160, height * 0.24);
    const area = beside ? { x: 0, y: 0, width: width - strip - GAP, height } : { x: 0, y: 0, width, height: height - strip - GAP };
    this.#place(screens, area, true);
    this.#place(people, beside ? { x: width - strip, y: 0, width: strip, height } : { x: 0, y: height - strip, width, height: strip });
  }

  #place(tiles, { x, y, width, height }, fill = false) {
    const all = fill && tiles.length === 1 ? [{ x: 0, y: 0, w: width, h: height }] : places(tiles.length, width, height);
    for (const [i, tile] of tiles.entries()) tile.place({ ...all[i], x: all[i].x + x, y: all[i].y + y });
  }
}

/** One person's camera, or one shared screen. */
export class Tile {
  constructor(element, { own = false, screen = false } = {}) {
    this.element = element;
    this.isOwn = own;
    this.isScreen = screen;
    this.video = element.querySelector('video');
    // One does not hear oneself; attributes alone do not mute a video made by a script.
    this.video.muted = own || screen;
    element.classList.toggle('whole', screen);
    this.hasPicture(screen);
  }

  /** @returns {Promise<boolean>} Whether it plays: a browser may want a gesture before it lets sound out. */
  async show(stream) {
    if (this.video.srcObject === stream) return true;
    this.video.srcObject = stream;
    return this.play();
  }

  async play() {
    if (!this.video.srcObject) return true;
    try {
      await this.video.play();
      return true;
    } catch (error) {
      return error.name !== 'NotAllowedError';
    }
  }

  place({ x, y, w, h }) {
    for (const [name, value] of Object.entries({ x, y, w, h })) this.element.style.setProperty(`--${name}`, `${Math.round(value)}px`);
  }

  hasPicture(yes) {
    this.element.classList.toggle('no-picture', !yes);
  }

  mirrored(yes) {
    this.video.classList.toggle('mirrored', yes);
  }

  muted(yes) {
    this.element.querySelector('.muted').hidden = !yes;
  }

  named(name, { note = '' } = {}) {
    this.element.querySelector('.who').textContent = name;
    this.element.querySelector('.state').textContent = note;
    const avatar = this.element.querySelector('.avatar');
    avatar.dataset.letters = initials(name);
    avatar.style.setProperty('--hue', `${hue(name)}deg`);
    this.element.setAttribute('aria-label', note ? `${name}, ${note}` : name);
  }

  /** The way that sound and picture take. */
  path(path, words) {
    const chip = this.element.querySelector('.path');
    chip.hidden = !path;
    if (!path) return;
    setIcon(chip, path.kind);
    chip.querySelector('span').textContent = words;
    chip.title = words;
  }

  quality(quality, words) {
    const bars = this.element.querySelector('.bars');
    bars.hidden = !quality;
    if (!quality) return;
    bars.dataset.level = quality.level;
    bars.setAttribute('aria-label', words);
    bars.title = words;
  }
}

/** Shows another icon. Set only where it changes: each setting is a request, and a server may be away. */
export function setIcon(element, name) {
  const use = element.querySelector('use');
  const href = `/assets/icons.svg#${name}`;
  if (use.getAttribute('href') !== href) use.setAttribute('href', href);
}

function initials(name) {
  const words = name.trim().split(/\s+/);
  return [...new Set([words[0], words.at(-1)])].map((word) => [...word][0] ?? '').join('').toUpperCase();
}

function hue(text) {
  let sum = 0;
  for (const char of text) sum = (sum * 31 + char.codePointAt(0)) % 360;
  return sum;
}
