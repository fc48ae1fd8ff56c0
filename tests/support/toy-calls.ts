/** Calls and recordings driven by a test: it says when the connection opens, what is heard, and how it ends. */
import type { Track } from '../../src/audio/pcm-frame.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { CallEnd, CallOpenOptions, CallSink, CallSource } from '../../src/domain/ports/call-source.js';
import { TOY_RATE_HZ } from './toy-models.js';

export class ToyCall implements CallSource {
  /** What `open` was given; undefined before it. */
  sink: CallSink | undefined;
  options: CallOpenOptions | undefined;
  /** Resolves when somebody has asked for the call. */
  readonly opened: Promise<void>;
  private saidMs = 0;
  private announce: () => void = () => undefined;
  private answer: { resolve: () => void; reject: (error: unknown) => void } | undefined;

  /** `autoConnect`: the connection is open at once; otherwise `connect` or `refuse` must say. */
  constructor(private readonly autoConnect = true) {
    this.opened = new Promise((resolve) => {
      this.announce = resolve;
    });
  }

  open(sink: CallSink, options: CallOpenOptions): Promise<void> {
    this.sink = sink;
    this.options = options;
    this.announce();
    if (this.autoConnect) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.answer = { resolve, reject };
    });
  }

  connect(): void {
    this.answer?.resolve();
  }

  refuse(error: unknown = new VoiceAuthError('ListenConnectionError', 'The listen socket was refused')): void {
    this.answer?.reject(error);
  }

  say(samples: Float32Array, track: Track = 'caller', sampleRateHz = TOY_RATE_HZ): void {
    this.sink?.onFrame({ samples, sampleRateHz, track, startMs: this.saidMs });
    this.saidMs += (samples.length / sampleRateHz) * 1000;
  }

  end(end: CallEnd = { kind: 'closed' }): void {
    this.sink?.onEnd(end);
  }

  /** Whether the listener has asked for the connection to be closed. */
  get stopped(): boolean {
    return this.options?.signal.aborted ?? false;
  }
}

/** Counts listeners on a signal, to see that none is left behind. */
export function countingListeners(signal: AbortSignal): () => number {
  let count = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...parameters: Parameters<AbortSignal['addEventListener']>) => {
    count++;
    add(...parameters);
  };
  signal.removeEventListener = (...parameters: Parameters<AbortSignal['removeEventListener']>) => {
    count--;
    remove(...parameters);
  };
  return () => count;
}
