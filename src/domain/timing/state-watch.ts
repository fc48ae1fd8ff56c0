/** Waiting for a condition over state that changes in callbacks, without polling. */

import type { ScheduledTimer, TimerWheel } from './timer-wheel.js';

export class StateWatch {
  private readonly watchers = new Set<() => void>();

  constructor(private readonly timers: TimerWheel) {}

  /** To be called after every change that somebody may wait for. */
  changed(): void {
    for (const watcher of [...this.watchers]) watcher();
  }

  /** Resolves when `condition` holds, or soon after `deadlineMs` (as `performance.now()` counts) if it does not by then. */
  async until(condition: () => boolean, deadlineMs?: number): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve) => {
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
