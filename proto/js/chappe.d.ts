// Types of Chappe's browser SDK.

export type RoomState = 'connecting' | 'connected' | 'reconnecting' | 'disconnected';

/** Why something failed. The first three lines are PROTOCOL.md's (sections 3 and 8), the rest the SDK's own. */
export type ErrorCode =
  | 'malformed' | 'unknown_type' | 'too_large' | 'not_joined' | 'already_joined' | 'token_missing' | 'token_invalid'
  | 'token_expired' | 'forbidden' | 'banned' | 'room_full' | 'locked' | 'no_room' | 'bad_id' | 'bad_peer' | 'busy' | 'rate_limited'
  | 'denied' | 'lobby_full' | 'unanswered' | 'unavailable' | 'internal' | 'left' | 'replaced' | 'kicked' | 'room_closed' | 'moved'
  | 'protocol' | 'rate' | 'gone' | 'unknown'
  /** `getToken` failed. */
  | 'token_failed'
  /** Nobody answered in time. */
  | 'timeout'
  /** Too much waits to be sent. */
  | 'overflow'
  /** A signal's kind that is the SDK's own. */
  | 'bad_kind'
  /** That track is not published. */
  | 'not_published';

export class ChappeError extends Error {
  readonly code: ErrorCode;
}

export interface ConnectOptions {
  /** The room's name: 1 to 128 of A-Z a-z 0-9 -_.~:@ */
  room: string;
  /** A node's address; the page's own where neither this nor `urls` is given. */
  url?: string;
  /** Addresses of several nodes: the first to open is used. */
  urls?: string[];
  /** Asked for a JWT at each join; a resume needs none. Throw `{fatal: true}` to end the attempts. */
  getToken?: (about: { room: string }) => string | undefined | Promise<string | undefined>;
  /** A name that others see. */
  name?: string;
  /** Any JSON that others see, of at most `limits.metadata_max` bytes. */
  metadata?: unknown;
  /** Who one is, where anonymous joins are allowed. The newest with an identity replaces the older. */
  identity?: string;
  /** Shown to everybody from the first offer on. */
  publish?: MediaStream | MediaStreamTrack;
  /** Merged into every connection's configuration; its `iceServers` are added to the cluster's. */
  rtcConfig?: RTCConfiguration;
  /** `relay`: only through a relay. */
  iceTransportPolicy?: RTCIceTransportPolicy;
  /** `false`: words only, no RTCPeerConnection. */
  media?: boolean;
  /** For `join` to get an answer, in milliseconds; 20,000. */
  timeoutMs?: number;
}

/** Somebody who waits to be let in. */
export interface Knock {
  /** The peer that it is going to be. */
  readonly id: string;
  readonly identity?: string;
  readonly name?: string;
  readonly metadata?: any;
}

/** A grant that can be taken away and given back: sending media, broadcasting. */
export type Withheld = 'publish' | 'broadcast';

export interface Me {
  readonly id: string;
  readonly identity?: string;
  readonly name?: string;
  readonly metadata?: any;
  readonly grants: ('join' | 'create' | 'admin' | 'hidden' | 'broadcast')[];
  /** Of what one may do, what was taken away for now. */
  readonly withheld: Withheld[];
}

export interface Path {
  kind: 'direct' | 'relay';
  /** What this side speaks first: `udp`, `tcp` or `tls`. */
  protocol: string;
  /** Whether the relay is this side's own; else it is the other side's. */
  own: boolean;
  /** The TURN URL, where the relay is one's own and the browser tells. */
  url?: string;
  /** The relay's edge, where known. */
  edge?: string;
  region?: string;
  /** To the peer and back, in milliseconds. */
  rttMs?: number;
}

export interface Quality {
  level: 'good' | 'fair' | 'poor' | 'lost';
  /** Of the packets that should have come, 0 to 1. */
  loss: number;
  /** Frames decoded per second, of all its video. */
  fps: number;
  rttMs?: number;
}

export interface Stats {
  rttMs?: number;
  bytesReceived: number;
  bytesSent: number;
  /** ICE connectivity checks received and answered. */
  checks: number;
  local?: RTCIceCandidate & { candidateType: string; relayProtocol?: string; url?: string };
  remote?: RTCIceCandidate & { candidateType: string };
  packetsReceived: number;
  packetsLost: number;
  framesDecoded: number;
  videoBytes: number;
  availableOutgoing?: number;
}

export interface Peer {
  /** Minted per session, never reused. */
  readonly id: string;
  readonly identity?: string;
  readonly name?: string;
  readonly metadata?: any;
  /** Its socket is lost; it may yet return, and its media may well go on. */
  readonly away: boolean;
  /** What was taken away from it for now. */
  readonly withheld: Withheld[];
  readonly connectionState: RTCPeerConnectionState | 'none';
  readonly streams: Map<string, MediaStream>;
  readonly tracks: MediaStreamTrack[];
  readonly path?: Path;
  /** The types of the candidates in use, once connected; with its state all that operators are told of the connection. */
  readonly candidates?: { local?: RTCIceCandidateType; remote?: RTCIceCandidateType };
  readonly quality?: Quality;
  /** The connection, for what the SDK does not do. It may be replaced at any time. */
  readonly connection: RTCPeerConnection | null;
  stats(): Promise<Stats | undefined>;
}

export interface RoomEvents {
  state: (state: RoomState, reason?: ChappeError) => void;
  /** Once, when it is over; `reason.code` says why: `left`, `replaced`, `kicked`, `banned`, `room_closed`... */
  closed: (reason: ChappeError) => void;
  'peer-joined': (peer: Peer) => void;
  'peer-left': (peer: Peer, reason: 'left' | 'lost' | 'replaced' | 'kicked' | 'banned' | 'closed' | 'moved' | string) => void;
  'peer-updated': (peer: Peer, change: 'away' | 'back' | 'metadata' | 'withheld') => void;
  /**
   * One was sent to another room of the app, and goes there by itself: `name` is that room's, those of the former one have
   * left, what is published stays so. `state` is `reconnecting` until one is in; where one is not let in, `closed` says why.
   */
  moved: (event: { from: string; room: string }) => void;
  /** Somebody has to let one in: so many wait before one, and oneself. `join` goes on until there is an answer. */
  waiting: (event: { position: number }) => void;
  /** Somebody waits to be let in; told to those with the grant `admin`. */
  knock: (knock: Knock) => void;
  /** It waits no more: it was let in or turned away, or has gone. */
  'knock-gone': (knock: Knock) => void;
  /** What is taken away from oneself now. Without `publish` nobody is sent one's tracks, until it is given back. */
  withheld: (withheld: Withheld[]) => void;
  /** One's own name or metadata, as all see it now. */
  updated: (me: Me) => void;
  track: (event: { peer: Peer; track: MediaStreamTrack; stream?: MediaStream; streams: MediaStream[]; receiver: RTCRtpReceiver; transceiver: RTCRtpTransceiver }) => void;
  'track-removed': (event: { peer: Peer; track: MediaStreamTrack; stream: MediaStream }) => void;
  /** A signal of the application's own kind, once and in order. `peer` is undefined for one who has left or is hidden. */
  signal: (event: { from: string; peer?: Peer; kind: string; payload: any }) => void;
  /** Without `from` it is an operator's word to all. */
  broadcast: (event: { from?: string; peer?: Peer; payload: any; n: number }) => void;
  /** So many broadcasts were missed. */
  gap: (missed: number) => void;
  connection: (event: { peer: Peer; state: RTCPeerConnectionState }) => void;
  /** A pair takes another path. */
  relay: (event: { peer: Peer; path?: Path }) => void;
  quality: (event: { peer: Peer; quality: Quality }) => void;
  /**
   * The SDK restarts ICE, or replaces the connection, since nothing came any more; or it moves a connection that is
   * well (`move`): away from an edge that is being emptied, or to a nearer one.
   */
  restart: (event: { peer: Peer; how: 'restart' | 'replace' | 'move' }) => void;
  /** Stored for the next connection or restart. */
  'ice-servers': (event: { servers: RTCIceServer[]; edges: { edge: string; region: string; urls: string[] }[]; reason: string; lost?: string }) => void;
  /** No relay is alive: only those who reach each other directly can call. */
  'no-relay': () => void;
  /** Something was refused or failed; the session goes on. */
  error: (error: Error, peer?: Peer) => void;
}

export class Emitter<Events> {
  on<K extends keyof Events>(type: K, listener: Events[K]): this;
  once<K extends keyof Events>(type: K, listener: Events[K]): this;
  off<K extends keyof Events>(type: K, listener?: Events[K]): this;
}

export class Room extends Emitter<RoomEvents> {
  constructor(options: ConnectOptions);
  /** The room's name: another one after `moved`. */
  readonly name: string;
  readonly state: RoomState;
  readonly reason?: ChappeError;
  readonly me: Me | null;
  readonly peers: Map<string, Peer>;
  /** Who waits to be let in, for those with the grant `admin`. */
  readonly waiting: Map<string, Knock>;
  /** The limits in force (`welcome.limits`). */
  readonly limits: Record<string, number> | null;
  /** Whether a relay is there to use. */
  readonly hasRelay: boolean;
  readonly published: MediaStreamTrack[];
  /** Whether sending media was taken away: what is published goes to nobody until it is given back. */
  readonly muted: boolean;
  readonly signalingRttMs?: number;
  /** For a room made with `new`; `connect` has done it. */
  join(): Promise<this>;
  publish(media: MediaStream | MediaStreamTrack): void;
  unpublish(media: MediaStream | MediaStreamTrack): void;
  replaceTrack(old: MediaStreamTrack, track: MediaStreamTrack): Promise<void>;
  /** Resolves when the peer's client has it; rejects with `gone` or `unknown` when it never will. */
  send(peer: Peer | string, kind: string, payload?: unknown): Promise<void>;
  broadcast(payload: unknown): void;
  update(fields: { name?: string; metadata?: unknown }): void;
  kick(peer: Peer | string, options?: { ban?: boolean }): Promise<void>;
  /** Needs the grant `admin`; `publish` unless said otherwise. All see it as `peer-updated`. */
  mute(peer: Peer | string, options?: { grants?: Withheld[] }): void;
  unmute(peer: Peer | string, options?: { grants?: Withheld[] }): void;
  /** Needs the grant `admin`. Where the room is full, `error` says so and the other waits on. */
  admit(knock: Knock | string): void;
  /** Needs the grant `admin`. The other's `join` rejects with `denied` and this reason. */
  deny(knock: Knock | string, reason?: string): void;
  path(peer: Peer | string): Path | undefined;
  stats(): Promise<Map<string, Stats | undefined>>;
  leave(): void;
}

/** Joins a room. Rejects with a ChappeError when one may not, or nobody answers. */
export function connect(options: ConnectOptions): Promise<Room>;
