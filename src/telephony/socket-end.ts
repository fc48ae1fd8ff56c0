/**
 * How a WebSocket ended, as the domain sees it. Every close frame is a hang-up, whatever its code; a connection that is
 * cut without one is `lost`; only a peer that breaks the protocol is a failure.
 */
import { VoiceAuthError } from '../domain/errors.js';
import type { CallEnd } from '../domain/ports/call-source.js';

/** What ws reports when the connection ended without a close frame (RFC 6455, 7.1.5). */
const NO_CLOSE_FRAME = 1006;

export class SocketEnd {
  readonly #who: string;
  #violation: VoiceAuthError | undefined;

  /** `who` begins the messages of errors, e.g. `The listen socket`. */
  constructor(who: string) {
    this.#who = who;
  }

  /** Whether the peer has broken the protocol. */
  get violated(): boolean {
    return this.#violation !== undefined;
  }

  /** Takes an error of the socket; those of the network are no violation. */
  note(error: Error): void {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
    if (!code.startsWith('WS_ERR_')) return;
    const what = code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' ? 'a message that is too large' : 'an invalid message';
    this.#violation = new VoiceAuthError('ListenConnectionError', `${this.#who} sent ${what}`);
  }

  /** What a socket that closed with `code` means. */
  of(code: number): CallEnd {
    if (this.#violation) return { kind: 'failed', error: this.#violation };
    return { kind: code === NO_CLOSE_FRAME ? 'lost' : 'closed' };
  }
}

/** Our own side could not go on: the sink or the decoder threw. */
export function internalEnd(cause: unknown): CallEnd {
  return {
    kind: 'failed',
    error: new VoiceAuthError('InternalError', 'Call audio could not be processed', { cause }),
  };
}
