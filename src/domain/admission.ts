/** Bounds on work that holds memory or connections: what does not fit is refused at once rather than queued. */
import { VoiceAuthError } from './errors.js';

export interface WorkLimitOptions {
  readonly max: number;
  /** Says what there is too much of, for the error message. */
  readonly what: string;
  readonly retryAfterSeconds: number;
  /** Told the new count whenever it changes. */
  readonly onChange?: (active: number) => void;
}

export class WorkLimit {
  private readonly options: WorkLimitOptions;
  private running = 0;

  constructor(options: WorkLimitOptions) {
    this.options = options;
  }

  /** Pieces of work in progress. */
  get active(): number {
    return this.running;
  }

  /** Runs `work` if there is room for it. Throws `Busy` when there is none, and whatever `work` throws. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const { max, what, retryAfterSeconds, onChange } = this.options;
    if (this.running >= max) throw new VoiceAuthError('Busy', `Too many ${what} at once`, { retryAfterSeconds });
    this.running += 1;
    onChange?.(this.running);
    try {
      return await work();
    } finally {
      this.running -= 1;
      onChange?.(this.running);
    }
  }
}
