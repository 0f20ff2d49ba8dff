// The call page: choose what to show, join, see and hear each other, leave.
// For tests: ?autojoin=1, ?name=, ?pattern=1 (no camera is asked for), ?policy=relay.

import { Room } from '/sdk/chappe.js';
import { choose, myName, openLobby, own, picked, showRoomName, special, stored } from './lobby.js';
import { NONE, PATTERN, screen as pickScreen, spread } from './media.js';
import { knocks, waits } from './knocks.js';
import { rememberRoom } from './names.js';
import { people } from './people.js';
import { Tiles, setIcon } from './tiles.js';
import { nameOf, noRelay, noteOf, operatorSays, pathWords, qualityWords, whyClosed, whyNot, withheldWords } from './words.js';

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
let roomName = named(location.pathname.replace(/^\/r\//, '').replace(/\/$/, ''));
const relayOnly = query.get('policy') === 'relay';
const tiles = new Tiles($('grid'), $('tile'));
let room = null;
let shared = null; // one's own screen
let moving = false; // on the way to another room
let hiddenIn = null; // the room that one left by leaving the page

// -------------------------------------------------------------------------------- before the call

/** One per tab, kept over a reload: so a reload takes its own place again. */
const identity = stored(sessionStorage, 'chappe-identity', () => `tab-${[...crypto.getRandomValues(new Uint8Array(10))].map((b) => b.toString(16).padStart(2, '0')).join('')}`);

/** A token that an app has put behind the address (`#token=`): used and taken out of sight. */
const token = (() => {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) history.replaceState(null, '', location.pathname + location.search);
  return given ?? undefined;
})();

$('join-form').addEventListener('submit', (event) => {
  event.preventDefault();
  join();
});

// -------------------------------------------------------------------------------- joining and leaving

async function join() {
  $('join').disabled = true;
  $('join').textContent = 'Joining…';
  $('join-problem').hidden = true;
  try {
    if (query.get('name') === null) localStorage.setItem('chappe-name', $('name').value.trim());
  } catch {
    // A browser that keeps nothing.
  }
  own.label(myName());
  room = new Room({
    room: roomName,
    name: myName(),
    metadata: mine(),
    identity,
    ...(token && { getToken: () => token }),
    ...(relayOnly && { iceTransportPolicy: 'relay' }),
  });
  globalThis.chappe = { room };
  room.publish(own.stream);
  wire();
  try {
    await room.join();
    rememberRoom(roomName);
    enter();
  } catch (error) {
    const { title, text } = whyClosed(error);
    $('join-problem').textContent = $('over-text').textContent = text;
    $('over-title').textContent = title;
    $('join-problem').hidden = false;
  }
  waits(0);
  $('join').disabled = false;
  $('join').textContent = 'Join';
}

/** What others should know of what one shows. */
function mine() {
  return { audio: own.isHeard, video: Boolean(own.video), screen: shared?.id ?? null };
}

function enter() {
  for (const id of ['lobby', 'over']) $(id).hidden = true;
  $('call').hidden = false;
  tiles.of('me', { own: true });
  showMine();
  for (const peer of room.peers.values()) showPeer(peer);
  knocks(room, say);
  tiles.layout();
  $('room-name').focus({ preventScroll: true });
}

function over(reason) {
  tiles.clear();
  stopSharing();
  if ($('call').hidden) return; // it never began: the lobby says why
  $('call').hidden = true;
  $('over').hidden = false;
  const { title, text } = whyClosed(reason);
  $('over-title').textContent = title;
  $('over-text').textContent = moving ? `You were moved to the room ${roomName}. ${text}` : text;
  moving = false;
  $('again').hidden = reason.code === 'banned';
  $('over-title').focus();
  own.stop();
}

/** The browser kept this page while another was shown: its room has joined again by itself. */
async function broughtBack() {
  await choose({ camera: picked.camera, mic: picked.mic });
  room.publish(own.stream);
  room.update({ metadata: mine() });
  hiddenIn = null;
  enter();
}

addEventListener('pagehide', () => { hiddenIn = $('call').hidden && $('over').hidden ? null : room; });

$('leave').addEventListener('click', () => room.leave());
for (const button of document.querySelectorAll('[data-stop]')) button.addEventListener('click', () => room.leave());
$('again').addEventListener('click', async () => {
  await choose({ camera: picked.camera, mic: picked.mic });
  join();
});

// -------------------------------------------------------------------------------- what happens

function wire() {
  room.on('state', (state) => {
    if (state === 'connected') moving = false;
    banner('state', state === 'reconnecting' && !moving && 'The connection to the server is lost; reconnecting. Sound and picture go on where they can.');
    if (state === 'connected' && !$('call').hidden) showMine();
    if (state === 'connected' && hiddenIn === room) broughtBack();
  });
  room.on('closed', over);
  room.on('moved', ({ room: to }) => {
    moving = true;
    roomName = to;
    history.replaceState(null, '', `/r/${to}${location.search}`);
    showRoomName(to);
    rememberRoom(to);
    note(`You were moved to the room ${to}.`);
  });
  room.on('peer-joined', (peer) => {
    say(`${nameOf(peer)} joined`);
    showPeer(peer);
  });
  room.on('peer-left', (peer) => {
    say(`${nameOf(peer)} left`);
    tiles.remove(peer.id);
    tiles.remove(`${peer.id} screen`);
    people(room);
  });
  for (const type of ['track', 'track-removed', 'connection', 'relay', 'quality']) room.on(type, ({ peer }) => showPeer(peer));
  room.on('peer-updated', (peer) => showPeer(peer));
  room.on('waiting', ({ position }) => waits(position));
  for (const type of ['knock', 'knock-gone']) room.on(type, () => $('call').hidden || knocks(room, say));
  banner('withheld', withheldWords([]));
  room.on('withheld', (withheld) => banner('withheld', withheldWords(withheld)));
  room.on('broadcast', ({ from, payload }) => {
    const text = !from && operatorSays(payload);
    if (text) note(text);
  });
  room.on('no-relay', () => banner('relay', noRelay(relayOnly)));
  room.on('ice-servers', () => banner('relay', !room.hasRelay && noRelay(relayOnly)));
  room.on('error', (error) => {
    console.warn(error);
    if (error.code !== 'room_full') return;
    banner('full', 'The room is full: nobody can be let in until somebody leaves.');
    clearTimeout(fullShown);
    fullShown = setTimeout(() => banner('full', ''), FULL_SHOWN_MS);
  });
}

/** What an operator says or does to one stays this long. */
const OPERATOR_SHOWN_MS = 60_000;
let operatorShown;
/** That somebody could not be let in, for this long. */
const FULL_SHOWN_MS = 8000;
let fullShown;

function note(text) {
  banner('operator', text);
  clearTimeout(operatorShown);
  operatorShown = setTimeout(() => banner('operator', ''), OPERATOR_SHOWN_MS);
}

const banners = new Map();

/** One line at the top, of the most urgent that there is to say. */
function banner(key, text, button) {
  if (text) banners.set(key, { text, button });
  else banners.delete(key);
  const [first] = ['state', 'full', 'withheld', 'operator', 'sound', 'relay'].map((k) => banners.get(k)).filter(Boolean);
  $('banner').hidden = !first;
  $('banner').replaceChildren(...(first ? [first.text, ...(first.button ? [first.button] : [])] : []));
}

function say(text) {
  $('said').textContent = text;
}

function showMine() {
  const me = tiles.of('me', { own: true });
  me.named(`${myName()} (you)`);
  me.show(own.stream);
  me.hasPicture(Boolean(own.video));
  me.mirrored(own.isCamera);
  me.muted(!own.isHeard);
  if (shared) {
    const tile = tiles.of('my screen', { own: true, screen: true });
    tile.named('Your screen');
    tile.show(shared);
  } else {
    tiles.remove('my screen');
  }
  pressed('mic', !own.isHeard, ['mic', 'Mute', 'Mute (m)'], ['mic-off', 'Unmute', 'Unmute (m)']);
  pressed('camera', !own.video, ['camera', 'Camera', 'Camera off (v)'], ['camera-off', 'Camera', 'Camera on (v)']);
  pressed('screen', Boolean(shared), ['screen', 'Share', 'Share a screen'], ['screen-off', 'Stop', 'Stop sharing']);
  waiting();
  people(room);
}

function pressed(id, on, off, pressedWords) {
  const [icon, words, long] = on ? pressedWords : off;
  $(id).classList.toggle('on', on);
  $(id).setAttribute('aria-label', long);
  $(id).title = long;
  setIcon($(id), icon);
  $(id).querySelector('span').textContent = words;
}

/** Alone: the address to send to others. */
function waiting() {
  let note = $('grid').querySelector('.waiting');
  if (room.peers.size > 0) {
    note?.remove();
    return;
  }
  if (note) return;
  note = Object.assign(document.createElement('div'), { className: 'waiting' });
  const code = Object.assign(document.createElement('code'), { textContent: address() });
  note.append(Object.assign(document.createElement('p'), { textContent: 'Nobody else is here yet. Send them the address:' }), code);
  $('grid').append(note);
}

async function showPeer(peer) {
  if ($('call').hidden || room.peers.get(peer.id) !== peer) return;
  const about = peer.metadata ?? {};
  const streams = [...peer.streams.values()];
  const camera = streams.find((stream) => stream.id !== about.screen);
  const display = streams.find((stream) => stream.id === about.screen);
  const tile = tiles.of(peer.id);
  tile.named(nameOf(peer), { note: noteOf(peer) });
  tile.hasPicture(about.video !== false && Boolean(camera?.getVideoTracks().length));
  tile.muted(about.audio === false);
  tile.path(peer.path, pathWords(peer.path));
  tile.quality(peer.quality, qualityWords(peer.quality));
  if (display) tiles.of(`${peer.id} screen`, { screen: true }).named(`${nameOf(peer)}: screen`);
  else tiles.remove(`${peer.id} screen`);
  waiting();
  people(room);
  spread(room, shared?.getVideoTracks()[0]);
  const playing = [tile.show(camera ?? null)];
  if (display) {
    const big = tiles.of(`${peer.id} screen`);
    big.video.muted = false;
    playing.push(big.show(display));
  }
  if ((await Promise.all(playing)).includes(false)) wantsGesture();
}

/** A browser lets no sound out of a page that nobody has touched. */
function wantsGesture() {
  const button = Object.assign(document.createElement('button'), { className: 'button', type: 'button', textContent: 'Play sound' });
  button.addEventListener('click', () => {
    banner('sound', null);
    for (const tile of tiles.all) tile.play();
  });
  banner('sound', 'The browser holds the sound back until you touch this page.', button);
}

// -------------------------------------------------------------------------------- who is here

function togglePeople(open) {
  $('people').hidden = !open;
  $('people-toggle').setAttribute('aria-expanded', String(open));
  people(room);
  (open ? $('people-close') : $('people-toggle')).focus();
}

$('people-toggle').addEventListener('click', () => togglePeople($('people').hidden));
$('people-close').addEventListener('click', () => togglePeople(false));

function address() {
  return `${location.origin}${location.pathname}`;
}

$('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(address());
    $('copy-label').textContent = 'Copied';
  } catch {
    // Without HTTPS there is no clipboard: show what to copy.
    prompt('The address of this call', address());
  }
  setTimeout(() => { $('copy-label').textContent = 'Copy link'; }, 2000);
});

// -------------------------------------------------------------------------------- what one shows

function changed() {
  room.update({ metadata: mine() });
  showMine();
}

async function toggleMic() {
  if (own.hasMic) own.audio.enabled = !own.audio.enabled;
  else await bring({ mic: special(picked.mic) ? '' : picked.mic });
  changed();
}

async function toggleCamera() {
  if (own.video) {
    // Stopped, not only dark: the lamp goes out.
    room.unpublish(own.video);
    own.drop('video');
  } else {
    await bring({ camera: picked.camera === NONE ? '' : picked.camera });
  }
  changed();
}

/** A device that was not there before; a pattern where there is none. */
async function bring(choice) {
  const before = choice.mic === undefined ? own.video : own.audio;
  try {
    await own.choose({ ...choice, label: myName() });
    if (before) room.unpublish(before);
  } catch (error) {
    say(whyNot(error));
    if (choice.camera !== undefined) await own.choose({ camera: PATTERN, label: myName() });
  }
  room.publish(own.stream);
}

async function toggleScreen() {
  if (shared) {
    stopSharing();
  } else {
    try {
      shared = await pickScreen();
    } catch {
      return; // thought better of it
    }
    const [track] = shared.getVideoTracks();
    track.contentHint = 'detail';
    // The browser's own button ends it too.
    track.addEventListener('ended', () => {
      stopSharing();
      changed();
    });
    room.update({ metadata: mine() });
    room.publish(shared);
  }
  changed();
}

function stopSharing() {
  if (!shared) return;
  if (room.state !== 'disconnected') room.unpublish(shared);
  for (const track of shared.getTracks()) track.stop();
  shared = null;
}

/** One thing at a time: a second press while a device starts is not another wish. */
function control(id, run) {
  $(id).addEventListener('click', async () => {
    $(id).disabled = true;
    try {
      await run();
    } finally {
      $(id).disabled = false;
      $(id).focus();
    }
  });
}

control('mic', toggleMic);
control('camera', toggleCamera);
control('screen', toggleScreen);

document.addEventListener('keydown', (event) => {
  const typing = event.target.closest?.('input, select, textarea');
  if ($('call').hidden || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'm') $('mic').click();
  else if (event.key === 'v') $('camera').click();
  else if (event.key === 'Escape' && !$('people').hidden) togglePeople(false);
});

if (await openLobby(roomName, query) && query.get('autojoin') === '1') join();

/** A path's last part in plain letters; as it stands where it is no proper encoding of any. */
function named(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
