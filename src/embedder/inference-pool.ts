/**
 * The inference children and the requests for them. Admission is counted here, so that too much work is refused at the
 * door instead of piling up; a request whose child died is tried once more. Requests of several streams for speech
 * detection that wait for a child go to it together, so the busier the pool, the cheaper each of them.
 */
import { VoiceAuthError } from '../domain/errors.js';
import type { InferenceOptions } from '../domain/ports/speaker-model.js';
import { StateWatch } from '../domain/timing/state-watch.js';
import { TimerWheel } from '../domain/timing/timer-wheel.js';
import type { Logger } from '../observability/logger.js';
import type { Metrics } from '../observability/metrics.js';
import { type Answer, ChildSlot, type ChildSlotOptions } from './child-slot.js';
import { DetectPacker } from './detector-batch.js';
import { faultError, notRunning, shuttingDown, unavailable } from './inference-errors.js';
import type {
  InferenceInput,
  InferenceKind,
  InferenceOutput,
  InferenceWork,
  LoadRequest,
} from './inference-protocol.js';
import { type InferenceJob, InferenceRun, mayShareRun } from './inference-run.js';
import { WaitingLine } from './waiting-line.js';

export interface InferencePoolOptions {
  readonly children: number;
  /** Requests that may wait; more are refused with `Busy`. */
  readonly maxWaiting: number;
  /** Longest wait for a child. */
  readonly queueTimeoutMs: number;
  readonly load: LoadRequest;
  /** Streams whose requests for speech detection run together, at most. */
  readonly maxBatch?: number;
  /** How long after a run of speech detection for live calls the next one is held back, so that more of them share it. */
  readonly gatherMs?: number;
  /** Longest inference: a child that takes longer hangs and is killed. */
  readonly runTimeoutMs?: number;
  /** Longest start of a child, loading and trying the models included. */
  readonly startTimeoutMs?: number;
  /** The compiled child; tests that run TypeScript sources name it. */
  readonly childModule?: URL | undefined;
}

export interface InferencePoolDeps {
  readonly metrics: Pick<
    Metrics,
    | 'inferenceSeconds'
    | 'inferenceQueueSeconds'
    | 'inferenceWaiting'
    | 'inferenceRejected'
    | 'inferenceRestarts'
    | 'inferenceBatch'
  >;
  readonly logger: Logger;
  /** Default: a wheel of its own. */
  readonly timers?: TimerWheel;
}

export interface PoolHealth {
  /** False when no child runs and none can be started, and once the pool drains. */
  readonly ok: boolean;
  readonly children: number;
  readonly ready: number;
  readonly waiting: number;
  readonly running: number;
}

type RejectionCause = 'queue_full' | 'displaced' | 'deadline' | 'unavailable' | 'draining';

const CHILD_MODULE = new URL('./inference-child.js', import.meta.url);
const RUN_TIMEOUT_MS = 10_000;
const START_TIMEOUT_MS = 30_000;
/**
 * Of 8 frames each, a request costs a child 0.65 ms of processor time alone, 0.45 in runs of 8 to 64 (Silero VAD: 1.3, 0.46 in a run of
 * 8, 0.42 of 16, 0.40 of 32), and this process 0.28, 0.13 in a run of 8, 0.11 of 16, 0.08 of 32. A run of 32 takes as long as an
 * embedding of 10 s; one of 64 would let others wait longer for nothing.
 * `npm run bench:embed -- --part calls` prints this and what follows.
 */
const MAX_BATCH = 32;
/**
 * Requests of live calls come one by one, so that idle children would answer each alone: two children and this process use 0.56
 * cores for 150 calls and 1.07 for 300. Gathering for 5 ms takes that to 0.50 and 0.71, 10 ms to 0.42 and 0.73, 20 ms to 0.43 and
 * 0.70. An answer comes after 10 to 13 ms (median) instead of 2, of the 320 ms of audio that it is about.
 */
const GATHER_MS = 10;
/**
 * After a child is lost nothing is given to the others for so long: what ended it (out of memory, an operator) may have ended
 * them as well, which is heard of a moment later, and a request that dies with two of them counts as what kills them.
 */
const AFTER_LOSS_MS = 100;
const MAX_RETRY_AFTER_SECONDS = 30;
/** What `Retry-After` is estimated from: a running mean of the time a request takes, and the weight of the newest. */
const FIRST_MEAN_RUN_MS = 20;
const MEAN_WEIGHT = 0.1;

export class InferencePool {
  private readonly line: WaitingLine<InferenceJob>;
  private readonly running = new Map<number, InferenceRun>();
  private readonly timers: TimerWheel;
  private readonly packer = new DetectPacker();
  private readonly slots: readonly ChildSlot[];
  private readonly watch: StateWatch;
  private stage: 'open' | 'draining' | 'closed' = 'open';
  private nextRunId = 1;
  private meanRunMs = FIRST_MEAN_RUN_MS;
  private heldUntilMs = 0;
  private quietUntilMs = 0;
  private holdTimer: NodeJS.Timeout | undefined;
  private drained: Promise<void> | undefined;

  constructor(
    private readonly options: InferencePoolOptions,
    private readonly deps: InferencePoolDeps,
  ) {
    this.line = new WaitingLine(options.maxWaiting);
    this.timers = deps.timers ?? new TimerWheel();
    this.watch = new StateWatch(this.timers);
    const slotOptions: ChildSlotOptions = {
      module: options.childModule ?? CHILD_MODULE,
      load: options.load,
      startTimeoutMs: options.startTimeoutMs ?? START_TIMEOUT_MS,
      runTimeoutMs: options.runTimeoutMs ?? RUN_TIMEOUT_MS,
      timers: this.timers,
    };
    const events = {
      onReady: () => this.dispatch(),
      onAnswer: (answer: Answer) => this.finish(answer),
      onLost: (runId: number | undefined) => this.recover(runId),
      onClosed: () => this.watch.changed(),
    };
    this.slots = Array.from(
      { length: options.children },
      (_, index) => new ChildSlot(index, slotOptions, events, deps.logger),
    );
  }

  /**
   * Starts every child; resolves when all are ready. Throws `InferenceUnavailable` with the reason, and leaves no process
   * behind, when one of them cannot be started.
   */
  async start(): Promise<void> {
    for (const slot of this.slots) slot.launch();
    const failed = () => this.slots.find((slot) => slot.hasFailedToStart);
    const started = () => this.readyCount() === this.slots.length;
    await this.watch.until(() => started() || failed() !== undefined || this.stage !== 'open');
    if (this.stage === 'open' && !failed()) return;
    const reason = failed()?.lastReason ?? 'the service is shutting down';
    await this.drain(0);
    throw unavailable(`The inference processes do not start: ${reason}`);
  }

  /**
   * Runs one inference in a child. Typed arrays of `input` must not change until this settles; of a view, only what it shows
   * is sent. Throws `Busy` (too many wait, or waited too long),
   * `InferenceUnavailable` (two children were lost on it, or none can be started), `AudioProcessingError` (the model gave
   * nothing usable for this audio), or the reason of `signal`.
   */
  run<K extends InferenceKind>(
    input: Extract<InferenceInput, { kind: K }>,
    options: InferenceOptions,
  ): Promise<InferenceWork[K]['output']> {
    const { signal, priority } = options;
    const promise = new Promise<InferenceOutput>((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const abort = () => this.cancel(job, signal?.reason);
      const settle = () => {
        job.settled = true;
        this.timers.cancel(job.deadline);
        signal?.removeEventListener('abort', abort);
      };
      const job: InferenceJob = {
        input,
        priority,
        waitingSinceMs: 0,
        deadline: undefined,
        retried: false,
        settled: false,
        resolve: (output) => {
          settle();
          resolve(output);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.admit(job);
    });
    // The child answers a request with the output of its own kind.
    return promise as Promise<InferenceWork[K]['output']>;
  }

  /** A snapshot of children and requests. */
  health(): PoolHealth {
    return {
      ok: this.stage === 'open' && !this.isHopeless(),
      children: this.slots.length,
      ready: this.readyCount(),
      waiting: this.line.length,
      running: this.slots.filter((slot) => slot.isReady && !slot.isIdle).length,
    };
  }

  /**
   * Refuses new requests, lets the admitted ones finish, then ends the children. What is not done after `timeoutMs` is
   * rejected and its child killed. Resolves when no child is left.
   */
  drain(timeoutMs: number): Promise<void> {
    this.drained ??= this.shutDown(performance.now() + timeoutMs);
    return this.drained;
  }

  private async shutDown(deadlineMs: number): Promise<void> {
    this.stage = 'draining';
    this.dispatch();
    const done = () => this.line.length === 0 && ![...this.running.values()].some((run) => run.isAwaited);
    await this.watch.until(done, deadlineMs);
    this.stage = 'closed';
    clearTimeout(this.holdTimer);
    this.refuseWaiting('draining', shuttingDown());
    for (const { jobs } of this.running.values()) {
      for (const job of jobs) if (!job.settled) this.refuse(job, 'draining', shuttingDown());
    }
    this.running.clear();
    for (const slot of this.slots) slot.release();
    const empty = () => this.slots.every((slot) => slot.isEmpty);
    await this.watch.until(empty, deadlineMs);
    for (const slot of this.slots) slot.kill();
    await this.watch.until(empty);
  }

  private admit(job: InferenceJob): void {
    if (this.stage !== 'open') {
      this.refuse(job, 'draining', shuttingDown());
      return;
    }
    if (this.isHopeless()) {
      this.refuse(job, 'unavailable', notRunning());
      return;
    }
    const admission = this.line.join(job);
    if (admission.kind === 'full') {
      this.refuse(job, 'queue_full', this.busy('Too many requests wait for the speaker model.'));
      return;
    }
    if (admission.kind === 'displaced') {
      this.refuse(admission.upload, 'displaced', this.busy('Live calls need the speaker model.'));
    }
    this.startWaiting(job);
    this.dispatch();
  }

  private startWaiting(job: InferenceJob): void {
    job.waitingSinceMs = performance.now();
    job.deadline = this.timers.schedule(this.options.queueTimeoutMs, () => {
      this.line.leave(job);
      // Children that are about to be back are no reason to give a live call up.
      this.refuse(job, 'deadline', this.isHopeless() ? notRunning() : this.busy('The speaker model is too busy.'));
      this.waitingChanged();
    });
  }

  /** Gives waiting requests to idle children: to each the one whose turn it is, and what can go with it. */
  private dispatch(): void {
    const atMost = this.options.maxBatch ?? MAX_BATCH;
    if (performance.now() < this.quietUntilMs) {
      this.dispatchLater(this.quietUntilMs);
      this.waitingChanged();
      return;
    }
    for (const slot of this.slots) {
      if (!slot.isIdle) continue;
      const hold = this.stage === 'open' && performance.now() < this.heldUntilMs;
      const jobs = this.line.nextGroup({ atMost, mayShare: mayShareRun, hold });
      if (jobs.length > 0) this.runTogether(slot, jobs);
      else if (hold && this.line.length > 0) this.dispatchLater(this.heldUntilMs);
    }
    this.waitingChanged();
  }

  private runTogether(slot: ChildSlot, jobs: readonly InferenceJob[]): void {
    const nowMs = performance.now();
    for (const job of jobs) {
      this.timers.cancel(job.deadline);
      const waitedMs = nowMs - job.waitingSinceMs;
      this.deps.metrics.inferenceQueueSeconds.observe({ priority: job.priority }, waitedMs / 1000);
      if (job.priority === 'live' && mayShareRun(job)) {
        this.heldUntilMs = nowMs + (this.options.gatherMs ?? GATHER_MS);
      }
    }
    const run = new InferenceRun(this.nextRunId++, jobs);
    this.running.set(run.id, run);
    slot.run(run.id, run.input(this.packer));
  }

  private dispatchLater(atMs: number): void {
    this.holdTimer ??= setTimeout(
      () => {
        this.holdTimer = undefined;
        this.dispatch();
      },
      Math.ceil(atMs - performance.now()),
    );
  }

  private finish(answer: Answer): void {
    const run = this.running.get(answer.id);
    this.running.delete(answer.id);
    if (run && answer.kind === 'done') {
      const { jobs, model } = run;
      this.meanRunMs += MEAN_WEIGHT * (answer.computeMs / jobs.length - this.meanRunMs);
      this.deps.metrics.inferenceSeconds.observe({ model }, answer.computeMs / 1000);
      this.deps.metrics.inferenceBatch.observe({ model }, jobs.length);
      for (const [index, outcome] of run.outcomes(answer.output).entries()) {
        if (typeof outcome === 'string') jobs[index]?.reject(faultError(outcome));
        else jobs[index]?.resolve(outcome);
      }
    } else if (run && answer.kind === 'fault') {
      // Of several, one may be at fault and the others not.
      if (run.jobs.length > 1) this.retry(run);
      else run.jobs[0]?.reject(faultError(answer.fault));
    }
    this.dispatch();
  }

  private recover(runId: number | undefined): void {
    this.deps.metrics.inferenceRestarts.inc();
    this.quietUntilMs = performance.now() + AFTER_LOSS_MS;
    const run = runId === undefined ? undefined : this.running.get(runId);
    if (run) {
      this.running.delete(run.id);
      this.retry(run);
    }
    if (this.isHopeless()) this.refuseWaiting('unavailable', notRunning());
    this.dispatch();
  }

  /**
   * Tries the requests of a lost run again, each alone and only once: one of them may be what killed the child, and its
   * neighbours shall not suffer from it twice.
   */
  private retry({ jobs }: InferenceRun): void {
    for (const job of jobs.filter(({ settled }) => !settled).reverse()) {
      if (job.retried) {
        this.refuse(job, 'unavailable', unavailable('The speaker model failed twice on this request.'));
      } else {
        job.retried = true;
        this.line.rejoin(job);
        this.startWaiting(job);
      }
    }
  }

  /** A waiting request leaves the line; a running one is left to finish, and its answer finds nobody. */
  private cancel(job: InferenceJob, reason: unknown): void {
    this.line.leave(job);
    job.reject(reason);
    this.waitingChanged();
  }

  private refuse(job: InferenceJob, cause: RejectionCause, error: VoiceAuthError): void {
    this.deps.metrics.inferenceRejected.inc({ cause });
    job.reject(error);
  }

  private refuseWaiting(cause: RejectionCause, error: VoiceAuthError): void {
    for (let job = this.line.next(); job; job = this.line.next()) this.refuse(job, cause, error);
    this.waitingChanged();
  }

  private waitingChanged(): void {
    this.deps.metrics.inferenceWaiting.set(this.line.length);
    this.watch.changed();
  }

  private readyCount(): number {
    return this.slots.filter((slot) => slot.isReady).length;
  }

  private isHopeless(): boolean {
    return this.slots.every((slot) => slot.isFailing);
  }

  private busy(message: string): VoiceAuthError {
    const aheadSeconds = (this.line.length * this.meanRunMs) / this.slots.length / 1000;
    const retryAfterSeconds = Math.min(MAX_RETRY_AFTER_SECONDS, Math.max(1, Math.ceil(aheadSeconds)));
    return new VoiceAuthError('Busy', message, { retryAfterSeconds });
  }
}
