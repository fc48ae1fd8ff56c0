/**
 * One open listen socket: hands its messages to the decoder and sees to it that the sink hears of the end exactly once,
 * and of nothing after it.
 *
 * Close codes are not documented by the platform, so none is read. A connection that is cut without a close frame (reset,
 * time-out of TCP keep-alive) is mostly a hang-up, too, but a call may go on behind it. Nobody knows whether the platform
 * answers pings, so none are sent: a stall is not an end, and how long to bear one is the asker's decision.
 */
import type { RawData, WebSocket } from 'ws';
import type { PcmFrame } from '../../audio/pcm-frame.js';
import type { CallEnd, CallSink } from '../../domain/ports/call-source.js';
import type { Logger } from '../../observability/logger.js';
import { FloodThrottle } from '../flood-throttle.js';
import { internalEnd, SocketEnd } from '../socket-end.js';
import type { ListenDecoder } from './listen-decoder.js';

export interface ListenSessionOptions {
  readonly sink: CallSink;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** Makes the decoder that feeds `onFrame`. */
  readonly decoder: (onFrame: (frame: PcmFrame) => void) => ListenDecoder;
}

export class ListenSession {
  readonly #socket: WebSocket;
  readonly #options: ListenSessionOptions;
  readonly #decoder: ListenDecoder;
  readonly #throttle: FloodThrottle;
  readonly #end = new SocketEnd('The listen socket');
  readonly #onAbort = () => this.#stop();
  #ended = false;
  #silenced = false;

  /** `socket` must have opened just now, or its first messages are missed. */
  constructor(socket: WebSocket, options: ListenSessionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#throttle = new FloodThrottle(socket);
    this.#decoder = options.decoder((frame) => this.#deliver(frame));
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    socket.on('error', (error) => this.#end.note(error));
    socket.on('close', (code) => this.#finish(this.#end.of(code)));
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
    this.#throttle.handled(data.length, nowMs);
  }

  #deliver(frame: PcmFrame): void {
    if (!this.#silenced) this.#options.sink.onFrame(frame);
  }

  /** The sink or the decoder threw: listening on would repeat it with every frame. */
  #fault(cause: unknown): void {
    this.#silenced = true;
    this.#finish(internalEnd(cause));
    this.#socket.terminate();
  }

  #stop(): void {
    this.#silenced = true;
    this.#finish({ kind: 'stopped' });
    this.#socket.close(1000);
  }

  #finish(end: CallEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#throttle.release();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    let outcome = end;
    try {
      if (!this.#silenced) this.#decoder.end();
    } catch (cause) {
      outcome = internalEnd(cause);
    }
    this.#silenced = true;
    this.#options.logger.debug({ end: outcome.kind }, 'listen socket ended');
    this.#options.sink.onEnd(outcome);
  }
}
