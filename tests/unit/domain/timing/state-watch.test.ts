/** Waiting for a change: the next one, or one after which something holds, or a deadline. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { StateWatch } from '../../../../src/domain/timing/state-watch.js';
import { TimerWheel } from '../../../../src/domain/timing/timer-wheel.js';
import { HandClock } from '../../../support/hand-clock.js';
import { settled } from '../../../support/toy-models.js';

let clock: HandClock;
let watch: StateWatch;
let resolved: boolean;

beforeEach(() => {
  clock = new HandClock();
  vi.spyOn(performance, 'now').mockImplementation(() => clock.now());
  watch = new StateWatch(new TimerWheel({ clock, resolutionMs: 5 }));
  resolved = false;
});
afterEach(() => vi.restoreAllMocks());

/** Whether the promise has resolved, once everything has run that can. */
async function over(): Promise<boolean> {
  await settled();
  return resolved;
}

function follow(waiting: Promise<void>): void {
  void waiting.then(() => {
    resolved = true;
  });
}

it('the next change ends the waiting, and no earlier one', async () => {
  watch.changed();
  follow(watch.next(1_000));
  expect(await over()).toBe(false);
  watch.changed();
  expect(await over()).toBe(true);
  expect(clock.pending).toBe(0);
});

it('a deadline ends it without a change', async () => {
  follow(watch.next(1_000));
  clock.advance(900);
  expect(await over()).toBe(false);
  clock.advance(200);
  expect(await over()).toBe(true);
});

it('a condition ends it at once, or at the change after which it holds, however short', async () => {
  await watch.until(() => true);
  let holds = false;
  follow(watch.until(() => holds));
  watch.changed();
  expect(await over()).toBe(false);
  holds = true;
  watch.changed();
  holds = false;
  expect(await over()).toBe(true);
});

it('a change that several wait for is told to whoever came last first', async () => {
  const told: string[] = [];
  const waiting = ['first', 'second'].map((who) => watch.next(1_000).then(() => told.push(who)));
  watch.changed();
  await Promise.all(waiting);
  expect(told).toEqual(['second', 'first']);
});
