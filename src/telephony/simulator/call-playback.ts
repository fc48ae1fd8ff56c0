/** One listener of one simulated call: sends what is due whenever the ticker comes round. */
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { dueMs } from './schedule.js';
import type { WireVariant } from './variants.js';
import type { WireAudio } from './wire-audio.js';

/** Counted per call, so that a benchmark can prove that no frame was lost on the way. */
export interface PlaybackCounters {
  framesSent: number;
  audioBytesSent: number;
  textFramesSent: number;
}

export interface PlaybackOptions {
  readonly socket: WebSocket;
  /** The connection below `socket`, to cut it. */
  readonly connection: Duplex;
  readonly audio: WireAudio;
  readonly variant: WireVariant;
  readonly counters: PlaybackCounters;
  readonly startedMs: number;
}

/** Beyond this nothing more is sent until the listener has read: back-pressure. */
const MAX_UNSENT_BYTES = 256 * 1024;
const TEXT_EVERY_FRAMES = 15;

const EVENTS = [
  '{"type":"speech-update","status":"started","role":"assistant"}',
  '{"type":"transcript","role":"user","transcriptType":"partial","transcript":"yes, speaking"}',
  '{"type":"model-output","output":null}',
  '[]',
  '42',
];
const GARBAGE = ['not json', '{"type":"start",', '', '\u0000', Buffer.from([0xff, 0xfe, 0x7b])];

export class CallPlayback {
  readonly #options: PlaybackOptions;
  readonly #silence: Uint8Array;
  #frame = 0;
  #announced = false;
  #sinceText = 0;
  #texts = 0;
  #silentFrames = 0;
  #done = false;

  constructor(options: PlaybackOptions) {
    this.#options = options;
    const { audio, variant } = options;
    const align = variant.layout === 'stereo' ? 4 : 2;
    this.#silence = new Uint8Array(
      Math.max(1, Math.floor((audio.bytesPerSecond * variant.frameMs) / 1_000 / align)) * align,
    );
  }

  /** Sends what is due at `nowMs`. Returns false when there will never be more. */
  serve(nowMs: number): boolean {
    const { socket, variant, audio, startedMs } = this.#options;
    if (this.#done || socket.readyState !== socket.OPEN) return false;
    const audioMs = dueMs(nowMs - startedMs, variant);
    const cutMs = Math.min(
      variant.abruptCloseAtMs ?? Number.POSITIVE_INFINITY,
      variant.closeAtMs ?? Number.POSITIVE_INFINITY,
    );
    const upTo = (Math.min(audioMs, cutMs) * audio.bytesPerSecond) / 1_000;
    while (this.#frame < audio.frameEnds.length && audio.frameEnds[this.#frame]! <= upTo) {
      if (socket.bufferedAmount > MAX_UNSENT_BYTES) return true;
      this.#sendFrame();
    }
    // Cutting the connection would lose what has not left yet.
    if (Number.isFinite(cutMs) && audioMs >= cutMs) return socket.bufferedAmount > 0 || this.#cut();
    return this.#frame < audio.frameEnds.length || this.#afterEnd(audioMs);
  }

  #sendFrame(): void {
    const { audio, variant } = this.#options;
    const start = this.#frame === 0 ? 0 : audio.frameEnds[this.#frame - 1]!;
    const startMs = (start * 1_000) / audio.bytesPerSecond;
    if (!this.#announced && variant.startFrame !== 'none') {
      if (variant.startFrame === 'first' || startMs >= variant.lateStartFrameMs) this.#announce();
    }
    this.#sendAudio(audio.bytes.subarray(start, audio.frameEnds[this.#frame]!));
    this.#frame++;
    if (variant.text !== 'none' && ++this.#sinceText >= TEXT_EVERY_FRAMES) {
      this.#sinceText = 0;
      const texts = variant.text === 'events' ? EVENTS : GARBAGE;
      this.#sendText(texts[this.#texts++ % texts.length]!);
    }
  }

  #announce(): void {
    const { sampleRateHz, layout } = this.#options.variant;
    const channels = layout === 'stereo' ? 2 : 1;
    this.#announced = true;
    this.#sendText(
      JSON.stringify({ type: 'start', encoding: 'linear16', container: 'raw', sampleRate: sampleRateHz, channels }),
    );
  }

  #sendAudio(bytes: Uint8Array): void {
    this.#options.socket.send(bytes, { binary: true });
    this.#options.counters.framesSent++;
    this.#options.counters.audioBytesSent += bytes.length;
  }

  #sendText(text: string | Uint8Array): void {
    this.#options.socket.send(text, { binary: false });
    this.#options.counters.textFramesSent++;
  }

  #cut(): false {
    this.#done = true;
    if (this.#options.variant.abruptCloseAtMs !== undefined) this.#options.connection.destroy();
    else this.#options.socket.close(1000);
    return false;
  }

  #afterEnd(audioMs: number): boolean {
    const { audio, variant, socket } = this.#options;
    if (variant.afterEnd === 'silence') {
      const due = (audioMs - audio.durationMs) / variant.frameMs;
      while (this.#silentFrames + 1 <= due && socket.bufferedAmount <= MAX_UNSENT_BYTES) {
        this.#sendAudio(this.#silence);
        this.#silentFrames++;
      }
      return true;
    }
    this.#done = true;
    if (variant.afterEnd === 'close') socket.close(1000);
    return false;
  }
}
