// One RTCPeerConnection between two peers, replaced when it must be: perfect negotiation (W3C
// webrtc-pc 10.7) with connection ids (PROTOCOL.md section 6). Signals come here once and in order.

import { Emitter } from './emitter.js';

/** Replacements without a connection in between; beyond them the other side has to move. */
const REPLACE_MAX = 5;

/**
 * Events: `open (pc)` for each new connection, `track (RTCTrackEvent)`, `state (connectionState)`,
 * `restarted` when the other side has restarted ICE, `error (Error)`.
 */
export class Pair extends Emitter {
  /** The present connection, or null. */
  pc = null;
  #options;
  #mine = null; // the id of `pc`
  #seen = null; // the other side's connection, as of its last signal to `pc`
  #boundTo = null; // the one whose description `pc` was given: it can belong to no other
  #makingOffer = false;
  #ignoredOffer = false;
  #replaced = 0;
  #turn = Promise.resolve();
  #closed = false;

  /**
   * @param {object} options `polite`, `create() -> RTCPeerConnection`, `newId() -> string`,
   *   `tracks() -> [{track, streams}]`, `send(kind, payload, connection)`, `configuration() -> RTCConfiguration`.
   */
  constructor(options) {
    super();
    this.#options = options;
  }

  /** The newcomer's part: makes the connection, which then offers by itself. */
  begin() {
    if (!this.pc && !this.#closed) this.#open();
  }

  /** A signal of the other side's; they are handled one after the other. */
  take(signal) {
    this.#turn = this.#turn.then(() => this.#handle(signal)).catch((error) => this.#failed(error));
    return this.#turn;
  }

  /** Restarts ICE on the present connection, with this configuration from now on. */
  restart(configuration) {
    if (!this.pc) return;
    // Only together: new credentials alone would change the ufrag of some later, innocent offer.
    this.#configure(configuration);
    this.pc.restartIce();
  }

  /** A browser that refuses these servers goes on with those it has: no reason to lose the connection. */
  #configure(configuration) {
    try {
      this.pc.setConfiguration(configuration);
    } catch (error) {
      this.emit('error', error);
    }
  }

  /** Throws the connection away and offers another: its DTLS or its descriptions are beyond help. */
  replace() {
    if (this.#closed || this.#replaced >= REPLACE_MAX) return;
    this.#replaced += 1;
    // Without it the other side might wait for an answer that only the old one could have given.
    if (this.pc && this.#seen) this.#send('bye', null, this.#seen);
    this.#open();
  }

  /** Whether an offer could be made now. */
  get stable() {
    return this.pc !== null && this.pc.signalingState === 'stable' && !this.#makingOffer;
  }

  addTrack(track, streams) {
    if (!this.pc) return;
    // A place that an earlier track has left: else each camera off and on would add another m-line.
    const free = this.pc.getTransceivers().find((t) => !t.stopped && !t.sender.track && t.sender.setStreams
      && t.direction !== 'stopped' && t.receiver.track.kind === track.kind);
    if (!free) {
      this.pc.addTrack(track, ...streams);
      return;
    }
    free.sender.setStreams(...streams);
    free.direction = 'sendrecv';
    // It is free of any track, and of the same kind: this cannot need a negotiation of its own.
    free.sender.replaceTrack(track).catch((error) => this.#failed(error));
  }

  removeTrack(track) {
    const sender = this.pc?.getSenders().find((s) => s.track === track);
    if (sender) this.pc.removeTrack(sender);
  }

  async replaceTrack(old, track) {
    await this.pc?.getSenders().find((s) => s.track === old)?.replaceTrack(track);
  }

  close() {
    this.#closed = true;
    this.#shut();
  }

  #shut() {
    const { pc } = this;
    if (!pc) return;
    this.pc = null;
    pc.onnegotiationneeded = pc.onicecandidate = pc.ontrack = pc.onconnectionstatechange = null;
    pc.close();
  }

  #open() {
    this.#shut();
    const pc = (this.pc = this.#options.create());
    this.#mine = this.#options.newId();
    this.#seen = this.#boundTo = null;
    this.#makingOffer = this.#ignoredOffer = false;
    pc.onnegotiationneeded = () => this.#offer(pc);
    pc.onicecandidate = ({ candidate }) => {
      if (candidate) this.#send('candidate', candidate.toJSON?.() ?? candidate);
    };
    pc.ontrack = (event) => this.emit('track', event);
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === 'connected') this.#replaced = 0;
      this.emit('state', pc.connectionState);
    };
    // Something to negotiate even where nobody shows anything, so that path and liveness are known.
    pc.createDataChannel('chappe', { negotiated: true, id: 0 });
    for (const { track, streams } of this.#options.tracks()) pc.addTrack(track, ...streams);
    this.emit('open', pc);
  }

  #send(kind, payload, yours = this.#boundTo) {
    const connection = yours ? { mine: this.#mine, yours } : { mine: this.#mine };
    this.#options.send(kind, payload, connection);
  }

  async #offer(pc) {
    // Not stable: the event comes again when it is.
    if (pc !== this.pc || pc.signalingState !== 'stable') return;
    try {
      this.#makingOffer = true;
      await pc.setLocalDescription();
      if (pc === this.pc) this.#send(pc.localDescription.type, describe(pc.localDescription));
    } catch (error) {
      if (pc === this.pc) this.#failed(error);
    } finally {
      if (pc === this.pc) this.#makingOffer = false;
    }
  }

  async #handle({ kind, payload, connection = {} }) {
    const { mine: theirs, yours } = connection ?? {};
    if (this.#closed) return;
    // It belongs to a connection of ours that is no more; ours of now has offered itself.
    if (yours && yours !== this.#mine) return;
    const rebuilt = this.pc && this.#boundTo && theirs && theirs !== this.#boundTo;
    if (kind === 'bye') {
      if (yours === this.#mine) this.#shut();
      return;
    }
    if (rebuilt) {
      this.#open();
      // Its own negotiation offers it, unless there is an offer to answer.
      if (kind !== 'offer') return;
    }
    if (!this.pc) {
      if (kind !== 'offer') return;
      this.#open();
    }
    if (theirs) this.#seen = theirs;
    // A candidate of a description that was not applied has nothing to belong to.
    if (kind === 'candidate') {
      if (!theirs || theirs === this.#boundTo) await this.#candidate(payload);
      return;
    }
    await this.#description(payload, theirs);
  }

  async #candidate(candidate) {
    const { pc } = this;
    try {
      await pc.addIceCandidate(candidate);
    } catch (error) {
      // Nor has one of an offer that was ignored.
      if (pc === this.pc && !this.#ignoredOffer) this.emit('error', error);
    }
  }

  async #description(description, theirs) {
    const { pc } = this;
    const offer = description.type === 'offer';
    if (offer) {
      const collision = this.#makingOffer || pc.signalingState !== 'stable';
      this.#ignoredOffer = collision && !this.#options.polite;
      if (this.#ignoredOffer) return;
    } else if (pc.signalingState !== 'have-local-offer') {
      return;
    }
    const before = ufragOf(pc.remoteDescription);
    await pc.setRemoteDescription(description); // rolls an offer of ours back
    if (pc !== this.pc) return;
    if (offer && before && ufragOf(description) !== before) {
      // Our answer gathers anew: with the servers and credentials of now, of which one may be the reason for this.
      if (this.#options.configuration) this.#configure(this.#options.configuration());
      this.emit('restarted');
    }
    this.#boundTo = theirs ?? null;
    this.#ignoredOffer = false;
    if (!offer) return;
    await pc.setLocalDescription();
    if (pc === this.pc) this.#send('answer', describe(pc.localDescription));
  }

  #failed(error) {
    if (this.#closed) return;
    this.emit('error', error);
    this.replace();
  }
}

/** Of which ICE session a description is (RFC 8839 section 5.4). */
function ufragOf(description) {
  return /^a=ice-ufrag:(\S+)/m.exec(description?.sdp ?? '')?.[1];
}

function describe({ type, sdp }) {
  return { type, sdp };
}
