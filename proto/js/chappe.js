// Chappe's browser SDK. One module, no dependencies:
//
//   import { connect } from '/sdk/chappe.js';
//   const room = await connect({ room: 'brave-otter', name: 'Ada', publish: await navigator.mediaDevices.getUserMedia({ audio: true, video: true }) });
//   room.on('track', ({ peer, stream }) => { video.srcObject = stream; });
//
// Types and a word on everything are in chappe.d.ts.

import { Room } from './room.js';

export { ChappeError, Emitter } from './emitter.js';
export { Room } from './room.js';
export { Signaling } from './signaling.js';

/**
 * Joins a room.
 * @param {import('./chappe.d.ts').ConnectOptions} options
 * @returns {Promise<Room>}
 */
export function connect(options) {
  const room = new Room(options);
  if (options.publish) room.publish(options.publish);
  return room.join();
}
