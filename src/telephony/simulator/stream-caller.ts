/**
 * A simulated platform that dials a stream endpoint and plays a call into it, in every variant known: for the demo, tests and
 * benchmarks. Callers that share a ticker share one timer.
 */
import { type RawData, WebSocket } from 'ws';
import type { StreamPlatform } from '../../domain/calls/calls.js';
import { streamPath, webSocketAddress } from '../streams/platforms.js';
import { twilioSignature } from '../streams/twilio-signature.js';
import { dueMs } from './schedule.js';
import { type ScriptedMessage, streamScript } from './stream-script.js';
import { type StreamVariant, streamVariant } from './stream-variants.js';
import { Ticker } from './ticker.js';
import type { CallAudio } from './wire-audio.js';

export interface StreamCallOptions {
  readonly platform: StreamPlatform;
  /** Where the service listens, e.g. `http://127.0.0.1:8000`. */
  readonly serviceUrl: string;
  readonly token: string;
  readonly audio: CallAudio;
  readonly variant?: Partial<StreamVariant>;
  /** Signs the upgrade as Twilio does, for the public URL of the service (default: `serviceUrl`). */
  readonly twilio?: { readonly authToken: string; readonly publicUrl?: string };
  /** Default: one of its own. */
  readonly ticker?: Ticker;
}

export type StreamCallEnd =
  /** The upgrade was answered with this HTTP status. */
  | { readonly kind: 'refused'; readonly status: number }
  | { readonly kind: 'closed'; readonly code: number }
  | { readonly kind: 'unreachable' };

export interface StreamCall {
  readonly ended: Promise<StreamCallEnd>;
  /** Pieces of audio sent so far. */
  readonly audioSent: number;
  /** Messages the service sent: it never should. */
  readonly received: number;
  /** Sends something that is not in the script. */
  send(data: string | Uint8Array): void;
  /** Hangs up with a close frame. */
  hangUp(): void;
}

/** Beyond this nothing more is sent until the service has read: back-pressure. */
const MAX_UNSENT_BYTES = 256 * 1024;

/** Dials and plays. Throws `ValidationError` when the options of the variant are out of range. */
export function startStreamCall(options: StreamCallOptions): StreamCall {
  return new Caller(options, streamVariant(options.platform, options.variant));
}

class Caller implements StreamCall {
  readonly ended: Promise<StreamCallEnd>;
  readonly #socket: WebSocket;
  readonly #variant: StreamVariant;
  readonly #script: readonly ScriptedMessage[];
  #at = 0;
  #startedMs = 0;
  #finished = false;
  #audioSent = 0;
  #received = 0;
  #leave: () => void = () => undefined;

  constructor(options: StreamCallOptions, variant: StreamVariant) {
    const { platform, token, serviceUrl, twilio } = options;
    const path = streamPath(platform, variant.token === 'path' ? token : undefined);
    const signedUrl = webSocketAddress(twilio?.publicUrl ?? serviceUrl) + path;
    this.#variant = variant;
    this.#script = streamScript(options.audio, platform, { variant, token });
    this.#socket = new WebSocket(webSocketAddress(serviceUrl) + path, {
      perMessageDeflate: false,
      headers: twilio ? { 'X-Twilio-Signature': twilioSignature(twilio.authToken, signedUrl) } : {},
    });
    const ticker = options.ticker ?? new Ticker();
    this.#socket.on('open', () => {
      this.#startedMs = performance.now();
      this.#leave = ticker.add((nowMs) => this.#serve(nowMs));
      this.#serve(this.#startedMs);
    });
    this.#socket.on('message', (_data: RawData) => this.#received++);
    this.ended = new Promise((resolve) => {
      this.#socket.on('unexpected-response', (request, response) => {
        resolve({ kind: 'refused', status: response.statusCode ?? 0 });
        request.destroy();
      });
      this.#socket.on('error', () => resolve({ kind: 'unreachable' }));
      this.#socket.on('close', (code) => {
        this.#leave();
        resolve({ kind: 'closed', code });
      });
    });
  }

  get audioSent(): number {
    return this.#audioSent;
  }

  get received(): number {
    return this.#received;
  }

  send(data: string | Uint8Array): void {
    this.#socket.send(data, { binary: typeof data !== 'string' });
  }

  hangUp(): void {
    this.#leave();
    this.#socket.close(1000);
  }

  #serve(nowMs: number): void {
    if (this.#finished || this.#socket.readyState !== WebSocket.OPEN) return;
    const audioMs = dueMs(nowMs - this.#startedMs, this.#variant);
    while (this.#at < this.#script.length && this.#script[this.#at]!.dueMs <= audioMs) {
      if (this.#socket.bufferedAmount > MAX_UNSENT_BYTES) return;
      const message = this.#script[this.#at++]!;
      this.#socket.send(message.data, { binary: message.isBinary });
      if (message.isAudio) this.#audioSent++;
    }
    if (this.#at === this.#script.length) this.#finish();
  }

  #finish(): void {
    // Cutting the connection would lose what has not left yet.
    if (this.#variant.end === 'abrupt' && this.#socket.bufferedAmount > 0) return;
    this.#finished = true;
    this.#leave();
    if (this.#variant.end === 'abrupt') this.#socket.terminate();
    else if (this.#variant.end === 'close') this.#socket.close(1000);
  }
}
