/** A clock that a test turns by hand, for what takes a `WheelClock`. */
import type { WheelClock } from '../../src/domain/timing/timer-wheel.js';

interface Alarm {
  readonly atMs: number;
  readonly callback: () => void;
}

export class HandClock implements WheelClock {
  private readonly alarms = new Set<Alarm>();

  constructor(private nowMs = 0) {}

  /** Alarms that are set: real timers, if this were a real clock. */
  get pending(): number {
    return this.alarms.size;
  }

  now(): number {
    return this.nowMs;
  }

  wake(delayMs: number, callback: () => void): () => void {
    const alarm: Alarm = { atMs: this.nowMs + delayMs, callback };
    this.alarms.add(alarm);
    return () => this.alarms.delete(alarm);
  }

  /** Lets time pass, with every alarm going off in its moment. */
  advance(durationMs: number): void {
    const untilMs = this.nowMs + durationMs;
    for (let alarm = this.first(untilMs); alarm; alarm = this.first(untilMs)) {
      this.nowMs = Math.max(this.nowMs, alarm.atMs);
      this.ring(alarm);
    }
    this.nowMs = untilMs;
  }

  /** Lets time pass with the event loop held up: alarms that were due meanwhile go off at the end, once each. */
  stall(durationMs: number): void {
    this.nowMs += durationMs;
    for (const alarm of [...this.alarms]) if (alarm.atMs <= this.nowMs) this.ring(alarm);
  }

  private ring(alarm: Alarm): void {
    if (this.alarms.delete(alarm)) alarm.callback();
  }

  private first(untilMs: number): Alarm | undefined {
    const due = [...this.alarms].filter(({ atMs }) => atMs <= untilMs);
    return due.sort((a, b) => a.atMs - b.atMs)[0];
  }
}
