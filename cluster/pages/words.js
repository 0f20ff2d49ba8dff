// What the call page says, in words.

export function nameOf(peer) {
  return peer.name || 'Guest';
}

export function noteOf(peer) {
  if (peer.away) return 'reconnecting';
  if (peer.withheld.includes('publish')) return 'muted by an admin';
  if (peer.connectionState === 'connecting' || peer.connectionState === 'new') return 'connecting';
  if (peer.connectionState === 'disconnected' || peer.connectionState === 'failed') return 'interrupted';
  return '';
}

export function pathWords(path) {
  if (!path) return '';
  const via = path.kind === 'relay' ? `relay ${path.edge ?? ''}`.trim() : 'direct';
  return `${via} · ${path.protocol}`;
}

export function qualityWords(quality) {
  if (!quality) return '';
  const { level, loss, fps, rttMs } = quality;
  return [`Connection: ${level}`, rttMs !== undefined && `${Math.round(rttMs)} ms`, `${(loss * 100).toFixed(1)} % lost`, fps > 0 && `${Math.round(fps)} frames/s`]
    .filter(Boolean).join(', ');
}

/** Why there is no camera or microphone. */
export function whyNot(error) {
  if (error.name === 'NotAllowedError') return 'The browser keeps the camera or the microphone from this page. Allow them beside the address and load it again, or join with what there is.';
  if (error.name === 'NotFoundError' || error.name === 'OverconstrainedError') return 'No camera or no microphone was found. You can join without.';
  if (error.name === 'NotReadableError') return 'The camera or the microphone is in use by something else. You can join without.';
  return `The camera or the microphone cannot be used (${error.name}). You can join without.`;
}

const WHY = {
  left: ['You have left', 'The same address brings you back.'],
  replaced: ['You are here from elsewhere', 'The same place was taken by another tab or window.'],
  kicked: ['You were removed', 'Somebody in charge of this room has removed you.'],
  banned: ['You may not come in', 'Somebody in charge of this room has closed it to you.'],
  room_closed: ['The room is closed', 'Its time is over, or somebody in charge of it has closed it for everybody.'],
  moved: ['You were moved', 'Somebody in charge has sent you to another room, and this page did not hear to which one.'],
  room_full: ['The room is full', 'Nobody else fits in. Try again when somebody has left.'],
  locked: ['The room is locked', 'Nobody new comes in. Ask somebody who is inside to have it opened.'],
  denied: ['You were not let in', 'Somebody in charge of this room has turned you away. You can ask again in a while.'],
  unanswered: ['Nobody has let you in', 'Somebody in charge of this room has to. Try again when they are there.'],
  lobby_full: ['Too many wait', 'Nobody else can wait to be let in. Try again later.'],
  no_room: ['There is no such room', 'The address may be mistyped, or the room is closed.'],
  timeout: ['Nobody answers', 'The server cannot be reached. Is this device online?'],
  token_missing: ['An invitation is needed', 'This server lets nobody in without one. Open the whole address that you were given.'],
  token_invalid: ['The invitation is not good', 'It is for another room, or not one of this server.'],
  token_expired: ['The invitation is too old', 'Ask for another one.'],
};

/** What the server says of itself to somebody who is not let in. */
const NO_REASON = /^you were not let in( a moment ago: knock again after `retry_after_ms`)?$/;

/** Why one is no longer in, or was not let in. */
export function whyClosed(error) {
  const [title, text] = WHY[error.code] ?? ['The call is over', `The server said: ${error.message}`];
  const said = error.code === 'denied' && error.message.replace(/^denied: /, '');
  return { title, text: said && !NO_REASON.test(said) ? `${text} They say: ${said}` : text };
}

/** That one has to be let in, and how many wait before one. */
export function waitingWords(position) {
  const before = position === 1 ? 'You are next.' : `${position - 1} ${position === 2 ? 'waits' : 'wait'} before you.`;
  return `Somebody in charge of this room has to let you in. ${before}`;
}

/** What was taken away from oneself. */
export function withheldWords(withheld) {
  return withheld.includes('publish')
    && 'Somebody in charge of this room has muted you: nobody hears or sees you until they give that back.';
}

/** An operator's word to all: a text, or an object with one; of anything else there is nothing to show. */
export function operatorSays(payload) {
  const text = typeof payload === 'string' ? payload : payload?.text;
  return typeof text === 'string' && text.trim() ? `The operator says: ${text}` : '';
}

/** That there is no relay. */
export function noRelay(relayOnly) {
  return relayOnly ? 'No relay is available, and this call may use nothing else.'
    : 'No relay is available: only people who reach each other directly can talk.';
}
