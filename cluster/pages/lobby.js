// Before the call: a name, and what to show.

import { NONE, Own, PATTERN, canCapture, canShare, devices } from './media.js';
import { isRoomName } from './names.js';
import { whyNot } from './words.js';

const $ = (id) => document.getElementById(id);

/** One's own camera and microphone. */
export const own = new Own();
/** What was chosen: a device's id (empty: any), a pattern, or nothing. */
export let picked = { camera: '', mic: '' };

/** Kept by the browser, where it keeps anything. */
export function stored(storage, key, make = () => '') {
  try {
    const value = storage.getItem(key) ?? make();
    storage.setItem(key, value);
    return value;
  } catch {
    return make();
  }
}

/** The name that others see. */
export function myName() {
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

/** What is no device. */
export function special(choice) {
  return choice === PATTERN || choice === NONE ? choice : undefined;
}

/** Takes what was chosen; what cannot be had is replaced by a pattern, and one is told why. */
export async function choose(choice) {
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
  const had = (choice) => own.choose(choice).then(() => true, () => false);
  picked.camera = (await had({ camera: '' })) ? '' : PATTERN;
  if (picked.camera) await own.choose({ camera: PATTERN, label: myName() });
  picked.mic = (await had({ mic: '' })) ? '' : PATTERN;
  if (picked.mic) await own.choose({ mic: PATTERN });
  preview();
  return fillPickers();
}

function preview() {
  $('preview').srcObject = own.video ? own.stream : null;
  $('preview').classList.toggle('mirrored', own.isCamera);
  $('preview-note').textContent = own.video ? '' : 'No picture: others see your initials.';
}

/** In which room one is. */
export function showRoomName(roomName) {
  $('lobby-room').textContent = $('room-name').textContent = roomName;
  document.title = `${roomName} – Chappe`;
}

/** Shows the lobby of that room; resolves when what one would show is ready, with whether it is a room at all. */
export async function openLobby(roomName, query) {
  showRoomName(roomName);
  $('name').value = query.get('name') ?? stored(localStorage, 'chappe-name');
  $('screen').hidden = !canShare;
  if (!isRoomName(roomName)) {
    hint('That is not a name of a room.');
    $('join').disabled = true;
    return false;
  }
  if (query.get('pattern') === '1' || !canCapture) {
    if (!canCapture) hint('Browsers give a camera to pages over HTTPS only, and this one is not. Open it by https:// or on localhost, or join with a test pattern.');
    await choose({ camera: PATTERN, mic: PATTERN });
  } else {
    $('preview-note').textContent = 'Waiting for the camera…';
    await fillPickers();
    await choose({ camera: '', mic: '' });
  }
  return true;
}

$('camera-choice').addEventListener('change', (event) => choose({ camera: event.target.value }));
$('mic-choice').addEventListener('change', (event) => choose({ mic: event.target.value }));
navigator.mediaDevices?.addEventListener?.('devicechange', () => $('lobby').hidden || fillPickers());
