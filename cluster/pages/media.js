// What one shows: a camera, a microphone, a screen, or a test pattern where there is none.

/** Values of the pickers beside device ids. */
export const PATTERN = 'pattern';
export const NONE = 'none';

/** What all senders of video together may use, in bits a second: a mesh sends to everybody. */
const VIDEO_BUDGET = 3_000_000;
const VIDEO_LEAST = 150_000;
const SCREEN_LEAST = 600_000;

/** Whether this page may ask for a camera at all: a secure context is needed. */
export const canCapture = Boolean(globalThis.navigator?.mediaDevices?.getUserMedia);
export const canShare = Boolean(globalThis.navigator?.mediaDevices?.getDisplayMedia);

/** One's own camera and microphone, as one stream whose tracks come and go. */
export class Own {
  stream = new MediaStream();
  #pattern = null;
  #silence = null;

  get audio() {
    return this.stream.getAudioTracks()[0];
  }

  get video() {
    return this.stream.getVideoTracks()[0];
  }

  /** Whether what is shown is a camera (and to be mirrored to oneself). */
  get isCamera() {
    return Boolean(this.video) && this.#pattern === null;
  }

  /** Whether there is a microphone, muted or not. */
  get hasMic() {
    return Boolean(this.audio) && this.audio !== this.#silence;
  }

  /** Whether one can be heard. */
  get isHeard() {
    return this.hasMic && this.audio.enabled;
  }

  /** What a test pattern says. */
  label(text) {
    if (this.#pattern) this.#pattern.label = text;
  }

  /**
   * Takes what was chosen in the place of what there is.
   * @throws {DOMException} As getUserMedia does; what there was stays.
   */
  async choose({ camera, mic, label }) {
    const wanted = {
      ...(camera !== undefined && camera !== NONE && camera !== PATTERN && { video: cameraWish(camera) }),
      ...(mic !== undefined && mic !== NONE && mic !== PATTERN && { audio: micWish(mic) }),
    };
    const got = Object.keys(wanted).length > 0 ? (await navigator.mediaDevices.getUserMedia(wanted)).getTracks() : [];
    if (camera !== undefined) this.drop('video');
    if (mic !== undefined) this.drop('audio');
    for (const track of got) this.stream.addTrack(track);
    if (camera === PATTERN) {
      this.#pattern = new Pattern(label);
      this.stream.addTrack(this.#pattern.track);
    }
    if (mic === PATTERN) this.stream.addTrack((this.#silence = silence()));
  }

  /** Ends the track of that kind. */
  drop(kind) {
    for (const track of this.stream.getTracks().filter((t) => t.kind === kind)) {
      this.stream.removeTrack(track);
      track.stop();
    }
    if (kind === 'video') {
      this.#pattern?.stop();
      this.#pattern = null;
    }
  }

  stop() {
    this.drop('video');
    this.drop('audio');
  }
}

function cameraWish(id) {
  const size = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
  return id ? { ...size, deviceId: { exact: id } } : size;
}

function micWish(id) {
  const clean = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  return id ? { ...clean, deviceId: { exact: id } } : clean;
}

/** The devices, for pickers; their names are known only after a permission. */
export async function devices() {
  if (!canCapture) return { cameras: [], mics: [] };
  const all = await navigator.mediaDevices.enumerateDevices();
  const of = (kind, word) => all.filter((d) => d.kind === kind).map((d, i) => ({ id: d.deviceId, label: d.label || `${word} ${i + 1}` }));
  return { cameras: of('videoinput', 'Camera'), mics: of('audioinput', 'Microphone') };
}

/** A screen, a window or a tab; rejects when the person thinks better of it. */
export function screen() {
  return navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: true });
}

/** Shares the uplink among all who are sent to. */
export function spread(room, screenTrack) {
  const share = VIDEO_BUDGET / Math.max(1, room.peers.size);
  for (const { connection } of room.peers.values()) {
    for (const sender of connection?.getSenders() ?? []) {
      if (sender.track?.kind !== 'video') continue;
      const parameters = sender.getParameters();
      if (!parameters.encodings?.length) continue;
      const maxBitrate = Math.round(Math.max(sender.track === screenTrack ? SCREEN_LEAST : VIDEO_LEAST, share));
      if (parameters.encodings[0].maxBitrate === maxBitrate) continue;
      parameters.encodings[0].maxBitrate = maxBitrate;
      // A connection that closes in between has nothing to spread.
      sender.setParameters(parameters).catch(() => {});
    }
  }
}

/** Colour bars, a name and a clock that moves: whoever sees it sees that frames arrive. */
class Pattern {
  #canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
  #timer;

  constructor(label) {
    this.label = label;
    this.#draw();
    this.#timer = setInterval(() => this.#draw(), 1000 / 20);
    [this.track] = this.#canvas.captureStream(20).getVideoTracks();
  }

  stop() {
    clearInterval(this.#timer);
  }

  #draw() {
    const { width, height } = this.#canvas;
    const g = this.#canvas.getContext('2d');
    const now = new Date();
    const bars = ['#c9c7c1', '#c2b13a', '#3aa6a6', '#3f9a4c', '#9c4b9a', '#b5453c', '#3b57a8'];
    bars.forEach((colour, i) => {
      g.fillStyle = colour;
      g.fillRect((i * width) / bars.length, 0, width / bars.length + 1, height * 0.68);
    });
    g.fillStyle = '#1b1e23';
    g.fillRect(0, height * 0.68, width, height);
    const turn = ((now % 2000) / 2000) * 2 * Math.PI;
    g.save();
    g.translate(width / 2, height * 0.36);
    g.fillStyle = '#1b1e23';
    g.beginPath();
    g.arc(0, 0, 76, 0, 2 * Math.PI);
    g.fill();
    g.strokeStyle = '#f4f3f0';
    g.lineWidth = 7;
    g.lineCap = 'round';
    g.rotate(turn);
    g.beginPath();
    g.moveTo(0, 0);
    g.lineTo(0, -56);
    g.stroke();
    g.restore();
    g.fillStyle = '#f4f3f0';
    g.textAlign = 'center';
    g.font = '600 34px system-ui, sans-serif';
    g.fillText(this.label || 'Test pattern', width / 2, height * 0.82, width - 40);
    g.font = '24px ui-monospace, monospace';
    g.fillText(`${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, '0')}`, width / 2, height * 0.93);
  }
}

/** A track that says nothing, for who has a pattern and no microphone. */
function silence() {
  return new AudioContext().createMediaStreamDestination().stream.getAudioTracks()[0];
}
