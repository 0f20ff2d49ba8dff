// A clock that is turned by hand, a network that loses what it is told to lose, and a node that
// keeps PROTOCOL.md's promises to the letter. Everything is decided by a seed.

/** A seeded source of chance (mulberry32). */
export function chance(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Time passes only in `advance`. */
export class FakeClock {
  #now = 1000;
  #timers = new Map();
  #next = 1;

  now = () => this.#now;

  setTimeout = (f, ms) => {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + Math.max(0, ms), f, id });
    return id;
  };

  clearTimeout = (id) => {
    this.#timers.delete(id);
  };

  /** Lets `ms` pass, with every timer in its order and all promises in between. */
  async advance(ms) {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      let first;
      for (const timer of this.#timers.values()) {
        if (timer.at <= end && (!first || timer.at < first.at || (timer.at === first.at && timer.id < first.id))) first = timer;
      }
      if (!first) break;
      this.#timers.delete(first.id);
      this.#now = Math.max(this.#now, first.at);
      first.f();
      await settle();
    }
    this.#now = end;
  }

  /** The device sleeps: no timer runs until it is over. */
  sleep(ms) {
    this.#now += ms;
  }

  /** Until `done()` holds; fails after `ms`. */
  async until(done, ms = 60_000) {
    for (let passed = 0; passed < ms; passed += 5) {
      if (done()) return;
      await this.advance(5);
    }
    throw new Error(`not within ${ms} ms: ${done}`);
  }
}

async function settle() {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** Sockets to nodes by URL, with a delay each way. */
export class FakeNetwork {
  nodes = new Map();
  pipes = new Set();
  opened = []; // URLs, in the order in which they were tried

  constructor(clock, { delay = 5 } = {}) {
    this.clock = clock;
    this.delay = delay;
    const network = this;
    this.WebSocket = class FakeWebSocket {
      constructor(url) {
        this.url = url;
        this.readyState = 0;
        this.bufferedAmount = 0;
        network.opened.push(url);
        const node = network.nodes.get(url);
        network.clock.setTimeout(() => {
          if (this.readyState !== 0 || node?.mute) return; // mute: not even a refusal
          if (!node) return this.#end(1006);
          this.readyState = 1;
          this.pipe = new Pipe(network, this, node);
          this.onopen?.();
        }, node?.opensAfter ?? network.delay);
      }

      send(text) {
        if (this.readyState !== 1) throw new Error('not open');
        this.pipe.up(text);
      }

      close(code = 1005) {
        if (this.readyState >= 2) return;
        this.readyState = 3;
        this.pipe?.closedByClient(code);
      }

      #end(code) {
        this.readyState = 3;
        this.onclose?.({ code, reason: '' });
      }

      ended(code) {
        if (this.readyState < 2) this.#end(code);
      }
    };
  }

  /** Every connection is reset: what is in flight is lost. */
  reset() {
    for (const pipe of [...this.pipes]) pipe.reset();
  }
}

class Pipe {
  open = true; // towards the node
  hole = false; // swallows everything, and says nothing

  constructor(network, socket, node) {
    Object.assign(this, { network, socket, node });
    network.pipes.add(this);
    node.connected(this);
  }

  up(text) {
    this.network.clock.setTimeout(() => {
      if (this.open && !this.hole) this.node.heard(this, JSON.parse(text));
    }, this.network.delay);
  }

  down(frame) {
    const text = JSON.stringify(frame);
    this.network.clock.setTimeout(() => {
      if (this.open && !this.hole && this.socket.readyState === 1) this.socket.onmessage?.({ data: text });
    }, this.network.delay);
  }

  close(code) {
    this.network.clock.setTimeout(() => {
      if (!this.open || this.hole) return;
      this.#gone();
      this.socket.ended(code);
    }, this.network.delay);
  }

  closedByClient() {
    this.network.clock.setTimeout(() => {
      if (this.open && !this.hole) this.#gone();
    }, this.network.delay);
  }

  reset() {
    this.#gone();
    this.socket.ended(1006);
  }

  #gone() {
    if (!this.open) return;
    this.open = false;
    this.network.pipes.delete(this);
    this.node.disconnected(this);
  }
}

const LIMITS = {
  frame_max: 65536, payload_max: 57344, metadata_max: 4096, unacked_max: 64, unacked_bytes_max: 262144,
  ping_every_ms: 10000, silent_after_ms: 25000, grace_ms: 30000, capacity: 16, frames_burst: 200, frames_per_sec: 100,
};

/** What all nodes know together: rooms and their sessions. */
export class FakeCluster {
  sessions = new Map(); // peer -> session
  tokens = new Map(); // resume token -> session
  limits = { ...LIMITS };
  iceServers = [{ urls: ['turn:edge.example:3478'], username: 'u', credential: 'c' }];
  edges = [{ edge: 'e1', region: 'here', urls: ['stun:edge.example:3478'] }];
  nodeUrls = [];
  #ids = 0;

  constructor(clock, random) {
    this.clock = clock;
    this.random = random;
  }

  id(prefix) {
    // Random, so that neither who came first nor who is polite follows from the order.
    const digits = Array.from({ length: 18 }, () => '0123456789abcdefghijklmnopqrstuv'[Math.floor(this.random() * 32)]);
    return prefix + digits.join('') + String(this.#ids++).padStart(6, '0');
  }

  others(session) {
    return [...this.sessions.values()].filter((other) => other !== session && other.room === session.room);
  }
}

/** One node of it. `heardFrames` keeps what came, for tests to look at. */
export class FakeNode {
  heardFrames = [];
  refuse = null; // a frame to answer joins with
  resumeAs = 'resumed';
  mute = false;

  constructor(cluster) {
    this.cluster = cluster;
  }

  connected() {}

  disconnected(pipe) {
    if (pipe.session?.pipe === pipe) this.#away(pipe.session);
  }

  #away(session) {
    session.pipe = null;
    for (const other of this.cluster.others(session)) {
      other.pipe?.down({ type: 'peer_updated', peer: session.peer, change: 'away' });
    }
  }

  heard(pipe, frame) {
    this.heardFrames.push(frame);
    if (frame.type === 'join') return this.#join(pipe, frame);
    if (pipe.session?.pipe !== pipe) return undefined;
    const handler = { signal: this.#signal, ack: this.#ack, broadcast: this.#broadcast, leave: this.#leave,
      ping: this.#ping, update: this.#update, kick: this.#kick, ice: this.#ice,
      mute: this.#mute, unmute: this.#mute }[frame.type];
    return handler?.call(this, pipe.session, frame);
  }

  #join(pipe, frame) {
    const { cluster } = this;
    if (this.refuse) {
      pipe.down(this.refuse);
      if (this.refuse.type === 'error') pipe.down({ type: 'closed', code: 'refused', message: '', resume: false });
      if (this.refuse.type === 'error') pipe.close(4023);
      return;
    }
    let session;
    if (frame.resume) {
      session = cluster.tokens.get(frame.resume);
      if (!session) return pipe.down({ type: 'gone', reason: 'unknown' });
      const old = session.pipe;
      session.pipe = pipe;
      if (old) {
        old.down({ type: 'closed', code: 'replaced', message: '', resume: false });
        old.close(4010);
      }
    } else {
      session = { peer: cluster.id('p_'), session: cluster.id('s_'), room: frame.room, name: frame.name,
        metadata: frame.metadata, identity: frame.identity, pipe, inboxes: new Map(), n: 0 };
      for (const other of cluster.others(session)) {
        if (frame.identity && other.identity === frame.identity) this.end(other, 'replaced');
      }
      cluster.sessions.set(session.peer, session);
    }
    pipe.session = session;
    session.joined = frame;
    const resume = cluster.id('t_');
    cluster.tokens.set(resume, session);
    pipe.down({
      type: frame.resume ? this.resumeAs : 'welcome', session: session.session, resume, peer: session.peer,
      room: session.room, identity: session.identity, grants: ['join', 'create', 'broadcast'], withheld: session.withheld, waiting: this.waiting,
      roster: cluster.others(session).map(view), broadcasts: cluster.broadcasts ?? 0,
      ice_servers: cluster.iceServers, ice_ttl_ms: 3600000, edges: cluster.edges, nodes: cluster.nodeUrls, limits: cluster.limits,
    });
    const news = frame.resume ? { type: 'peer_updated', peer: session.peer, change: 'back' } : { type: 'peer_joined', ...view(session) };
    for (const other of cluster.others(session)) other.pipe?.down(news);
    if (!frame.resume) return;
    for (const [from, id] of Object.entries(frame.marks)) this.#ack(session, { from, id });
    for (const [from, box] of session.inboxes) for (const held of box.held) pipe.down({ ...held, from });
  }

  /** Receives for `to`: ids in order, held until acknowledged. */
  #signal(session, frame) {
    const { to, id } = frame;
    const receiver = this.cluster.sessions.get(to);
    if (!receiver || receiver.room !== session.room) return session.pipe.down({ type: 'undelivered', to, id, reason: 'unknown' });
    let box = receiver.inboxes.get(session.peer);
    if (!box) receiver.inboxes.set(session.peer, (box = { last: 0, acked: 0, held: [] }));
    if (id <= box.acked) return session.pipe.down({ type: 'delivered', to, id: box.acked });
    if (id <= box.last) return undefined;
    if (id > box.last + 1) return session.pipe.down({ type: 'error', code: 'bad_id', message: '', to, id });
    if (box.held.length >= this.cluster.limits.unacked_max || this.busy?.(frame)) {
      return session.pipe.down({ type: 'error', code: 'busy', message: '', to, id, retry_after_ms: 250 });
    }
    box.last = id;
    const { to: _, ...held } = frame;
    box.held.push(held);
    // Now and then twice, as after a change of owner.
    for (let n = this.cluster.random() < 0.1 ? 2 : 1; n > 0; n--) receiver.pipe?.down({ ...held, from: session.peer });
    return undefined;
  }

  #ack(session, { from, id }) {
    const box = session.inboxes.get(from);
    if (!box || id <= box.acked) return;
    box.acked = id;
    box.held = box.held.filter((held) => held.id > id);
    this.cluster.sessions.get(from)?.pipe?.down({ type: 'delivered', to: session.peer, id });
  }

  #broadcast(session, { payload }) {
    this.cluster.broadcasts = (this.cluster.broadcasts ?? 0) + 1;
    for (const other of this.cluster.others(session)) {
      other.pipe?.down({ type: 'broadcast', from: session.peer, n: this.cluster.broadcasts, payload });
    }
  }

  #ping(session, { t }) {
    session.pipe.down({ type: 'pong', t });
  }

  #ice(session) {
    session.pipe.down({ type: 'ice_servers', ice_servers: this.cluster.iceServers, ice_ttl_ms: 3600000, edges: this.cluster.edges, reason: 'requested' });
  }

  #update(session, { name, metadata }) {
    if (name !== undefined) session.name = name;
    if (metadata !== undefined) session.metadata = metadata;
    for (const other of [session, ...this.cluster.others(session)]) {
      other.pipe?.down({ type: 'peer_updated', peer: session.peer, change: 'metadata', name: session.name, metadata: session.metadata });
    }
  }

  #kick(session, { peer }) {
    const other = this.cluster.sessions.get(peer);
    if (other) this.end(other, 'kicked', 4011);
  }

  #mute(session, { type, peer, grants = ['publish'] }) {
    const muted = this.cluster.sessions.get(peer);
    const others = (muted.withheld ?? []).filter((grant) => !grants.includes(grant));
    muted.withheld = type === 'mute' ? [...others, ...grants] : others;
    for (const one of [muted, ...this.cluster.others(muted)]) {
      one.pipe?.down({ type: 'peer_updated', peer, change: 'withheld', withheld: muted.withheld });
    }
  }

  #leave(session) {
    this.end(session, 'left', 1000);
  }

  /** A session is over. */
  end(session, reason, code = 4010) {
    const { pipe } = session;
    pipe?.down({ type: 'closed', code: reason, message: '', resume: false });
    pipe?.close(code);
    session.pipe = null;
    this.forget(session);
    for (const other of this.cluster.others(session)) other.pipe?.down({ type: 'peer_left', peer: session.peer, reason });
  }

  /** As after a grace that is over, or a cluster that lost everything. */
  forget(session) {
    this.cluster.sessions.delete(session.peer);
    for (const [token, held] of this.cluster.tokens) if (held === session) this.cluster.tokens.delete(token);
  }
}

function view({ peer, name, metadata, identity, pipe, withheld }) {
  return { peer, identity, name, metadata, away: pipe === null, withheld };
}
