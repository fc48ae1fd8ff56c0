/**
 * Streams that have shown nothing yet but where they come from. Strangers can open as many as they like, so what they take
 * up is limited per address: connections that wait, and failures. A platform dials from few addresses and is not to be
 * kept out by its own good calls, nor by one call that keeps coming back with the same token: those do not count.
 */
import type { StreamPlatform } from '../../domain/calls/calls.js';
import { FailureCounts } from '../../domain/failure-counts.js';
import type { StreamOutcome } from './stream-session.js';

export interface UnprovenStreamLimits {
  /** Connections that are not admitted yet. One address may have a quarter of them. */
  readonly maxAwaiting: number;
  /** Of one address; 0 = no limit. */
  readonly maxFailuresPerMinute: number;
}

/** Stable words for metrics. */
export type UnprovenRefusal = 'rate_limited' | 'bad_token' | 'crowded';

/** What is nobody's fault but ours: it says nothing about who dialled. */
const NO_FAILURE: readonly StreamOutcome[] = ['admitted', 'busy', 'error', 'stopped'];
/** However few may wait altogether. */
const MIN_SHARE = 4;
const MAX_BAD_TOKENS = 1_000;

export class UnprovenStreams {
  readonly #limits: UnprovenStreamLimits;
  readonly #failures = new FailureCounts();
  readonly #awaiting = new Map<string, number>();
  /** Tokens that were refused, which they will always be. */
  readonly #badTokens = new Set<string>();
  #awaitingCount = 0;

  constructor(limits: UnprovenStreamLimits) {
    this.#limits = limits;
  }

  /** How many addresses have connections that wait. */
  get addresses(): number {
    return this.#awaiting.size;
  }

  /** Why a connection with this token in its path is not to be taken; undefined = it may come in. */
  refusal(address: string, platform: StreamPlatform, token: string | undefined): UnprovenRefusal | undefined {
    const { maxAwaiting, maxFailuresPerMinute } = this.#limits;
    if (token !== undefined && this.#badTokens.has(`${platform}/${token}`)) return 'bad_token';
    if (maxFailuresPerMinute > 0 && this.#failures.of(address) >= maxFailuresPerMinute) return 'rate_limited';
    const share = Math.max(MIN_SHARE, Math.ceil(maxAwaiting / 4));
    const full = this.#awaitingCount >= maxAwaiting || (this.#awaiting.get(address) ?? 0) >= share;
    return full ? 'crowded' : undefined;
  }

  /** A connection waits to be admitted. */
  enter(address: string): void {
    this.#awaitingCount++;
    this.#awaiting.set(address, (this.#awaiting.get(address) ?? 0) + 1);
  }

  /** What became of a connection that waited. `badToken` = the token of its path, when that is what was refused. */
  leave(address: string, outcome: StreamOutcome, { platform, badToken }: LeaveOptions): void {
    this.#awaitingCount--;
    const others = (this.#awaiting.get(address) ?? 1) - 1;
    if (others > 0) this.#awaiting.set(address, others);
    else this.#awaiting.delete(address);
    if (!NO_FAILURE.includes(outcome)) this.#failures.add(address);
    if (badToken !== undefined) this.#remember(`${platform}/${badToken}`);
  }

  #remember(token: string): void {
    this.#badTokens.add(token);
    if (this.#badTokens.size <= MAX_BAD_TOKENS) return;
    const oldest = this.#badTokens.values().next();
    if (!oldest.done) this.#badTokens.delete(oldest.value);
  }
}

export interface LeaveOptions {
  readonly platform: StreamPlatform;
  readonly badToken: string | undefined;
}
