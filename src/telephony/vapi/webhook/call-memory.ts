/**
 * What earlier events of a call have said, for later ones that leave it out: some tool calls lack the URLs of their call.
 * Kept in this process only, for the calls heard of last, until they end.
 */
import type { CallDetails, WireCall } from './wire-call.js';

const MAX_CALLS = 5_000;

export class CallMemory {
  /** The call heard of longest ago comes first. */
  readonly #calls = new Map<string, CallDetails>();
  readonly #maxCalls: number;

  constructor(options: { readonly maxCalls?: number } = {}) {
    this.#maxCalls = options.maxCalls ?? MAX_CALLS;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** Adds what `call` says to what is known of it, and returns all of it. What is said last counts. */
  learn(call: WireCall): WireCall {
    const known = this.#calls.get(call.callId);
    const merged: CallDetails = {
      callerNumber: call.callerNumber ?? known?.callerNumber,
      listenUrl: call.listenUrl ?? known?.listenUrl,
      controlUrl: call.controlUrl ?? known?.controlUrl,
    };
    this.#calls.delete(call.callId);
    if (merged.callerNumber !== undefined || merged.listenUrl !== undefined || merged.controlUrl !== undefined) {
      this.#calls.set(call.callId, merged);
      if (this.#calls.size > this.#maxCalls) this.#forgetOldest();
    }
    return { callId: call.callId, ...merged };
  }

  /** The call is over. */
  forget(callId: string): void {
    this.#calls.delete(callId);
  }

  #forgetOldest(): void {
    const oldest = this.#calls.keys().next();
    if (!oldest.done) this.#calls.delete(oldest.value);
  }
}
