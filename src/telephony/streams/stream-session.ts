/**
 * One connection of a platform that dialled us, from its first message to its end. It goes through three stages: waiting for
 * the platform's start message, being admitted (the connection is not read meanwhile, so nothing is lost), and open.
 * Whatever goes wrong before it is open closes it; nothing of what was sent is ever logged.
 *
 * Pings of the platform are answered, none are sent: nobody documents that they would be answered.
 */
import type { RawData, WebSocket } from 'ws';
import type { PcmFrame } from '../../audio/pcm-frame.js';
import type { StreamPlatform, StreamsUseCase } from '../../domain/calls/calls.js';
import { VoiceAuthError } from '../../domain/errors.js';
import type { CallEnd, CallOpenOptions, CallSink, CallSource } from '../../domain/ports/call-source.js';
import { type CorrelationContext, correlationIdFrom, withCorrelation } from '../../observability/correlation.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { FloodThrottle, MIN_BYTES_PER_MESSAGE } from '../flood-throttle.js';
import { internalEnd, SocketEnd } from '../socket-end.js';
import { StreamDecoder } from './stream-decoder.js';
import type { StartEvent, StreamAdapter, StreamEvent } from './stream-events.js';

export interface StreamSessionLimits {
  /** From the upgrade to the start message. */
  readonly startTimeoutMs: number;
  /** From the start message until the stream is admitted and opened. */
  readonly admissionTimeoutMs: number;
  /** What may arrive before the start message; a message counts 256 bytes at least. */
  readonly maxBytesBeforeStart: number;
}

export interface StreamSessionOptions {
  readonly socket: WebSocket;
  readonly platform: StreamPlatform;
  readonly adapter: StreamAdapter;
  /** The token of the URL, used when the start message has none. */
  readonly pathToken: string | undefined;
  readonly limits: StreamSessionLimits;
  readonly streams: Pick<StreamsUseCase, 'admit'>;
  readonly metrics: Pick<Metrics, 'streamConnections' | 'framesReceived' | 'framesDropped' | 'streamMessagesIgnored'>;
  readonly logger: Logger;
  /** Called once, when it has turned out whether the stream is let in; with the token that it showed, if any. */
  readonly onSettled: (outcome: StreamOutcome, token: string | undefined) => void;
}

/** What became of a connection: stable words for metrics. */
export type StreamOutcome =
  | 'admitted'
  | 'no_start'
  | 'no_token'
  | 'bad_token'
  | 'flood'
  | 'protocol_error'
  | 'busy'
  | 'error'
  | 'stopped'
  | 'abandoned';

/** Close codes (RFC 6455, 7.4.1, and the registry). */
const NORMAL = 1000;
const GOING_AWAY = 1001;
const PROTOCOL_ERROR = 1002;
const POLICY = 1008;
const INTERNAL = 1011;
const TRY_AGAIN_LATER = 1013;

interface Message {
  readonly data: Buffer;
  readonly isBinary: boolean;
}

export class StreamSession implements CallSource {
  readonly #options: StreamSessionOptions;
  readonly #socket: WebSocket;
  readonly #throttle: FloodThrottle;
  readonly #end = new SocketEnd('The media stream');
  readonly #correlation: CorrelationContext = { correlationId: correlationIdFrom(undefined) };
  readonly #decoder: StreamDecoder;
  readonly #onAbort = () => this.#stop(NORMAL);
  #stage: 'waiting' | 'admitting' | 'open' | 'ended' = 'waiting';
  #admitted = false;
  #settled = false;
  #silenced = false;
  #earlyBytes = 0;
  #token: string | undefined;
  #timer: NodeJS.Timeout;
  /** What came in one piece with the start message; undefined when messages are handled as they come. */
  #held: Message[] | undefined = [];
  #sink: CallSink | undefined;
  #signal: AbortSignal | undefined;

  /** `socket` must have opened just now, or its first messages are missed. */
  constructor(options: StreamSessionOptions) {
    const { socket, metrics, limits } = options;
    this.#options = options;
    this.#socket = socket;
    this.#throttle = new FloodThrottle(socket);
    this.#decoder = new StreamDecoder({ metrics, onFrame: (frame) => this.#deliver(frame) });
    this.#timer = setTimeout(() => this.#refuse('no_start', POLICY), limits.startTimeoutMs);
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    socket.on('error', (error) => this.#end.note(error));
    socket.on('close', (code) => this.#closed(code));
  }

  /** Starts pushing what the platform sends. Works once, for a stream whose token has been redeemed. */
  async open(sink: CallSink, { signal }: CallOpenOptions): Promise<void> {
    if (this.#stage !== 'admitting' || signal.aborted) {
      if (this.#stage === 'admitting') this.#refuse('stopped', NORMAL);
      throw new VoiceAuthError('ListenConnectionError', 'The media stream is not there to be opened');
    }
    this.#stage = 'open';
    this.#sink = sink;
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort);
    this.#settleIfAdmitted();
    // Later, so that whoever waits for `open` is told first.
    setImmediate(() => this.#readOn());
  }

  /** The service is going down. */
  shutDown(): void {
    if (this.#stage === 'open') this.#stop(GOING_AWAY);
    else this.#refuse('stopped', GOING_AWAY);
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#stage === 'ended' || !Buffer.isBuffer(data)) return;
    if (this.#stage === 'waiting') this.#beforeStart(data, isBinary);
    else if (this.#held) this.#held.push({ data, isBinary });
    else this.#handle(data, isBinary);
  }

  #beforeStart(data: Buffer, isBinary: boolean): void {
    this.#earlyBytes += Math.max(MIN_BYTES_PER_MESSAGE, data.length);
    const event = this.#options.adapter.translate(data, isBinary);
    if (event.kind === 'start') {
      this.#beginAdmission(event);
    } else if (event.kind === 'violation') {
      this.#count(event);
      this.#refuse('protocol_error', PROTOCOL_ERROR);
    } else if (event.kind === 'stop') {
      this.#refuse('abandoned', NORMAL);
    } else {
      if (event.kind === 'audio') this.#drop('audio_before_start');
      else this.#count(event);
      if (this.#earlyBytes > this.#options.limits.maxBytesBeforeStart) this.#refuse('flood', POLICY);
    }
  }

  #beginAdmission(start: StartEvent): void {
    const token = start.token ?? this.#options.pathToken;
    if (token === undefined) {
      this.#refuse('no_token', POLICY);
      return;
    }
    this.#token = token;
    this.#log('debug', { ...start.format, tracks: start.tracks }, 'media stream starts');
    this.#stage = 'admitting';
    this.#socket.pause();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refuse('busy', TRY_AGAIN_LATER), this.#options.limits.admissionTimeoutMs);
    void withCorrelation(this.#correlation, () => this.#admit(token));
  }

  async #admit(token: string): Promise<void> {
    const { streams, platform } = this.#options;
    try {
      this.#admitted = await streams.admit({ platform, token, source: this });
    } catch (error) {
      const passing = error instanceof VoiceAuthError && ['Busy', 'DatabaseUnavailable'].includes(error.code);
      if (!passing) this.#log('error', { err: error }, 'a media stream could not be admitted');
      this.#refuse(passing ? 'busy' : 'error', passing ? TRY_AGAIN_LATER : INTERNAL);
      return;
    }
    if (!this.#admitted) this.#refuse('bad_token', POLICY);
    else this.#settleIfAdmitted();
  }

  #settleIfAdmitted(): void {
    if (!this.#admitted || this.#stage !== 'open') return;
    clearTimeout(this.#timer);
    this.#settle('admitted');
  }

  /** Handles what has waited since the start message, then everything as it comes. */
  #readOn(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const { data, isBinary } of held) this.#handle(data, isBinary);
    this.#socket.resume();
  }

  #handle(data: Buffer, isBinary: boolean): void {
    if (this.#stage !== 'open') return;
    try {
      this.#take(this.#options.adapter.translate(data, isBinary));
    } catch (error) {
      this.#fault(error);
      return;
    }
    this.#throttle.handled(data.length, performance.now());
  }

  #take(event: StreamEvent): void {
    if (event.kind === 'audio') {
      this.#decoder.audio(event);
    } else if (event.kind === 'stop') {
      this.#finish({ kind: 'closed' });
      this.#socket.close(NORMAL);
    } else {
      this.#count(event);
    }
  }

  #deliver(frame: PcmFrame): void {
    if (!this.#silenced) this.#sink?.onFrame(frame);
  }

  /** The sink or the decoder threw: listening on would repeat it with every frame. */
  #fault(cause: unknown): void {
    this.#silenced = true;
    this.#finish(internalEnd(cause));
    this.#socket.close(INTERNAL);
  }

  #stop(code: number): void {
    this.#silenced = true;
    this.#finish({ kind: 'stopped' });
    this.#socket.close(code);
  }

  /** Not let in, or not any longer. */
  #refuse(outcome: StreamOutcome, code: number): void {
    this.#settle(outcome);
    this.#stop(code);
  }

  #closed(code: number): void {
    if (this.#stage === 'open' && this.#held) this.#readOn();
    this.#settle(this.#end.violated ? 'protocol_error' : 'abandoned');
    this.#finish(this.#end.of(code));
  }

  #finish(end: CallEnd): void {
    if (this.#stage === 'ended') return;
    this.#stage = 'ended';
    clearTimeout(this.#timer);
    this.#throttle.release();
    this.#signal?.removeEventListener('abort', this.#onAbort);
    let outcome = end;
    try {
      if (!this.#silenced) this.#decoder.end();
    } catch (cause) {
      outcome = internalEnd(cause);
    }
    this.#silenced = true;
    this.#held = undefined;
    // While admission went on the socket was not read; now it must see the peer's close frame.
    this.#socket.resume();
    this.#log('debug', { end: outcome.kind }, 'media stream ended');
    this.#sink?.onEnd(outcome);
  }

  #settle(outcome: StreamOutcome): void {
    if (this.#settled) return;
    this.#settled = true;
    const { platform, metrics, onSettled } = this.#options;
    metrics.streamConnections.inc({ platform, outcome });
    this.#log(outcome === 'admitted' ? 'debug' : 'info', { outcome }, 'media stream connection');
    onSettled(outcome, this.#token);
  }

  /** Audio that was lost, and messages that hold none, are counted apart. */
  #count(event: StreamEvent): void {
    const { metrics, platform } = this.#options;
    if (event.kind === 'lost') this.#drop(event.cause);
    else if (event.kind === 'ignored') metrics.streamMessagesIgnored.inc({ platform, cause: event.cause });
    else if (event.kind === 'violation' && event.cause === 'audio_before_start') this.#drop(event.cause);
  }

  #drop(cause: string): void {
    this.#options.metrics.framesDropped.inc({ cause });
  }

  #log(level: 'debug' | 'info' | 'error', fields: Record<string, unknown>, message: string): void {
    const { logger, platform } = this.#options;
    withCorrelation(this.#correlation, () => logger[level]({ platform, ...fields }, message));
  }
}
