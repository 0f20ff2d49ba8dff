// The tests themselves, each bounded in time: STUN, data through a relay and back, signaling's WebSocket.

/** A URL that has not answered by then does not answer: libwebrtc gives up a STUN request after as long. */
const URL_WITHIN = 10_000;
/** Pings and the burst together take this long at most. */
const MEASURE_WITHIN = 4_000;
const PINGS = 10;
/** A burst ends after so many bytes, or so long, whichever is first. */
const BURST_BYTES = 1_000_000;
const BURST_WITHIN = 1_000;
const CHUNK = new Uint8Array(16_000);
/** What may wait to be sent; enough for 20 Mbit/s over 100 ms. */
const BUFFERED = 256_000;

/** Ends when the reader cancels, or in so many milliseconds. */
const within = (ms, cancelled) => AbortSignal.any([cancelled, AbortSignal.timeout(ms)]);

/** What `ask` answers, asked again at each of those events; undefined at the end. */
function until(end, sources, ask) {
  return new Promise((resolve) => {
    const over = new AbortController();
    const look = () => {
      if (over.signal.aborted) return;
      const value = ask();
      if (!value && !end.aborted) return;
      over.abort();
      resolve(value || undefined);
    };
    for (const [source, ...types] of sources) {
      for (const type of types) source.addEventListener(type, look, { signal: over.signal });
    }
    end.addEventListener('abort', look, { signal: over.signal });
    look();
  });
}

const GATHERING = ['icecandidate', 'icecandidateerror', 'icegatheringstatechange'];

/** Notes what a connection gathers. */
function watch(connection) {
  const seen = { candidates: [], errors: [] };
  connection.addEventListener('icecandidate', ({ candidate, url }) => {
    if (!candidate?.candidate) return;
    const { type, protocol, address, port, priority, foundation } = candidate;
    const by = candidate.url ?? url ?? '';
    // Chromium says nothing of UDP.
    const relayProtocol = candidate.relayProtocol ?? (type === 'relay' ? /transport=(\w+)/.exec(by)?.[1] : undefined);
    const at = address?.includes(':') ? `[${address}]:${port}` : `${address ?? '?'}:${port}`;
    seen.candidates.push({ type, protocol, address: at, ip: address, port, priority, foundation, relayProtocol, url: by });
  });
  connection.addEventListener('icecandidateerror', ({ errorCode, errorText }) => seen.errors.push({ code: errorCode, text: errorText }));
  return seen;
}

/** Of what a connection was refused: a server's own code says more than that it was not reached. */
function faultOf(seen, end) {
  const error = seen.errors.find(({ code }) => code !== 701) ?? seen.errors[0];
  if (error && /timed out/i.test(error.text ?? '')) return { kind: 'silent', ...error };
  if (error?.code === 701 && /lookup/i.test(error.text ?? '')) return { kind: 'lookup', ...error };
  if (error?.code === 701) return { kind: 'refused', ...error };
  if (error) return { kind: 'code', ...error };
  return { kind: end.aborted ? 'silent' : 'refused' };
}

/** Whether an edge tells this machine its address. */
export async function stun({ url }, { cancelled }) {
  const [connection, end, began] = [new RTCPeerConnection({ iceServers: [{ urls: url }] }), within(URL_WITHIN, cancelled), performance.now()];
  const seen = watch(connection);
  try {
    connection.createDataChannel('test');
    await connection.setLocalDescription(await connection.createOffer());
    const reflexive = () => seen.candidates.some(({ type }) => type === 'srflx');
    const complete = () => connection.iceGatheringState === 'complete';
    await until(end, [[connection, ...GATHERING]], () => reflexive() || complete());
    // Without a NAT the address is a host candidate already, and browsers do not tell it twice.
    const answered = reflexive() || (complete() && seen.errors.length === 0);
    const firstMs = answered ? performance.now() - began : undefined;
    return { firstMs, fault: answered ? undefined : faultOf(seen, end), candidates: seen.candidates };
  } finally {
    connection.close();
  }
}

/** The addresses that several edges see of one socket, and its own, which browsers hide behind a name. */
export async function mapped(urls, { cancelled }) {
  const [connection, end] = [new RTCPeerConnection({ iceServers: [{ urls }] }), within(URL_WITHIN, cancelled)];
  const seen = watch(connection);
  try {
    connection.createDataChannel('test');
    await connection.setLocalDescription(await connection.createOffer());
    await until(end, [[connection, ...GATHERING]], () => connection.iceGatheringState === 'complete');
    const of = (kind) => seen.candidates.filter(({ type, protocol }) => type === kind && protocol === 'udp').map(({ foundation, ip, port }) => ({ base: foundation, ip, port }));
    return { mapped: of('srflx'), own: of('host') };
  } finally {
    connection.close();
  }
}

/**
 * Whether data comes to this browser through a relay and back. `say` is told how far it is, and `alone` runs what would
 * disturb the measuring of others.
 */
export async function turn({ url }, { username, credential, cancelled, say, alone }) {
  const configuration = { iceServers: [{ urls: url, username, credential }], iceTransportPolicy: 'relay' };
  const [near, far] = [new RTCPeerConnection(configuration), new RTCPeerConnection(configuration)];
  const [end, began] = [within(URL_WITHIN, cancelled), performance.now()];
  const [seen, others] = [watch(near), watch(far)];
  const found = () => [...seen.candidates, ...others.candidates];
  try {
    const channel = near.createDataChannel('test');
    let other;
    far.addEventListener('datachannel', ({ channel: its }) => (other = answering(its)));
    await introduce(near, far);
    const relay = () => seen.candidates.some(({ type }) => type === 'relay');
    await until(end, [[near, ...GATHERING]], () => relay() || near.iceGatheringState === 'complete');
    if (!relay()) return { fault: faultOf(seen, end), candidates: found() };
    const firstMs = performance.now() - began;
    say('allocated');
    const through = () => channel.readyState === 'open' || [near, far].some(({ connectionState }) => connectionState === 'failed');
    await until(end, [[channel, 'open'], [near, 'connectionstatechange'], [far, 'connectionstatechange']], through);
    if (channel.readyState !== 'open') {
      // The other side's own refusal, as of a quota, says more.
      const refused = others.candidates.length === 0 && others.errors.length > 0;
      return { firstMs, fault: refused ? faultOf(others, end) : { kind: 'mute' }, candidates: found() };
    }
    say('waits to measure');
    const figures = await alone(async () => {
      say('measures');
      const enough = within(MEASURE_WITHIN, cancelled);
      await until(enough, [[far, 'datachannel']], () => other);
      return other ? measure(channel, other, enough) : { fault: { kind: 'mute' } };
    });
    return { firstMs, ...figures, candidates: found() };
  } finally {
    near.close();
    far.close();
  }
}

/** Offer, answer and candidates, from one to the other. */
async function introduce(near, far) {
  let ready;
  const both = new Promise((resolve) => (ready = resolve));
  const pass = (from, to) =>
    from.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate) both.then(() => to.addIceCandidate(candidate)).catch(() => {}); // closed meanwhile
    });
  pass(near, far);
  pass(far, near);
  await near.setLocalDescription(await near.createOffer());
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription(await far.createAnswer());
  await near.setRemoteDescription(far.localDescription);
  ready();
}

/** The far end: sends pings back and counts the rest. */
function answering(channel) {
  const other = { channel, bytes: 0, last: 0 };
  channel.binaryType = 'arraybuffer';
  channel.addEventListener('message', ({ data }) => {
    if (typeof data === 'string') return channel.send(data);
    other.bytes += data.byteLength;
    other.last = performance.now();
  });
  return other;
}

/** A ping goes to the edge and back, and so does its answer: half of both is the round trip to the edge. */
async function measure(channel, other, end) {
  const times = [];
  let got;
  channel.addEventListener('message', ({ data }) => (got = data));
  for (let n = 0; n < PINGS && !end.aborted && channel.readyState === 'open'; n++) {
    const sent = performance.now();
    channel.send(`ping ${n}`);
    await until(end, [[channel, 'message', 'close']], () => got === `ping ${n}` || channel.readyState !== 'open');
    if (got === `ping ${n}`) times.push((performance.now() - sent) / 2);
  }
  if (times.length === 0) return { fault: { kind: 'mute' } };
  const rttMs = times.sort((a, b) => a - b)[times.length >> 1];
  const began = performance.now();
  const sent = await burst(channel, within(BURST_WITHIN, end));
  await until(end, [[other.channel, 'message', 'close']], () => other.bytes >= sent || channel.readyState !== 'open');
  const ms = other.last - began;
  if (other.bytes === 0) return { rttMs, fault: { kind: 'large' } };
  return { rttMs, mbps: ms > 0 ? (other.bytes * 8) / ms / 1000 : undefined };
}

async function burst(channel, end) {
  let sent = 0;
  channel.bufferedAmountLowThreshold = BUFFERED / 4;
  while (sent < BURST_BYTES && !end.aborted && channel.readyState === 'open') {
    if (channel.bufferedAmount > BUFFERED) {
      await until(end, [[channel, 'bufferedamountlow', 'close']], () => channel.bufferedAmount <= BUFFERED / 4 || channel.readyState !== 'open');
      continue;
    }
    const chunk = CHUNK.subarray(0, Math.min(CHUNK.length, BURST_BYTES - sent));
    channel.send(chunk);
    sent += chunk.length;
  }
  return sent;
}

/** Whether a node's signaling opens. Nothing is joined. */
export async function signal({ url }, { cancelled }) {
  const [end, began] = [within(URL_WITHIN, cancelled), performance.now()];
  if (location.protocol === 'https:' && url.startsWith('ws:') && !/^ws:\/\/(127\.|\[::1\]|localhost)/.test(url)) return { fault: { kind: 'mixed' } };
  let socket;
  try {
    socket = new WebSocket(url);
  } catch (error) {
    return { fault: { kind: 'refused', text: error.message } };
  }
  await until(end, [[socket, 'open', 'error', 'close']], () => socket.readyState !== WebSocket.CONNECTING);
  const open = socket.readyState === WebSocket.OPEN;
  socket.close();
  return open ? { firstMs: performance.now() - began } : { fault: { kind: end.aborted ? 'silent' : 'refused' } };
}
