/**
 * The inference children and the requests for them. Admission is counted here, so that too much work is refused at the
 * door instead of piling up; a request whose child died is tried once more.
 */
import { VoiceAuthError } from '../domain/errors.js';
import type { InferenceOptions } from '../domain/ports/speaker-model.js';
import { StateWatch } from '../domain/timing/state-watch.js';
import type { Logger } from '../observability/logger.js';
import type { Metrics } from '../observability/metrics.js';
import { type Answer, ChildSlot, type ChildSlotOptions } from './child-slot.js';
import type {
  InferenceFault,
  InferenceInput,
  InferenceKind,
  InferenceOutput,
  InferenceWork,
  LoadRequest,
} from './inference-protocol.js';
import { type Priority, WaitingLine } from './waiting-line.js';

export interface InferencePoolOptions {
  readonly children: number;
  /** Requests that may wait; more are refused with `Busy`. */
  readonly maxWaiting: number;
  /** Longest wait for a child. */
  readonly queueTimeoutMs: number;
  readonly load: LoadRequest;
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
    'inferenceSeconds' | 'inferenceQueueSeconds' | 'inferenceWaiting' | 'inferenceRejected' | 'inferenceRestarts'
  >;
  readonly logger: Logger;
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

interface Job {
  readonly id: number;
  readonly input: InferenceInput;
  readonly priority: Priority;
  waitingSinceMs: number;
  deadline: NodeJS.Timeout | undefined;
  retried: boolean;
  resolve(output: InferenceOutput): void;
  reject(error: unknown): void;
}

const CHILD_MODULE = new URL('./inference-child.js', import.meta.url);
const RUN_TIMEOUT_MS = 10_000;
const START_TIMEOUT_MS = 30_000;
const MAX_RETRY_AFTER_SECONDS = 30;
/** What `Retry-After` is estimated from: a running mean of inference times, and the weight of the newest. */
const FIRST_MEAN_RUN_MS = 20;
const MEAN_WEIGHT = 0.1;

export class InferencePool {
  private readonly line: WaitingLine<Job>;
  private readonly running = new Map<number, Job>();
  private readonly slots: readonly ChildSlot[];
  private readonly watch = new StateWatch();
  private stage: 'open' | 'draining' | 'closed' = 'open';
  private nextId = 1;
  private meanRunMs = FIRST_MEAN_RUN_MS;
  private drained: Promise<void> | undefined;

  constructor(
    private readonly options: InferencePoolOptions,
    private readonly deps: InferencePoolDeps,
  ) {
    this.line = new WaitingLine(options.maxWaiting);
    const slotOptions: ChildSlotOptions = {
      module: options.childModule ?? CHILD_MODULE,
      load: options.load,
      startTimeoutMs: options.startTimeoutMs ?? START_TIMEOUT_MS,
      runTimeoutMs: options.runTimeoutMs ?? RUN_TIMEOUT_MS,
    };
    const events = {
      onReady: () => this.dispatch(),
      onAnswer: (answer: Answer) => this.finish(answer),
      onLost: (requestId: number | undefined) => this.recover(requestId),
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
   * Runs one inference in a child. Typed arrays of `input` must be exactly as long as their buffers (what lies around a
   * view would be sent too) and must not change until this settles. Throws `Busy` (too many wait, or waited too long),
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
        clearTimeout(job.deadline);
        signal?.removeEventListener('abort', abort);
      };
      const job: Job = {
        id: this.nextId++,
        input,
        priority,
        waitingSinceMs: 0,
        deadline: undefined,
        retried: false,
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
    this.watch.changed();
    await this.watch.until(() => this.line.length === 0 && this.running.size === 0, deadlineMs);
    this.stage = 'closed';
    this.refuseWaiting('draining', shuttingDown());
    for (const job of this.running.values()) this.refuse(job, 'draining', shuttingDown());
    this.running.clear();
    for (const slot of this.slots) slot.release();
    const empty = () => this.slots.every((slot) => slot.isEmpty);
    await this.watch.until(empty, deadlineMs);
    for (const slot of this.slots) slot.kill();
    await this.watch.until(empty);
  }

  private admit(job: Job): void {
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

  private startWaiting(job: Job): void {
    job.waitingSinceMs = performance.now();
    job.deadline = setTimeout(() => {
      this.line.leave(job);
      const stranded = this.readyCount() === 0;
      this.refuse(job, 'deadline', stranded ? notRunning() : this.busy('The speaker model is too busy.'));
      this.waitingChanged();
    }, this.options.queueTimeoutMs);
  }

  /** Gives waiting requests to idle children. */
  private dispatch(): void {
    for (const slot of this.slots) {
      const job = slot.isIdle ? this.line.next() : undefined;
      if (!job) continue;
      clearTimeout(job.deadline);
      const waitedMs = performance.now() - job.waitingSinceMs;
      this.deps.metrics.inferenceQueueSeconds.observe({ priority: job.priority }, waitedMs / 1000);
      this.running.set(job.id, job);
      slot.run(job.id, job.input);
    }
    this.waitingChanged();
  }

  private finish(answer: Answer): void {
    const job = this.running.get(answer.id);
    this.running.delete(answer.id);
    if (answer.kind === 'done') {
      this.meanRunMs += MEAN_WEIGHT * (answer.computeMs - this.meanRunMs);
      const model = 'embedding' in answer.output ? 'speaker' : 'vad';
      this.deps.metrics.inferenceSeconds.observe({ model }, answer.computeMs / 1000);
      job?.resolve(answer.output);
    } else {
      job?.reject(faultError(answer.fault));
    }
    this.dispatch();
  }

  /** After the loss of a child: its request goes to another one, but only once, since it may be what killed the first. */
  private recover(requestId: number | undefined): void {
    this.deps.metrics.inferenceRestarts.inc();
    const job = requestId === undefined ? undefined : this.running.get(requestId);
    if (job) {
      this.running.delete(job.id);
      if (job.retried) {
        this.refuse(job, 'unavailable', unavailable('The speaker model failed twice on this request.'));
      } else {
        job.retried = true;
        this.line.rejoin(job);
        this.startWaiting(job);
      }
    }
    if (this.isHopeless()) this.refuseWaiting('unavailable', notRunning());
    this.dispatch();
  }

  /** A waiting request leaves the line; a running one is left to finish, and its answer finds nobody. */
  private cancel(job: Job, reason: unknown): void {
    this.line.leave(job);
    this.running.delete(job.id);
    job.reject(reason);
    this.waitingChanged();
  }

  private refuse(job: Job, cause: RejectionCause, error: VoiceAuthError): void {
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

function unavailable(message: string): VoiceAuthError {
  return new VoiceAuthError('InferenceUnavailable', message);
}

function notRunning(): VoiceAuthError {
  return unavailable('The speaker model is not running.');
}

function shuttingDown(): VoiceAuthError {
  return unavailable('The service is shutting down.');
}

function faultError(fault: InferenceFault): VoiceAuthError {
  switch (fault) {
    case 'unusable_input':
      return new VoiceAuthError('AudioProcessingError', 'The audio has samples that are not numbers.');
    case 'unusable_output':
      return new VoiceAuthError('AudioProcessingError', 'The speaker model can make nothing of this audio.');
    case 'runtime':
      return unavailable('The speaker model failed on this request.');
  }
}
