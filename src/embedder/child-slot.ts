/**
 * A place in the pool that always tries to hold a running child: replaces it when it goes, kills it when it hangs, and
 * starts the next one later the more often that happened without an answer in between.
 */
import type { ScheduledTimer, TimerWheel } from '../domain/timing/timer-wheel.js';
import type { Logger } from '../observability/logger.js';
import { InferenceChildProcess } from './child-process.js';
import type { ChildMessage, LoadRequest, RunInput } from './inference-protocol.js';

export type Answer = Extract<ChildMessage, { kind: 'done' | 'fault' }>;

export interface ChildSlotOptions {
  readonly module: URL;
  readonly load: LoadRequest;
  readonly startTimeoutMs: number;
  readonly runTimeoutMs: number;
  /** For what happens with every run. */
  readonly timers: TimerWheel;
}

export interface ChildSlotEvents {
  /** A child got ready: the slot is idle. */
  onReady(): void;
  /** The run is answered: the slot is idle again. */
  onAnswer(answer: Answer): void;
  /** A child went, and with it the run that it did, if any. Its successor is on the way. */
  onLost(runId: number | undefined): void;
  /** After `release` or `kill`: the last child is gone and none follows. */
  onClosed(): void;
}

/** Starts in a row that fail before a slot counts as failing. */
const FAILING_STARTS = 3;
const FIRST_BACK_OFF_MS = 100;
const MAX_BACK_OFF_MS = 10_000;

export class ChildSlot {
  private child: InferenceChildProcess | undefined;
  private ready = false;
  private closing = false;
  private runningId: number | undefined;
  private hangTimer: ScheduledTimer | undefined;
  private restartTimer: NodeJS.Timeout | undefined;
  private losses = 0;
  private failedStarts = 0;
  private reason = 'unknown';

  constructor(
    private readonly index: number,
    private readonly options: ChildSlotOptions,
    private readonly events: ChildSlotEvents,
    private readonly logger: Logger,
  ) {}

  get isReady(): boolean {
    return this.ready;
  }

  get isIdle(): boolean {
    return this.ready && this.runningId === undefined;
  }

  /** The last child did not get ready. */
  get hasFailedToStart(): boolean {
    return this.failedStarts > 0;
  }

  /** Several children in a row did not get ready. Starting goes on all the same. */
  get isFailing(): boolean {
    return !this.ready && this.failedStarts >= FAILING_STARTS;
  }

  get isEmpty(): boolean {
    return this.child === undefined;
  }

  /** Why the last child went: about the process or the model file, never about a request. */
  get lastReason(): string {
    return this.reason;
  }

  /** Starts a child. */
  launch(): void {
    this.child = new InferenceChildProcess(this.options, {
      onReady: () => this.welcome(),
      onAnswer: (answer) => this.finish(answer),
      onGone: (reason) => this.replace(reason),
    });
  }

  /** Gives an idle child something to run; `onAnswer` or `onLost` follows. */
  run(id: number, input: RunInput): void {
    const { child } = this;
    if (!child || !this.isIdle) throw new Error('the inference child is not idle');
    this.runningId = id;
    const { timers, runTimeoutMs } = this.options;
    this.hangTimer = timers.schedule(runTimeoutMs, () => child.kill('the inference hung'));
    child.send({ kind: 'run', id, input });
  }

  /** Lets the child go, whatever it does; no other follows. */
  release(): void {
    this.closing = true;
    clearTimeout(this.restartTimer);
    this.child?.release();
  }

  /** Ends the child at once; no other follows. */
  kill(): void {
    this.closing = true;
    clearTimeout(this.restartTimer);
    this.child?.kill('not gone in time');
  }

  private welcome(): void {
    this.ready = true;
    this.failedStarts = 0;
    this.logger.info({ child: this.index, pid: this.child?.pid }, 'inference child ready');
    this.events.onReady();
  }

  private finish(answer: Answer): void {
    if (answer.id !== this.runningId) return;
    this.options.timers.cancel(this.hangTimer);
    this.runningId = undefined;
    this.losses = 0;
    this.events.onAnswer(answer);
  }

  private replace(reason: string): void {
    const { ready, runningId } = this;
    this.options.timers.cancel(this.hangTimer);
    this.child = undefined;
    this.ready = false;
    this.runningId = undefined;
    this.reason = reason;
    if (this.closing) {
      this.events.onClosed();
      return;
    }
    this.losses++;
    if (!ready) this.failedStarts++;
    const delayMs = this.losses === 1 ? 0 : Math.min(MAX_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** (this.losses - 2));
    this.logger.warn({ child: this.index, reason, ready, restartInMs: delayMs }, 'inference child lost');
    this.restartTimer = setTimeout(() => this.launch(), delayMs);
    this.events.onLost(runningId);
  }
}
