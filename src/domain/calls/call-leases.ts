/**
 * Keeps this process's calls its own: renews their leases with how far they are, learns which were ended or taken over, and
 * hands over the questions that came to other processes. Runs only while there are calls.
 */
import type { Logger } from '../../observability/logger.js';
import type { CallStore, PendingQuestion } from '../ports/call-store.js';
import type { ScheduledTimer, TimerWheel } from '../timing/timer-wheel.js';
import type { CallDesk } from './call-desk.js';

export interface CallLeasesDeps {
  readonly desk: CallDesk;
  readonly callStore: CallStore;
  readonly owner: string;
  readonly leaseMs: number;
  readonly timers: TimerWheel;
  readonly logger: Logger;
  /** All questions of others that wait for this process, every time, and when they were asked for (`performance.now()`). */
  readonly onQuestions: (questions: readonly PendingQuestion[], polledAtMs: number) => void;
}

/** How long a question that came to another process may lie before it is seen, if nobody rings. */
export const POLL_MS = 250;
/** Renewals per lease: two may fail before it ends. */
const RENEWALS_PER_LEASE = 3;
/** How seldom a database that is away is asked again, at most. */
const MAX_PAUSE_MS = 5_000;

export class CallLeases {
  private readonly deps: CallLeasesDeps;
  private timer: ScheduledTimer | undefined;
  private renewedAtMs = 0;
  private working: Promise<void> | undefined;
  private again = false;
  private stopped = false;
  /** Turns in a row that failed. */
  private failures = 0;

  constructor(deps: CallLeasesDeps) {
    this.deps = deps;
  }

  /** To be called when there are calls; does nothing while it runs already. */
  start(): void {
    if (this.timer || this.working || this.stopped) return;
    this.renewedAtMs = performance.now();
    this.schedule(POLL_MS);
  }

  /** Looks now instead of later. */
  look(): void {
    if (this.stopped || this.deps.desk.size === 0) return;
    if (this.working) {
      this.again = true;
      return;
    }
    this.deps.timers.cancel(this.timer);
    this.timer = undefined;
    this.working = this.turn().finally(() => {
      this.working = undefined;
      if (this.stopped || this.deps.desk.size === 0) return;
      if (this.again) {
        this.again = false;
        this.look();
      } else this.schedule(this.pauseMs());
    });
  }

  /** Stops; resolves when nothing is in progress any more. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.deps.timers.cancel(this.timer);
    await this.working;
  }

  private schedule(delayMs: number): void {
    this.timer = this.deps.timers.schedule(delayMs, () => {
      this.timer = undefined;
      this.look();
    });
  }

  /** Longer with every failure in a row, but three attempts to renew a lease have to come before its end. */
  private pauseMs(): number {
    const longestMs = Math.max(POLL_MS, Math.min(MAX_PAUSE_MS, this.deps.leaseMs / (2 * RENEWALS_PER_LEASE)));
    return Math.min(longestMs, POLL_MS * 2 ** this.failures);
  }

  private async turn(): Promise<void> {
    const { desk, callStore, owner, leaseMs, logger, onQuestions } = this.deps;
    try {
      if (performance.now() - this.renewedAtMs >= leaseMs / RENEWALS_PER_LEASE) {
        const progress = desk.sessions().map((session) => session.progress());
        const startedAtMs = performance.now();
        const lost = await callStore.renewCalls(owner, leaseMs, progress);
        this.renewedAtMs = startedAtMs;
        for (const key of lost) desk.lose(key);
      }
      const polledAtMs = performance.now();
      const { questions, ended } = await callStore.pollCalls(owner);
      onQuestions(questions, polledAtMs);
      await desk.endAll(ended);
      if (this.failures > 0)
        logger.info({ event: 'leases', failures: this.failures }, 'leases of calls are kept again');
      this.failures = 0;
    } catch (error) {
      // Said once, and once more when it is over.
      if (this.failures++ > 0) return;
      logger.warn({ err: error, event: 'leases' }, 'the leases of calls could not be renewed');
    }
  }
}
