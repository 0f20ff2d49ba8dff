// RTCPeerConnection's signaling half, to the letter where negotiation depends on it: states,
// rollback, negotiationneeded, ufrags, and a DTLS identity that cannot change under a connection.

let serial = 0;

export class FakeConnection {
  signalingState = 'stable';
  connectionState = 'new';
  localDescription = null;
  remoteDescription = null;
  remoteCandidates = [];
  closed = false;
  stats = new Map();
  configurations = [];
  #chain = Promise.resolve();
  #pending = 0;
  #needed = false;
  #wanted = 0; // counts what asked for a negotiation
  #settled = 0; // as much of it as has been negotiated
  #offered = 0;
  #stable = {};
  #senders = [];
  #restart = false;
  #ufrags = 0;

  constructor(configuration, clock) {
    this.clock = clock;
    this.id = `pc${++serial}`;
    this.configurations.push(configuration);
  }

  createDataChannel() {
    this.#want();
  }

  addTrack(track, ...streams) {
    this.#senders.push({ track, streams });
    this.#want();
  }

  removeTrack(sender) {
    this.#senders = this.#senders.filter((s) => s !== sender);
    this.#want();
  }

  getSenders() {
    return this.#senders;
  }

  getTransceivers() {
    return [];
  }

  async getStats() {
    return this.stats;
  }

  setConfiguration(configuration) {
    this.configurations.push(configuration);
  }

  restartIce() {
    this.#restart = true;
    this.#want();
  }

  close() {
    this.closed = true;
    this.signalingState = 'closed';
  }

  setLocalDescription() {
    return this.#operation(() => {
      const answer = this.signalingState === 'have-remote-offer';
      if (!answer) this.#offered = this.#wanted;
      this.#keep();
      const renewed = answer ? this.remoteDescription.renews : this.#restart;
      const gathers = renewed || !this.ufrag;
      if (gathers) this.ufrag = `${this.id}-${++this.#ufrags}`;
      const body = { id: this.id, ufrag: this.ufrag, renews: renewed, tracks: this.#senders.map((s) => s.track.id) };
      this.localDescription = { type: answer ? 'answer' : 'offer', sdp: `${JSON.stringify(body)}\na=ice-ufrag:${this.ufrag}` };
      this.signalingState = answer ? 'stable' : 'have-local-offer';
      if (answer && renewed) this.#restart = false;
      if (gathers) for (const n of [1, 2]) this.#gathered(n * 3, { candidate: `${n}`, usernameFragment: body.ufrag });
      this.#gathered(9, null);
      if (answer) this.#becomeStable();
    });
  }

  setRemoteDescription({ type, sdp }) {
    return this.#operation(() => {
      const body = JSON.parse(sdp.split('\n')[0]);
      if (body.poison) throw new Error('cannot be applied');
      if (type === 'offer' && this.signalingState === 'have-local-offer') {
        this.signalingState = 'stable';
        this.rolledBack = (this.rolledBack ?? 0) + 1;
        this.ufrag = this.#stable.ufrag;
      }
      const allowed = type === 'offer' ? 'stable' : 'have-local-offer';
      if (this.signalingState !== allowed) throw new Error(`${type} in ${this.signalingState}`);
      if (this.dtls && this.dtls !== body.id) throw new Error('the DTLS identity changed');
      this.dtls = body.id;
      if (this.remoteDescription?.ufrag !== body.ufrag) this.remoteCandidates = [];
      this.remoteDescription = { ...body, sdp };
      if (type === 'offer') {
        this.signalingState = 'have-remote-offer';
      } else {
        this.signalingState = 'stable';
        this.#settled = this.#offered;
        this.#restart = false;
        this.#becomeStable();
      }
    });
  }

  addIceCandidate({ candidate, usernameFragment }) {
    return this.#operation(() => {
      if (!this.remoteDescription) throw new Error('no remote description');
      if (usernameFragment !== this.remoteDescription.ufrag) throw new Error(`candidate of ${usernameFragment}`);
      this.remoteCandidates.push(candidate);
    });
  }

  #gathered(ms, candidate) {
    this.clock.setTimeout(() => {
      if (!this.closed && (!candidate || candidate.usernameFragment === this.ufrag)) this.onicecandidate?.({ candidate });
    }, ms);
  }

  #keep() {
    if (this.signalingState === 'stable') this.#stable = { ufrag: this.ufrag };
  }

  async #operation(run) {
    this.#pending += 1;
    const result = this.#chain.then(() => {
      if (this.closed) throw new Error('closed');
      return run();
    });
    this.#chain = result.catch(() => {});
    try {
      await result;
    } finally {
      this.#pending -= 1;
      if (this.#pending === 0) this.#check();
    }
  }

  #becomeStable() {
    this.#check();
  }

  #want() {
    this.#wanted += 1;
    this.#check();
  }

  #check() {
    if (this.#needed) return;
    this.#needed = true;
    // Later, as an event is; what is true then counts.
    Promise.resolve().then(() => {
      this.#needed = false;
      if (this.closed || this.#pending > 0 || this.signalingState !== 'stable' || this.#wanted === this.#settled) return;
      this.onnegotiationneeded?.();
    });
  }
}
