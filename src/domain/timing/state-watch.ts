/** Waiting for a condition over state that changes in callbacks, without polling. */

import type { ScheduledTimer, TimerWheel } from './timer-wheel.js';

export class StateWatch {
  private readonly watchers = new Set<() => void>();

  constructor(private readonly timers: TimerWheel) {}

  /**
   * To be called after every change that somebody may wait for. Whoever came last is told first: of two who wait for what
   * only one can have, it is mostly in place of the other that they came.
   */
  changed(): void {
    for (const watcher of [...this.watchers].reverse()) watcher();
  }

  /** Resolves when `condition` holds, or soon after `deadlineMs` (as `performance.now()` counts) if it does not by then. */
  async until(condition: () => boolean, deadlineMs?: number): Promise<void> {
    if (!condition()) await this.wait(condition, deadlineMs);
  }

  /** Resolves at the next change, or soon after `deadlineMs` (as `performance.now()` counts). */
  next(deadlineMs: number): Promise<void> {
    return this.wait(() => true, deadlineMs);
  }

  /** Like `until`, but nothing holds before the next change. */
  private wait(condition: () => boolean, deadlineMs: number | undefined): Promise<void> {
    return new Promise<void>((resolve) => {
      let timer: ScheduledTimer | undefined;
      const done = () => {
        this.timers.cancel(timer);
        this.watchers.delete(watcher);
        resolve();
      };
      const watcher = () => {
        if (condition()) done();
      };
      this.watchers.add(watcher);
      if (deadlineMs !== undefined) timer = this.timers.schedule(deadlineMs - performance.now(), done);
    });
  }
}
