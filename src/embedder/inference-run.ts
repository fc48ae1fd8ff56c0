/** What a child does at a time: one embedding, or the speech detection of several streams together. */
import type { InferenceOptions } from '../domain/ports/speaker-model.js';
import type { ScheduledTimer } from '../domain/timing/timer-wheel.js';
import { type DetectPacker, unpackDetects } from './detector-batch.js';
import type { InferenceFault, InferenceInput, InferenceOutput, RunInput, RunOutput } from './inference-protocol.js';

/** One request to the pool, from its admission to its answer. */
export interface InferenceJob {
  readonly input: InferenceInput;
  readonly priority: InferenceOptions['priority'];
  waitingSinceMs: number;
  deadline: ScheduledTimer | undefined;
  /** It was in a run that failed, perhaps because of it; so it runs alone. */
  retried: boolean;
  /** Answered, refused or cancelled: whatever comes now finds nobody. */
  settled: boolean;
  resolve(output: InferenceOutput): void;
  reject(error: unknown): void;
}

/** Longer requests run alone: those beside them would wait for frames that are not theirs. */
const MAX_SHARED_FRAMES = 32;

/** Whether a request may run together with others that may. */
export function mayShareRun({ input, retried }: InferenceJob): boolean {
  return input.kind === 'detect' && !retried && input.frames <= MAX_SHARED_FRAMES;
}

export class InferenceRun {
  readonly jobs: readonly InferenceJob[];
  readonly model: 'speaker' | 'vad';

  /** Takes either one job of any kind, or several that may share a run. */
  constructor(
    readonly id: number,
    jobs: readonly InferenceJob[],
  ) {
    this.jobs = jobs.length > 1 ? [...jobs].sort((a, b) => framesOf(b) - framesOf(a)) : jobs;
    this.model = jobs[0]?.input.kind === 'embed' ? 'speaker' : 'vad';
  }

  /** Somebody still waits for it. */
  get isAwaited(): boolean {
    return this.jobs.some((job) => !job.settled);
  }

  /** What goes to the child; good until the packer's next use. */
  input(packer: DetectPacker): RunInput {
    const [first] = this.jobs;
    return first?.input.kind === 'embed' ? first.input : packer.pack(this.detects());
  }

  /** What each job is answered with. */
  outcomes(output: RunOutput): readonly (InferenceOutput | InferenceFault)[] {
    if (output.kind === 'embed') return [{ embedding: output.embedding }];
    return unpackDetects(
      this.detects().map(({ frames }) => frames),
      output,
    );
  }

  private detects() {
    return this.jobs.map(({ input }) => input).filter((input) => input.kind === 'detect');
  }
}

function framesOf({ input }: InferenceJob): number {
  return input.kind === 'detect' ? input.frames : 0;
}
