/**
 * Deadlines by the thousand on one real timer: a hashed wheel (Varghese and Lauck, 1987). Scheduling and cancelling take
 * the same time however many wait; in return a callback comes up to one resolution late, and never early.
 */

/** Where a wheel gets its time from, so that tests can turn it by hand. */
export interface WheelClock {
  /** Milliseconds since any moment; never goes back. */
  now(): number;
  /** Calls back once, in about `delayMs`. The answer takes that back. */
  wake(delayMs: number, callback: () => void): () => void;
}

export interface TimerWheelOptions {
  readonly clock?: WheelClock;
  /** How late a callback may be while nothing holds up the event loop, besides the accuracy of the clock's own timer. */
  readonly resolutionMs?: number;
}

/** What `schedule` gives and `cancel` takes; it says nothing by itself. */
export interface ScheduledTimer {
  readonly dueTick: number;
}

interface Entry extends ScheduledTimer {
  readonly order: number;
  readonly callback: () => void;
  /** The set that holds it; undefined once it was called or cancelled. */
  home: Set<Entry> | undefined;
}

/** One revolution takes 12.8 s at the default resolution; what is due later stays in its slot for another. */
const SLOTS = 512;
const RESOLUTION_MS = 25;

const SYSTEM_CLOCK: WheelClock = {
  now: () => performance.now(),
  wake: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

export class TimerWheel {
  private readonly clock: WheelClock;
  private readonly resolutionMs: number;
  /** Tick 0. All ticks are counted from here, so that being late once makes no later one late. */
  private readonly startMs: number;
  private readonly slots: readonly Set<Entry>[] = Array.from({ length: SLOTS }, () => new Set<Entry>());
  /** Taken out of their slots and about to be called; holds something between turns only after a callback has thrown. */
  private readonly due = new Set<Entry>();
  /** The last tick whose slot was served. */
  private tick = 0;
  private count = 0;
  private scheduled = 0;
  private stopWaking: (() => void) | undefined;

  constructor({ clock = SYSTEM_CLOCK, resolutionMs = RESOLUTION_MS }: TimerWheelOptions = {}) {
    if (!(resolutionMs > 0 && Number.isFinite(resolutionMs))) throw new RangeError('a resolution is a positive number');
    this.clock = clock;
    this.resolutionMs = resolutionMs;
    this.startMs = clock.now();
  }

  /** Callbacks that wait. The real timer runs while there are any. */
  get size(): number {
    return this.count;
  }

  /**
   * Calls `callback` once, `delayMs` from now at the earliest, and never before this returns. Callbacks come in the order of
   * their ticks and, within one, in that of their scheduling. One that throws delays the others by a tick. Throws
   * `RangeError` for a delay that is not a finite number; a negative one counts as none.
   */
  schedule(delayMs: number, callback: () => void): ScheduledTimer {
    if (!Number.isFinite(delayMs)) throw new RangeError('a delay is a finite number of milliseconds');
    const now = this.clock.now();
    // Nothing waited, so no slot was served meanwhile and none needs to be.
    if (this.count === 0) this.tick = Math.max(this.tick, this.tickAt(now));
    const dueTick = Math.max(this.tick + 1, this.firstTickFrom(now + delayMs));
    const home = this.slotOf(dueTick);
    const entry: Entry = { dueTick, order: this.scheduled++, callback, home };
    home.add(entry);
    this.count++;
    this.wakeForNextTick();
    return entry;
  }

  /** Takes a callback back; false when there is nothing to take back: it was called or cancelled before, or is undefined. */
  cancel(timer: ScheduledTimer | undefined): boolean {
    const entry = timer as Entry | undefined;
    if (!entry?.home) return false;
    this.take(entry);
    if (this.count === 0) this.sleep();
    return true;
  }

  private turn(): void {
    this.stopWaking = undefined;
    const from = this.tick;
    this.tick = Math.max(from, this.tickAt(this.clock.now()));
    const collected: Entry[] = [];
    const served = Math.min(this.tick - from, SLOTS);
    for (let ahead = 1; ahead <= served; ahead++) {
      for (const entry of this.slotOf(from + ahead)) if (entry.dueTick <= this.tick) collected.push(entry);
    }
    // Slot by slot is the order of ticks already, unless the wheel is late by a revolution.
    if (served === SLOTS) collected.sort((a, b) => a.dueTick - b.dueTick || a.order - b.order);
    for (const entry of collected) {
      entry.home?.delete(entry);
      entry.home = this.due;
      this.due.add(entry);
    }
    try {
      for (const entry of this.due) {
        this.take(entry);
        entry.callback();
      }
    } finally {
      if (this.count > 0) this.wakeForNextTick();
    }
  }

  private take(entry: Entry): void {
    entry.home?.delete(entry);
    entry.home = undefined;
    this.count--;
  }

  private wakeForNextTick(): void {
    if (this.stopWaking) return;
    const delayMs = this.timeOf(this.tick + 1) - this.clock.now();
    this.stopWaking = this.clock.wake(Math.max(0, delayMs), () => this.turn());
  }

  private sleep(): void {
    this.stopWaking?.();
    this.stopWaking = undefined;
  }

  private slotOf(tick: number): Set<Entry> {
    return this.slots[tick % SLOTS]!;
  }

  private timeOf(tick: number): number {
    return this.startMs + tick * this.resolutionMs;
  }

  /** The last tick at or before a time, as `timeOf` counts: dividing alone may round to a neighbour. */
  private tickAt(timeMs: number): number {
    const tick = Math.round((timeMs - this.startMs) / this.resolutionMs);
    return this.timeOf(tick) > timeMs ? tick - 1 : tick;
  }

  /** The first tick at or after a time. */
  private firstTickFrom(timeMs: number): number {
    const tick = this.tickAt(timeMs);
    return this.timeOf(tick) < timeMs ? tick + 1 : tick;
  }
}
