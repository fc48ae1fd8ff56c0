/**
 * One open listen socket: hands its messages to the decoder and sees to it that the sink hears of the end exactly once,
 * and of nothing after it.
 *
 * Close codes are not documented by the platform, so every close frame is a hang-up, whatever its code. A connection that
 * is cut without one (reset, time-out of TCP keep-alive) is `lost`: mostly a hang-up, too, but a call may go on behind it.
 * Only a peer that breaks the protocol is a failure. Nobody knows whether the platform answers
 * pings, so none are sent: a stall is not an end, and how long to bear one is the asker's decision.
 */
import type { RawData, WebSocket } from 'ws';
import type { PcmFrame } from '../../audio/pcm-frame.js';
import { VoiceAuthError } from '../../domain/errors.js';
import type { CallEnd, CallSink } from '../../domain/ports/call-source.js';
import type { Logger } from '../../observability/logger.js';
import type { ListenDecoder } from './listen-decoder.js';

export interface ListenSessionOptions {
  readonly sink: CallSink;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** Makes the decoder that feeds `onFrame`. */
  readonly decoder: (onFrame: (frame: PcmFrame) => void) => ListenDecoder;
}

/**
 * A peer faster than this is slowed down by not reading on: 62 times real time for 16 kHz stereo. Nothing is lost, memory
 * stays in the peer, and one stream cannot take the whole event loop.
 */
const MAX_BYTES_PER_WINDOW = 400_000;
/** What a message counts at least: handling one costs as much as that many bytes of audio, however short it is. */
const MIN_BYTES_PER_MESSAGE = 256;
const WINDOW_MS = 100;
/** What ws reports when the connection ended without a close frame (RFC 6455, 7.1.5). */
const NO_CLOSE_FRAME = 1006;

export class ListenSession {
  readonly #socket: WebSocket;
  readonly #options: ListenSessionOptions;
  readonly #decoder: ListenDecoder;
  readonly #onAbort = () => this.#stop();
  #ended = false;
  #silenced = false;
  #violation: VoiceAuthError | undefined;
  #windowStartMs = 0;
  #windowBytes = 0;
  #resumeTimer: NodeJS.Timeout | undefined;

  /** `socket` must have opened just now, or its first messages are missed. */
  constructor(socket: WebSocket, options: ListenSessionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#decoder = options.decoder((frame) => this.#deliver(frame));
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    socket.on('error', (error) => this.#note(error));
    socket.on('close', (code) => this.#finish(this.#closeEnd(code)));
    options.signal.addEventListener('abort', this.#onAbort);
    if (options.signal.aborted) this.#stop();
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#ended || !Buffer.isBuffer(data)) return;
    const nowMs = performance.now();
    try {
      if (data.length === 0) {
        // Says nothing, but still has its price.
      } else if (isBinary) this.#decoder.audio(data, nowMs);
      else this.#decoder.text(data);
    } catch (error) {
      this.#fault(error);
      return;
    }
    this.#throttle(Math.max(MIN_BYTES_PER_MESSAGE, data.length), nowMs);
  }

  #deliver(frame: PcmFrame): void {
    if (!this.#silenced) this.#options.sink.onFrame(frame);
  }

  #throttle(bytes: number, nowMs: number): void {
    if (nowMs - this.#windowStartMs >= WINDOW_MS) {
      this.#windowStartMs = nowMs;
      this.#windowBytes = 0;
    }
    this.#windowBytes += bytes;
    if (this.#windowBytes < MAX_BYTES_PER_WINDOW || this.#resumeTimer || this.#ended) return;
    this.#socket.pause();
    this.#resumeTimer = setTimeout(
      () => {
        this.#resumeTimer = undefined;
        this.#socket.resume();
      },
      this.#windowStartMs + WINDOW_MS - nowMs,
    );
  }

  /** The sink or the decoder threw: listening on would repeat it with every frame. */
  #fault(cause: unknown): void {
    this.#silenced = true;
    this.#finish({
      kind: 'failed',
      error: new VoiceAuthError('InternalError', 'Call audio could not be processed', { cause }),
    });
    this.#socket.terminate();
  }

  #note(error: Error): void {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
    if (!code.startsWith('WS_ERR_')) return;
    const what = code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' ? 'a message that is too large' : 'an invalid message';
    this.#violation = new VoiceAuthError('ListenConnectionError', `The listen socket sent ${what}`);
  }

  #closeEnd(code: number): CallEnd {
    if (this.#violation) return { kind: 'failed', error: this.#violation };
    return { kind: code === NO_CLOSE_FRAME ? 'lost' : 'closed' };
  }

  #stop(): void {
    this.#silenced = true;
    this.#finish({ kind: 'stopped' });
    this.#socket.close(1000);
  }

  #finish(end: CallEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#resumeTimer);
    // A paused socket would not see the peer's close frame.
    if (this.#resumeTimer) this.#socket.resume();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    let outcome = end;
    try {
      if (!this.#silenced) this.#decoder.end();
    } catch (cause) {
      outcome = {
        kind: 'failed',
        error: new VoiceAuthError('InternalError', 'Call audio could not be processed', { cause }),
      };
    }
    this.#silenced = true;
    this.#options.logger.debug({ end: outcome.kind }, 'listen socket ended');
    this.#options.sink.onEnd(outcome);
  }
}
