// A room as an application sees it: who is here, what they show, and what one says to them.

import { Connections } from './connections.js';
import { ChappeError, Emitter } from './emitter.js';
import { IceServers } from './ice.js';
import { Mover } from './mover.js';
import { Peer } from './peer.js';
import { Probes } from './probes.js';
import { Signaling } from './signaling.js';

/** Kinds of signals that are the SDK's own. */
const OWN_KINDS = new Set(['offer', 'answer', 'candidate', 'bye']);
/** Edges are measured this long after a join, which it must not delay. */
const PROBE_AFTER_MS = 3000;
/** And this long after the cluster has named others. */
const PROBE_SOON_MS = 500;
/** A relay is blamed for a silence only if signaling was there, and the network the same, for this long before. */
const BLAME_AFTER_MS = 10_000;
/** Fresh servers are asked for no more often than this. */
const ASK_ICE_MS = 10_000;
/** A kick that nobody has answered after this is given up. */
const KICK_MS = 5000;

/** See chappe.d.ts for its options, events and states. */
export class Room extends Emitter {
  /** `connecting`, `connected`, `reconnecting`, `disconnected`. */
  state = 'connecting';
  /** Why it is disconnected: a ChappeError. */
  reason = undefined;
  /** Oneself: `{id, identity, name, metadata, grants, withheld}`, once joined. */
  me = null;
  /** Everybody else, by id. */
  peers = new Map();
  /** Who waits to be let in, by id: `{id, identity, name, metadata}`; for those with the grant `admin`. */
  waiting = new Map();
  /** What `welcome.limits` said. */
  limits = null;
  #options;
  #signaling;
  #clock;
  #ice = new IceServers();
  #probes;
  #published = new Map(); // track -> streams
  #graces = new Map(); // peer -> timer, for those whom a rebuilt room has not seen yet
  #kicks = new Map();
  #host = null;
  #unlisten = () => {};
  #leftByPage = false;
  #askedForIceAt = -Infinity;
  #mover;
  #connections;
  #movedFrom; // the room that one is on the way from
  #probing; // the timer of the measurement that is due
  #steadySince = Infinity; // since when neither signaling nor the network has changed

  constructor(options) {
    super();
    const urls = options.urls ?? [options.url ?? globalThis.location?.origin];
    this.#options = { ...options, urls };
    this.name = options.room;
    this.#clock = options.clock ?? {
      now: () => performance.now(), setTimeout: (f, ms) => setTimeout(f, ms), clearTimeout: (id) => clearTimeout(id),
    };
    this.#signaling = new Signaling(this.#options);
    const create = options.createConnection
      ?? (globalThis.RTCPeerConnection && ((configuration) => new RTCPeerConnection(configuration)));
    if (create && options.media !== false) this.#host = this.#hosting(create);
    this.#probes = options.probes ?? new Probes();
    this.#mover = new Mover({
      clock: this.#clock,
      random: options.random ?? Math.random,
      peers: () => this.peers.values(),
      onto: (edge) => this.#ice.edges[0]?.edge === edge,
      offered: () => this.#ice.offered,
    });
    this.#connections = new Connections({
      clock: this.#clock,
      peers: () => this.peers.values(),
      say: (frame) => this.state === 'connected' && this.#signaling.say(frame),
    });
    this.#wire();
  }

  /** Whether a relay is there to use. */
  get hasRelay() {
    return this.#ice.servers.length > 0;
  }

  /** The signaling round trip in milliseconds, once measured. */
  get signalingRttMs() {
    return this.#signaling.rttMs;
  }

  /** The tracks that one shows. */
  get published() {
    return [...this.#published.keys()];
  }

  /**
   * Joins. Resolves when one is in, rejects when one may not be or nothing answers in time. Where somebody has to let
   * one in (the event `waiting`), it waits for that as long as it takes.
   * @returns {Promise<Room>}
   */
  join() {
    return new Promise((resolve, reject) => {
      const within = this.#options.timeoutMs ?? 20_000;
      const timer = this.#clock.setTimeout(() => {
        reject(new ChappeError('timeout', `no node answered within ${within} ms`));
        this.#signaling.leave();
      }, within);
      const waits = () => this.#clock.clearTimeout(timer);
      const settle = (state, error) => {
        if (state === 'reconnecting') return;
        waits();
        this.#signaling.off('waiting', waits);
        this.#signaling.off('state', settle);
        if (state === 'connected') resolve(this);
        else reject(error);
      };
      this.#signaling.on('waiting', waits);
      this.#signaling.on('state', settle);
      this.#unlisten = this.#listen();
      this.#signaling.start();
    });
  }

  // ------------------------------------------------------------------ media

  /** Whether sending media was taken away: what is published goes to nobody until it is given back. */
  get muted() {
    return this.me?.withheld.includes('publish') ?? false;
  }

  /** Shows a track, or all of a stream, to everybody. */
  publish(media) {
    const tracks = media.getTracks ? media.getTracks().map((track) => [track, media]) : [[media, undefined]];
    for (const [track, stream] of tracks) {
      if (this.#published.has(track)) continue;
      const streams = stream ? [stream] : [];
      this.#published.set(track, streams);
      if (!this.muted) for (const { pair } of this.peers.values()) pair?.addTrack(track, streams);
    }
  }

  /** Shows it no longer. The track goes on: it is the application's. */
  unpublish(media) {
    for (const track of media.getTracks ? media.getTracks() : [media]) {
      if (!this.#published.delete(track)) continue;
      for (const { pair } of this.peers.values()) pair?.removeTrack(track);
    }
  }

  /** Shows another track in the place of one, without a negotiation. */
  async replaceTrack(old, track) {
    const streams = this.#published.get(old);
    if (!streams) throw new ChappeError('not_published', 'that track is not published');
    this.#published.delete(old);
    this.#published.set(track, streams);
    await Promise.all([...this.peers.values()].map(({ pair }) => pair?.replaceTrack(old, track)));
  }

  // ------------------------------------------------------------------ words

  /**
   * Sends a signal of the application's own kind.
   * @returns {Promise<void>} Resolves when the peer's client has it, rejects when it never will.
   */
  send(peer, kind, payload) {
    if (OWN_KINDS.has(kind)) return Promise.reject(new ChappeError('bad_kind', `${kind} is the SDK's own`));
    return this.#signaling.signal(peer.id ?? peer, kind, payload);
  }

  /** To all others, best effort. */
  broadcast(payload) {
    this.#signaling.say({ type: 'broadcast', payload });
  }

  /** Changes what others see: `name`, `metadata`. */
  update({ name, metadata }) {
    this.#signaling.say({ type: 'update', name, metadata });
  }

  /** Removes a peer; needs the grant `admin`. Resolves when it is out. */
  kick(peer, { ban } = {}) {
    const id = peer.id ?? peer;
    return new Promise((resolve, reject) => {
      const settle = (error) => {
        this.#clock.clearTimeout(timer);
        this.#kicks.delete(id);
        if (error) reject(error);
        else resolve();
      };
      const timer = this.#clock.setTimeout(() => settle(new ChappeError('timeout', 'no answer to the kick')), KICK_MS);
      this.#kicks.set(id, settle);
      this.#signaling.say({ type: 'kick', peer: id, ban });
    });
  }

  /** Takes grants of a peer away, `publish` unless said otherwise; needs the grant `admin`. All see it. */
  mute(peer, { grants } = {}) {
    this.#signaling.say({ type: 'mute', peer: peer.id ?? peer, grants });
  }

  /** Gives them back. */
  unmute(peer, { grants } = {}) {
    this.#signaling.say({ type: 'unmute', peer: peer.id ?? peer, grants });
  }

  /** Lets somebody in who waits; needs the grant `admin`. Where there is no place, `error` says so. */
  admit(knock) {
    this.#signaling.say({ type: 'admit', peer: knock.id ?? knock });
  }

  /** Turns somebody away who waits, with a word that it is told; needs the grant `admin`. */
  deny(knock, reason) {
    this.#signaling.say({ type: 'deny', peer: knock.id ?? knock, reason });
  }

  /** Leaves for good. Published tracks go on: they are the application's. */
  leave() {
    this.#signaling.leave();
  }

  /** Statistics by peer id. */
  async stats() {
    const peers = [...this.peers.values()];
    const all = await Promise.all(peers.map((peer) => peer.stats()));
    return new Map(peers.map((peer, i) => [peer.id, all[i]]));
  }

  /** The path to a peer, or undefined. */
  path(peer) {
    return this.peers.get(peer.id ?? peer)?.path;
  }

  // ------------------------------------------------------------------ what the cluster says

  #wire() {
    const signaling = this.#signaling;
    // What a former room's session says in the end is of no interest.
    const on = (type, handler) => signaling.on(type, (...args) => signaling === this.#signaling && handler(...args));
    on('state', (state, reason) => this.#state(state, reason));
    on('welcome', (frame, { fresh }) => this.#welcome(frame, fresh));
    on('waiting', ({ position }) => this.emit('waiting', { position }));
    on('knock', (frame) => this.#knock(frame));
    on('knock_gone', ({ peer }) => this.#knockGone(peer));
    on('gone', () => this.#clear('gone'));
    on('peer_joined', (frame) => this.#joined(frame, false));
    on('peer_left', ({ peer, reason }) => this.#left(peer, reason));
    on('peer_updated', (frame) => this.#updated(frame));
    on('signal', (frame) => this.#signal(frame));
    on('broadcast', ({ from, payload, n }) => this.emit('broadcast', { from, peer: this.peers.get(from), payload, n }));
    on('gap', (missed) => this.emit('gap', missed));
    on('ice_servers', (frame) => this.#iceServers(frame));
    on('error', (error) => this.#error(error));
    on('wake', () => this.#awake());
    on('moved', ({ room, token }) => this.#move(room, token));
  }

  /** To another room: its people are others, and one's own media the same. */
  #move(name, token) {
    const former = this.#signaling;
    const { name: shown, metadata } = this.me;
    this.#movedFrom = this.name;
    this.name = name;
    this.#signaling = new Signaling({ ...this.#options, room: name, name: shown, metadata, token });
    this.#wire();
    former.leave(new ChappeError('moved', `one was moved to the room ${name}`));
    this.#clear('moved');
    this.emit('moved', { from: this.#movedFrom, room: name });
    this.#state('reconnecting');
    this.#signaling.start();
  }

  #state(state, reason) {
    if (state === 'connected') this.#movedFrom = undefined;
    if (state === 'disconnected' && this.#movedFrom && reason.code !== 'left') {
      // Not a room that was lost: one that one never got into.
      const why = reason.message.replace(`${reason.code}: `, '');
      reason = new ChappeError(reason.code, `moved from ${this.#movedFrom} to ${this.name}, which did not let one in: ${why}`);
    }
    this.state = state;
    this.reason = reason;
    this.#steadySince = state === 'connected' ? this.#clock.now() : Infinity;
    if (state === 'disconnected') {
      this.#clear(reason.code);
      this.#mover.stop();
      this.#connections.stop();
      this.#clock.clearTimeout(this.#probing);
      if (!this.#leftByPage) this.#unlisten();
    }
    this.emit('state', state, reason);
    if (state === 'disconnected') this.emit('closed', reason);
  }

  #welcome(frame, fresh) {
    const { name, metadata } = this.#options;
    const withheld = this.me?.withheld ?? [];
    this.me = { id: frame.peer, identity: frame.identity, grants: frame.grants, withheld, name: this.me?.name ?? name, metadata: this.me?.metadata ?? metadata };
    this.#withhold(frame.withheld ?? []);
    this.limits = frame.limits;
    this.#store({ ...frame, reason: 'welcome' });
    const rebuilt = frame.type === 'rebuilt';
    const roster = new Set(frame.roster.map(({ peer }) => peer));
    for (const peer of [...this.peers.values()]) {
      if (roster.has(peer.id)) continue;
      // A rebuilt room may not have seen everybody yet: their connections go on for a grace.
      if (rebuilt) this.#missing(peer, frame.limits.grace_ms);
      else this.#left(peer.id, 'lost');
    }
    for (const view of frame.roster) this.#joined(view, fresh || rebuilt);
    const waiting = frame.waiting ?? [];
    for (const id of [...this.waiting.keys()]) if (!waiting.some(({ peer }) => peer === id)) this.#knockGone(id);
    for (const knock of waiting) this.#knock(knock);
    if (this.#host) this.#connections.welcome(frame.limits.connections_max);
    // The socket is another one: so may the network be, and what the node knows of us.
    this.#probes.forget();
    this.#probe(PROBE_AFTER_MS);
  }

  /** What is taken away from oneself: tracks leave every connection, and come back with the grant. */
  #withhold(withheld) {
    const before = this.me.withheld;
    if (before.length === withheld.length && withheld.every((grant) => before.includes(grant))) return;
    const was = this.muted;
    this.me.withheld = withheld;
    for (const { pair } of was === this.muted ? [] : this.peers.values()) {
      for (const [track, streams] of this.#published) {
        if (this.muted) pair?.removeTrack(track);
        else pair?.addTrack(track, streams);
      }
    }
    this.emit('withheld', withheld);
  }

  #knock({ peer: id, identity, name, metadata }) {
    if (this.waiting.has(id)) return;
    const knock = { id, identity, name, metadata };
    this.waiting.set(id, knock);
    this.emit('knock', knock);
  }

  #knockGone(id) {
    const knock = this.waiting.get(id);
    if (this.waiting.delete(id)) this.emit('knock-gone', knock);
  }

  #missing(peer, grace) {
    if (!peer.away) this.#updated({ peer: peer.id, change: 'away' });
    this.#clock.clearTimeout(this.#graces.get(peer.id));
    this.#graces.set(peer.id, this.#clock.setTimeout(() => this.#left(peer.id, 'lost'), grace));
  }

  /** Somebody is here. With `newcomer` it is we who are new to them, and offer. */
  #joined(view, newcomer) {
    const known = this.peers.get(view.peer);
    if (known) {
      this.#clock.clearTimeout(this.#graces.get(view.peer));
      this.#graces.delete(view.peer);
      const { away } = known;
      known.see(view);
      this.emit('peer-updated', known, away && !known.away ? 'back' : 'metadata'); // and perhaps what is withheld
      return;
    }
    const peer = new Peer(view, this.#host);
    this.peers.set(peer.id, peer);
    peer.on('track', (event) => this.emit('track', { ...event, peer }));
    peer.on('track-removed', (event) => this.emit('track-removed', { ...event, peer }));
    peer.on('connection', (state) => {
      this.#connections.changed();
      this.emit('connection', { peer, state });
    });
    peer.on('candidates', () => this.#connections.changed());
    peer.on('path', (path) => this.emit('relay', { peer, path }));
    peer.on('quality', (quality) => this.emit('quality', { peer, quality }));
    peer.on('restart', (how) => this.#restarted(peer, how));
    peer.on('ice-failed', (edge, kind) => this.#iceFailed(edge, kind));
    peer.on('error', (error) => this.emit('error', error, peer));
    this.emit('peer-joined', peer);
    if (newcomer) peer.pair?.begin();
  }

  #left(id, reason) {
    this.#clock.clearTimeout(this.#graces.get(id));
    this.#graces.delete(id);
    if (reason === 'kicked' || reason === 'banned') this.#kicks.get(id)?.();
    const peer = this.peers.get(id);
    if (!peer) return;
    this.peers.delete(id);
    peer.close();
    this.#connections.changed();
    this.emit('peer-left', peer, reason);
  }

  #clear(reason) {
    for (const id of [...this.peers.keys()]) this.#left(id, reason);
    for (const id of [...this.waiting.keys()]) this.#knockGone(id);
    for (const settle of [...this.#kicks.values()]) settle(new ChappeError(reason));
  }

  #updated({ peer: id, change, name, metadata, withheld }) {
    const peer = this.peers.get(id);
    if (change === 'withheld') {
      if (id === this.me?.id) this.#withhold(withheld);
      if (peer) peer.withheld = withheld;
    } else if (change === 'metadata') {
      if (id === this.me?.id) {
        Object.assign(this.me, { name, metadata });
        this.emit('updated', this.me);
      }
      peer?.see({ name, metadata });
    } else if (peer) {
      peer.away = change === 'away';
    }
    if (peer) this.emit('peer-updated', peer, change);
  }

  #signal({ from, kind, payload, connection }) {
    const peer = this.peers.get(from);
    if (!OWN_KINDS.has(kind)) this.emit('signal', { from, peer, kind, payload });
    else peer?.pair?.take({ kind, payload, connection });
  }

  #error(error) {
    // A refused kick is told by no name: it belongs to the oldest that waits.
    const [kick] = this.#kicks.values();
    if (kick && (error.code === 'forbidden' || error.code === 'bad_peer')) kick(error);
    else this.emit('error', error);
  }

  // ------------------------------------------------------------------ relays

  #store(frame) {
    const had = this.hasRelay;
    this.#ice.store(frame);
    this.#mover.drain(this.#ice.draining);
    this.emit('ice-servers', { servers: this.#ice.servers, edges: this.#ice.edges, reason: frame.reason, lost: frame.lost });
    if (!this.hasRelay && (had || frame.reason === 'welcome')) this.emit('no-relay');
  }

  /** Should the next restart be needed too, then with the latest servers. */
  #restarted(peer, how) {
    this.emit('restart', { peer, how });
    if (how === 'move') return; // with the servers that it was sent for this
    const now = this.#clock.now();
    if (now - this.#askedForIceAt < ASK_ICE_MS) return;
    this.#askedForIceAt = now;
    this.#signaling.say({ type: 'ice' });
  }

  /** The cluster judges an edge by how many clients say this of it. */
  #iceFailed(edge, kind) {
    // Where our own network has failed, no edge is to blame.
    const steady = this.#clock.now() - this.#steadySince >= BLAME_AFTER_MS;
    if (edge && (steady || kind !== 'stalled') && this.state === 'connected') this.#signaling.say({ type: 'ice_failed', edge, kind });
  }

  #iceServers(frame) {
    const had = this.hasRelay;
    this.#store(frame);
    if (frame.reason === 'closer' && frame.edges.length > 0) this.#mover.closer(frame.edges[0].edge);
    if (this.#probes.due(this.#ice.edges).length > 0) this.#probe(PROBE_SOON_MS);
    if (!had && this.hasRelay) for (const peer of this.peers.values()) peer.suspect();
    // A hint: only those restart who really receive nothing.
    if (frame.reason === 'edge_lost') {
      for (const peer of this.peers.values()) if (peer.path?.edge === frame.lost) peer.suspect();
    }
  }

  #probe(after) {
    if (this.#ice.edges.length === 0 || !this.#host) return;
    this.#clock.clearTimeout(this.#probing);
    this.#probing = this.#clock.setTimeout(async () => {
      const edges = await this.#probes.measure(this.#ice.edges);
      // What one pair's round trip takes over an edge is more than the way to that edge.
      for (const { path } of this.peers.values()) {
        if (path?.edge in edges && path.url && path.rttMs < edges[path.edge]) edges[path.edge] = path.rttMs;
      }
      if (this.state === 'connected' && Object.keys(edges).length > 0) this.#signaling.say({ type: 'probes', edges });
    }, after);
  }

  // ------------------------------------------------------------------ the page and the device

  #hosting(create) {
    const configuration = () => {
      const { rtcConfig = {}, iceTransportPolicy } = this.#options;
      return {
        bundlePolicy: 'max-bundle',
        ...rtcConfig,
        iceServers: [...this.#ice.servers, ...(rtcConfig.iceServers ?? [])],
        ...(iceTransportPolicy && { iceTransportPolicy }),
      };
    };
    const random = this.#options.random ?? Math.random;
    return {
      clock: this.#clock,
      configuration,
      createConnection: () => create(configuration()),
      newId: () => Array.from({ length: 16 }, () => Math.floor(random() * 16).toString(16)).join(''),
      tracks: () => (this.muted ? [] : [...this.#published].map(([track, streams]) => ({ track, streams }))),
      // A connection's own signals: when they cannot arrive, the peer is gone or the session is.
      send: (to, kind, payload, connection) => this.#signaling.signal(to, kind, payload, connection).catch(() => {}),
      signaling: () => this.state === 'connected',
      offered: () => this.#ice.offered,
      edgeOf: (candidate) => this.#ice.edgeOf(candidate),
      // Per pair, not per peer: whichever id sorts lower.
      polite: (id) => this.me.id < id,
    };
  }

  #awake() {
    this.#unsteady();
    for (const peer of this.peers.values()) peer.awake();
  }

  #unsteady() {
    if (this.state === 'connected') this.#steadySince = this.#clock.now();
  }

  #listen() {
    const target = this.#options.window ?? globalThis.window;
    if (!target?.addEventListener) return () => {};
    const { document, navigator } = target;
    const network = navigator?.connection;
    const hint = () => this.#signaling.hint();
    const changed = () => {
      hint();
      this.#unsteady();
      this.#probes.forget();
      for (const peer of this.peers.values()) peer.suspect();
      this.#probe(PROBE_AFTER_MS);
    };
    const visible = () => document.visibilityState === 'visible' && hint();
    const hide = () => {
      this.#leftByPage = true;
      this.leave();
    };
    const show = ({ persisted }) => {
      if (!persisted || !this.#leftByPage) return;
      this.#leftByPage = false;
      this.#signaling.start();
    };
    const all = [[target, 'online', changed], [network, 'change', changed], [document, 'visibilitychange', visible],
      [target, 'pagehide', hide], [target, 'pageshow', show]];
    for (const [on, type, f] of all) on?.addEventListener?.(type, f);
    return () => {
      for (const [on, type, f] of all) on?.removeEventListener?.(type, f);
    };
  }
}
