// The call page: choose what to show, join, see and hear each other, leave.
// For tests: ?autojoin=1, ?name=, ?pattern=1 (no camera is asked for), ?policy=relay.

import { Room } from '/sdk/chappe.js';
import { NONE, Own, PATTERN, canCapture, canShare, devices, screen as pickScreen, spread } from './media.js';
import { isRoomName, rememberRoom } from './names.js';
import { Tiles, setIcon } from './tiles.js';

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const roomName = decodeURIComponent(location.pathname.replace(/^\/r\//, '').replace(/\/$/, ''));
const own = new Own();
const tiles = new Tiles($('grid'), $('tile'));
let room = null;
let shared = null; // one's own screen
let picked = { camera: '', mic: '' };
let hiddenIn = null; // the room that one left by leaving the page

// -------------------------------------------------------------------------------- before the call

function stored(storage, key, make = () => '') {
  try {
    const value = storage.getItem(key) ?? make();
    storage.setItem(key, value);
    return value;
  } catch {
    return make();
  }
}

/** One per tab, kept over a reload: so a reload takes its own place again. */
const identity = stored(sessionStorage, 'chappe-identity', () => `tab-${[...crypto.getRandomValues(new Uint8Array(10))].map((b) => b.toString(16).padStart(2, '0')).join('')}`);

/** A token that an app has put behind the address (`#token=`): used and taken out of sight. */
const token = (() => {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) history.replaceState(null, '', location.pathname + location.search);
  return given ?? undefined;
})();

function myName() {
  return $('name').value.trim() || 'Guest';
}

function hint(text) {
  $('lobby-hint').hidden = !text;
  $('lobby-hint').textContent = text;
}

function option(value, label) {
  return Object.assign(document.createElement('option'), { value, textContent: label });
}

async function fillPickers() {
  const { cameras, mics } = await devices();
  const fill = (select, list, more, value) => {
    select.replaceChildren(...list.map((d) => option(d.id, d.label)), ...more);
    select.value = value;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
  };
  const settings = (track) => track?.getSettings().deviceId;
  fill($('camera-choice'), cameras, [option(PATTERN, 'Test pattern'), option(NONE, 'No picture')], special(picked.camera) ?? settings(own.video));
  fill($('mic-choice'), mics, [option(NONE, 'No sound')], special(picked.mic === PATTERN ? NONE : picked.mic) ?? settings(own.audio));
}

function special(choice) {
  return choice === PATTERN || choice === NONE ? choice : undefined;
}

/** Takes what was chosen; what cannot be had is replaced by a pattern, and one is told why. */
async function choose(choice) {
  picked = { ...picked, ...choice };
  try {
    await own.choose({ ...choice, label: myName() });
  } catch (error) {
    hint(whyNot(error));
    if (choice.camera !== undefined && choice.mic !== undefined) return instead();
    if (choice.camera !== undefined) picked.camera = PATTERN;
    if (choice.mic !== undefined) picked.mic = NONE;
    await own.choose({ ...(choice.camera !== undefined && { camera: PATTERN }), ...(choice.mic !== undefined && { mic: NONE }), label: myName() });
  }
  preview();
  return fillPickers();
}

/** No camera, or no microphone, or neither: each is tried alone before a pattern takes its place. */
async function instead() {
  const one = async (kind, choice) => own.choose(choice).then(() => true, () => false);
  picked.camera = (await one('video', { camera: '' })) ? '' : PATTERN;
  if (picked.camera) await own.choose({ camera: PATTERN, label: myName() });
  picked.mic = (await one('audio', { mic: '' })) ? '' : PATTERN;
  if (picked.mic) await own.choose({ mic: PATTERN });
  preview();
  return fillPickers();
}

function whyNot(error) {
  if (error.name === 'NotAllowedError') return 'The browser keeps the camera or the microphone from this page. Allow them beside the address and load it again, or join with what there is.';
  if (error.name === 'NotFoundError' || error.name === 'OverconstrainedError') return 'No camera or no microphone was found. You can join without.';
  if (error.name === 'NotReadableError') return 'The camera or the microphone is in use by something else. You can join without.';
  return `The camera or the microphone cannot be used (${error.name}). You can join without.`;
}

function preview() {
  $('preview').srcObject = own.video ? own.stream : null;
  $('preview').classList.toggle('mirrored', own.isCamera);
  $('preview-note').textContent = own.video ? '' : 'No picture: others see your initials.';
}

async function lobby() {
  $('lobby-room').textContent = $('room-name').textContent = roomName;
  document.title = `${roomName} – Chappe`;
  $('name').value = query.get('name') ?? stored(localStorage, 'chappe-name');
  $('screen').hidden = !canShare;
  if (!isRoomName(roomName)) {
    hint('That is not a name of a room.');
    $('join').disabled = true;
    return;
  }
  if (query.get('pattern') === '1' || !canCapture) {
    if (!canCapture) hint('Browsers give a camera to pages over HTTPS only, and this one is not. Open it by https:// or on localhost, or join with a test pattern.');
    await choose({ camera: PATTERN, mic: PATTERN });
  } else {
    $('preview-note').textContent = 'Waiting for the camera…';
    await fillPickers();
    await choose({ camera: '', mic: '' });
  }
  if (query.get('autojoin') === '1') await join();
}

$('camera-choice').addEventListener('change', (event) => choose({ camera: event.target.value }));
$('mic-choice').addEventListener('change', (event) => choose({ mic: event.target.value }));
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
  room = new Room({
    room: roomName,
    name: myName(),
    metadata: mine(),
    identity,
    ...(token && { getToken: () => token }),
    ...(query.get('policy') === 'relay' && { iceTransportPolicy: 'relay' }),
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
  $('join').disabled = false;
  $('join').textContent = 'Join';
}

/** What others should know of what one shows. */
function mine() {
  return { audio: Boolean(own.audio?.enabled), video: Boolean(own.video), screen: shared?.id ?? null };
}

function enter() {
  for (const id of ['lobby', 'over']) $(id).hidden = true;
  $('call').hidden = false;
  tiles.of('me', { own: true });
  showMine();
  for (const peer of room.peers.values()) showPeer(peer);
  tiles.layout();
  $('room-name').focus({ preventScroll: true });
}

const WHY = {
  left: ['You have left', 'The call goes on without you.'],
  replaced: ['You are here from elsewhere', 'The same place was taken by another tab or window.'],
  kicked: ['You were removed', 'Somebody in charge of this room has removed you.'],
  banned: ['You may not come in', 'Somebody in charge of this room has closed it to you.'],
  room_closed: ['The room was closed', 'Everybody had to leave.'],
  room_full: ['The room is full', 'Nobody else fits in. Try again when somebody has left.'],
  no_room: ['There is no such room', 'The address may be mistyped, or the room is closed.'],
  timeout: ['Nobody answers', 'The server cannot be reached. Is this device online?'],
  token_missing: ['An invitation is needed', 'This server lets nobody in without one. Open the whole address that you were given.'],
  token_invalid: ['The invitation is not good', 'It is for another room, or not one of this server.'],
  token_expired: ['The invitation is too old', 'Ask for another one.'],
};

function whyClosed(error) {
  const [title, text] = WHY[error.code] ?? ['The call is over', `The server said: ${error.message}`];
  return { title, text };
}

function over(reason) {
  tiles.clear();
  stopSharing();
  if ($('call').hidden) return; // it never began: the lobby says why
  $('call').hidden = true;
  $('over').hidden = false;
  const { title, text } = whyClosed(reason);
  $('over-title').textContent = title;
  $('over-text').textContent = text;
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
$('again').addEventListener('click', async () => {
  await choose({ camera: picked.camera, mic: picked.mic });
  join();
});

// -------------------------------------------------------------------------------- what happens

function wire() {
  room.on('state', (state) => {
    banner('state', state === 'reconnecting' && 'The connection to the server is lost; reconnecting. Sound and picture go on where they can.');
    if (state === 'connected' && !$('call').hidden) showMine();
    if (state === 'connected' && hiddenIn === room) broughtBack();
  });
  room.on('closed', over);
  room.on('peer-joined', (peer) => {
    say(`${nameOf(peer)} joined`);
    showPeer(peer);
  });
  room.on('peer-left', (peer) => {
    say(`${nameOf(peer)} left`);
    tiles.remove(peer.id);
    tiles.remove(`${peer.id} screen`);
    people();
  });
  for (const type of ['track', 'track-removed', 'connection', 'relay', 'quality']) room.on(type, ({ peer }) => showPeer(peer));
  room.on('peer-updated', (peer) => showPeer(peer));
  room.on('no-relay', () => banner('relay', noRelay()));
  room.on('ice-servers', () => banner('relay', !room.hasRelay && noRelay()));
  room.on('error', (error) => console.warn(error));
}

function noRelay() {
  return query.get('policy') === 'relay' ? 'No relay is available, and this call may use nothing else.'
    : 'No relay is available: only people who reach each other directly can talk.';
}

const banners = new Map();

/** One line at the top, of the most urgent that there is to say. */
function banner(key, text, button) {
  if (text) banners.set(key, { text, button });
  else banners.delete(key);
  const [first] = ['state', 'sound', 'relay'].map((k) => banners.get(k)).filter(Boolean);
  $('banner').hidden = !first;
  $('banner').replaceChildren(...(first ? [first.text, ...(first.button ? [first.button] : [])] : []));
}

function say(text) {
  $('said').textContent = text;
}

function nameOf(peer) {
  return peer.name || 'Guest';
}

function showMine() {
  const me = tiles.of('me', { own: true });
  me.named(`${myName()} (you)`);
  me.show(own.stream);
  me.hasPicture(Boolean(own.video));
  me.mirrored(own.isCamera);
  me.muted(!own.audio?.enabled);
  if (shared) {
    const tile = tiles.of('my screen', { own: true, screen: true });
    tile.named('Your screen');
    tile.show(shared);
  } else {
    tiles.remove('my screen');
  }
  pressed('mic', !own.audio?.enabled, ['mic', 'Mute', 'Mute (m)'], ['mic-off', 'Unmute', 'Unmute (m)']);
  pressed('camera', !own.video, ['camera', 'Camera', 'Camera off (v)'], ['camera-off', 'Camera', 'Camera on (v)']);
  pressed('screen', Boolean(shared), ['screen', 'Share', 'Share a screen'], ['screen-off', 'Stop', 'Stop sharing']);
  waiting();
  people();
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
  people();
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

function noteOf(peer) {
  if (peer.away) return 'reconnecting';
  if (peer.connectionState === 'connecting' || peer.connectionState === 'new') return 'connecting';
  if (peer.connectionState === 'disconnected' || peer.connectionState === 'failed') return 'interrupted';
  return '';
}

function pathWords(path) {
  if (!path) return '';
  const via = path.kind === 'relay' ? `relay ${path.edge ?? ''}`.trim() : 'direct';
  return `${via} · ${path.protocol}`;
}

function qualityWords(quality) {
  if (!quality) return '';
  const { level, loss, fps, rttMs } = quality;
  return [`Connection: ${level}`, rttMs !== undefined && `${Math.round(rttMs)} ms`, `${(loss * 100).toFixed(1)} % lost`, fps > 0 && `${Math.round(fps)} frames/s`]
    .filter(Boolean).join(', ');
}

// -------------------------------------------------------------------------------- who is here

/** The list, changed where it has changed, so that a reader of it is not disturbed. */
function people() {
  const count = room.peers.size + 1;
  $('people-toggle').querySelector('span').textContent = `People ${count}`;
  $('people-title').textContent = count === 1 ? 'Only you are here' : `${count} in this room`;
  if ($('people').hidden) return;
  const server = room.signalingRttMs === undefined ? '' : `server: ${Math.round(room.signalingRttMs)} ms`;
  const all = [['me', `${myName()} (you)`, !own.audio?.enabled, server], ...[...room.peers.values()].map((peer) => {
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

function togglePeople(open) {
  $('people').hidden = !open;
  $('people-toggle').setAttribute('aria-expanded', String(open));
  people();
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
  if (own.audio) own.audio.enabled = !own.audio.enabled;
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
  try {
    await own.choose({ ...choice, label: myName() });
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

navigator.mediaDevices?.addEventListener?.('devicechange', () => $('lobby').hidden || fillPickers());

lobby();
