import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ScheduledTimer, TimerWheel } from '../../../../src/domain/timing/timer-wheel.js';
import { HandClock } from '../../../support/hand-clock.js';

const RESOLUTION_MS = 25;
const REVOLUTION_MS = 512 * RESOLUTION_MS;

function wheelAt(startMs: number) {
  const clock = new HandClock(startMs);
  const calls: string[] = [];
  const wheel = new TimerWheel({ clock });
  const schedule = (name: string, delayMs: number) => wheel.schedule(delayMs, () => calls.push(name));
  return { clock, wheel, calls, schedule };
}

describe('TimerWheel', () => {
  it('calls back at the first tick that is not too early', () => {
    const { clock, calls, schedule } = wheelAt(1000);
    schedule('on a tick', 50);
    schedule('just after it', 50.001);
    clock.advance(49.999);
    expect(calls).toEqual([]);
    clock.advance(0.001);
    expect(calls).toEqual(['on a tick']);
    clock.advance(24.999);
    expect(calls).toHaveLength(1);
    clock.advance(0.001);
    expect(calls).toEqual(['on a tick', 'just after it']);
  });

  it('never calls back before schedule returns, however short the delay', () => {
    const { clock, calls, schedule } = wheelAt(0);
    schedule('none', 0);
    schedule('negative', -100);
    expect(calls).toEqual([]);
    clock.advance(RESOLUTION_MS);
    expect(calls).toEqual(['none', 'negative']);
  });

  it('refuses delays and resolutions that are no numbers', () => {
    const { wheel, clock } = wheelAt(0);
    for (const delayMs of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => wheel.schedule(delayMs, () => undefined)).toThrow(RangeError);
    }
    expect(wheel.size).toBe(0);
    for (const resolutionMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => new TimerWheel({ clock, resolutionMs })).toThrow(RangeError);
    }
  });

  it('takes back what has not been called', () => {
    const { clock, wheel, calls, schedule } = wheelAt(0);
    const first = schedule('first', 100);
    schedule('second', 100);
    expect([wheel.cancel(first), wheel.cancel(first), wheel.cancel(undefined)]).toEqual([true, false, false]);
    clock.advance(200);
    expect(calls).toEqual(['second']);
  });

  it('takes back, out of one callback, another that is due in the same turn', () => {
    const { clock, wheel, calls } = wheelAt(0);
    let second: ScheduledTimer | undefined;
    wheel.schedule(10, () => calls.push(`first ${wheel.cancel(second)}`));
    second = wheel.schedule(10, () => calls.push('second'));
    clock.advance(100);
    expect(calls).toEqual(['first true']);
    expect([wheel.size, clock.pending]).toEqual([0, 0]);
  });

  it('keeps one real timer, and only while something waits', () => {
    const { clock, wheel, schedule } = wheelAt(0);
    expect(clock.pending).toBe(0);
    const timers = Array.from({ length: 1000 }, (_, i) => schedule(`${i}`, i));
    expect([wheel.size, clock.pending]).toEqual([1000, 1]);
    for (const timer of timers) wheel.cancel(timer);
    expect([wheel.size, clock.pending]).toEqual([0, 0]);
    schedule('last', 60);
    clock.advance(60);
    expect([wheel.size, clock.pending]).toEqual([1, 1]);
    clock.advance(15);
    expect([wheel.size, clock.pending]).toEqual([0, 0]);
  });

  it('is on time again after an idle time of any length', () => {
    const { clock, calls, schedule } = wheelAt(0);
    clock.advance(3 * REVOLUTION_MS + 7);
    schedule('soon', 30);
    clock.advance(29.9);
    expect(calls).toEqual([]);
    clock.advance(25.1);
    expect(calls).toEqual(['soon']);
  });

  it('tells delays apart that lie whole revolutions from each other', () => {
    const { clock, calls, schedule } = wheelAt(0);
    schedule('third', 100 + 2 * REVOLUTION_MS);
    schedule('second', 100 + REVOLUTION_MS);
    schedule('first', 100);
    clock.advance(100);
    expect(calls).toEqual(['first']);
    clock.advance(REVOLUTION_MS);
    expect(calls).toEqual(['first', 'second']);
    clock.advance(REVOLUTION_MS);
    expect(calls).toEqual(['first', 'second', 'third']);
  });

  it.each([REVOLUTION_MS / 2, 5 * REVOLUTION_MS])(
    'calls everything once and in order after a stall of %s ms',
    (stallMs) => {
      const { clock, calls, schedule } = wheelAt(0);
      for (const delayMs of [4000, 30, 4000, 2000, 30]) schedule(`${delayMs}`, delayMs);
      schedule('later', stallMs + 1);
      clock.stall(stallMs);
      expect(calls).toEqual(['30', '30', '2000', '4000', '4000']);
      clock.advance(RESOLUTION_MS);
      expect(calls).toHaveLength(6);
    },
  );

  it('does not drift: a turn that came late makes no later one late', () => {
    const { clock, wheel } = wheelAt(3);
    const ticks: number[] = [];
    const again = () => {
      ticks.push(clock.now());
      if (ticks.length < 4) wheel.schedule(1, again);
    };
    wheel.schedule(1, again);
    clock.stall(25 + 11);
    clock.advance(100);
    // 39 is late; the ticks after it are where they would have been anyway.
    expect(ticks).toEqual([39, 53, 78, 103]);
  });

  it('asks again when its real timer comes too early, as timers of Node can', () => {
    let nowMs = 0;
    const wakes: (() => void)[] = [];
    const clock = {
      now: () => nowMs,
      wake: (_: number, callback: () => void) => {
        wakes.push(callback);
        return () => undefined;
      },
    };
    const calls: number[] = [];
    new TimerWheel({ clock }).schedule(25, () => calls.push(nowMs));
    nowMs = 24.6;
    wakes.shift()?.();
    expect([calls, wakes.length]).toEqual([[], 1]);
    nowMs = 25.2;
    wakes.shift()?.();
    expect([calls, wakes.length]).toEqual([[25.2], 0]);
  });

  it('calls the others one tick later when a callback throws', () => {
    const { clock, wheel, calls, schedule } = wheelAt(0);
    wheel.schedule(10, () => {
      throw new Error('broken');
    });
    schedule('other', 10);
    expect(() => clock.advance(30)).toThrow('broken');
    expect([calls, wheel.size, clock.pending]).toEqual([[], 1, 1]);
    clock.advance(50);
    expect([calls, wheel.size, clock.pending]).toEqual([['other'], 0, 0]);
  });

  it('agrees with a list of deadlines, whatever is scheduled, cancelled and held up', () => {
    interface Model {
      readonly dueMs: number;
      readonly timer: ScheduledTimer;
      cancelled: boolean;
      calledMs: number | undefined;
    }
    const delay = fc.oneof(
      fc.integer({ min: -50, max: 300 }),
      fc.double({ min: 0, max: 100, noNaN: true }),
      fc.integer({ min: 0, max: 3 * REVOLUTION_MS }),
    );
    const step = fc.oneof(
      fc.record({ do: fc.constant('schedule' as const), delayMs: delay, again: fc.boolean() }),
      fc.record({ do: fc.constant('cancel' as const), pick: fc.nat(40) }),
      fc.record({ do: fc.constantFrom('advance' as const, 'stall' as const), ms: delay }),
    );
    const start = fc.double({ min: 0, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(
        start,
        fc.constantFrom(1, 7.3, 25),
        fc.array(step, { maxLength: 50 }),
        (startMs, resolutionMs, steps) => {
          const clock = new HandClock(startMs);
          const wheel = new TimerWheel({ clock, resolutionMs });
          const models: Model[] = [];
          const called: Model[] = [];
          const schedule = (delayMs: number, again: boolean) => {
            const model: Model = {
              dueMs: clock.now() + Math.max(0, delayMs),
              cancelled: false,
              calledMs: undefined,
              timer: wheel.schedule(delayMs, () => {
                expect(model.calledMs).toBeUndefined();
                model.calledMs = clock.now();
                called.push(model);
                if (again) schedule(delayMs / 2, false);
              }),
            };
            models.push(model);
          };
          for (const current of steps) {
            if (current.do === 'schedule') schedule(current.delayMs, current.again);
            else if (current.do === 'cancel') {
              const model = models[current.pick];
              if (model) {
                const waiting = !model.cancelled && model.calledMs === undefined;
                expect(wheel.cancel(model.timer)).toBe(waiting);
                model.cancelled ||= waiting;
              }
            } else clock[current.do](Math.max(0, current.ms));

            const waiting = models.filter(({ cancelled, calledMs }) => !cancelled && calledMs === undefined);
            expect([wheel.size, clock.pending]).toEqual([waiting.length, waiting.length > 0 ? 1 : 0]);
            // Late by less than the resolution, but for what floating point makes of a billion milliseconds.
            for (const { dueMs } of waiting) expect(dueMs).toBeGreaterThan(clock.now() - resolutionMs - 1e-6);
          }
          for (const { dueMs, calledMs, cancelled } of models) {
            if (cancelled) expect(calledMs).toBeUndefined();
            if (calledMs !== undefined) expect(calledMs).toBeGreaterThanOrEqual(dueMs);
          }
          const order = (model: Model) => model.timer.dueTick * 1e6 + models.indexOf(model);
          expect(called).toEqual([...called].sort((a, b) => order(a) - order(b)));
        },
      ),
      { numRuns: 300 },
    );
  });
});
