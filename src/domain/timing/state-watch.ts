/** Waiting for a condition over state that changes in callbacks, without polling. */

export class StateWatch {
  private readonly watchers = new Set<() => void>();

  /** To be called after every change that somebody may wait for. */
  changed(): void {
    for (const watcher of [...this.watchers]) watcher();
  }

  /** Resolves when `condition` holds, or at `deadlineMs` (as `performance.now()` counts) if it does not by then. */
  async until(condition: () => boolean, deadlineMs?: number): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const done = () => {
        clearTimeout(timer);
        this.watchers.delete(watcher);
        resolve();
      };
      const watcher = () => {
        if (condition()) done();
      };
      this.watchers.add(watcher);
      if (deadlineMs !== undefined) timer = setTimeout(done, Math.max(0, deadlineMs - performance.now()));
    });
  }
}
