/** A live call as the domain sees it: something that pushes caller audio until it ends. Adapters live in telephony. */
import type { PcmFrame } from '../../audio/pcm-frame.js';
import type { VoiceAuthError } from '../errors.js';

/**
 * How a call's audio ended: the far side closed it (hang-up), the connection broke off without a farewell (a hang-up, or
 * a call that goes on without us), we stopped listening, or the protocol failed after it had been open.
 */
export type CallEnd =
  | { readonly kind: 'closed' }
  | { readonly kind: 'lost' }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'failed'; readonly error: VoiceAuthError };

export interface CallSink {
  /** Called for every piece of audio, in order. Must return quickly; `frame.samples` is only valid during the call. */
  onFrame(frame: PcmFrame): void;
  /** Called exactly once after a successful `open`, after the last frame. */
  onEnd(end: CallEnd): void;
}

export interface CallOpenOptions {
  /** Stops listening (and connecting) when aborted; `onEnd({kind:'stopped'})` follows if the call was open. */
  readonly signal: AbortSignal;
  /** Connection attempts (with back-off and jitter) go on until this many milliseconds have passed. */
  readonly connectTimeoutMs: number;
}

export interface CallSource {
  /**
   * Connects and starts pushing audio to `sink`. Resolves when the connection is open.
   * Rejects with `ListenConnectionError` when no connection came about in time, or was refused for good.
   */
  open(sink: CallSink, options: CallOpenOptions): Promise<void>;
}

export interface CallSourceFactory {
  /**
   * A VAPI listen URL as a call source. Throws `ValidationError` for a URL that may not be dialled (scheme, host not
   * on the allow-list, credentials, private address). The URL is a secret: it is never logged or echoed.
   */
  vapiListen(listenUrl: string): CallSource;
}
