/** How often the store is asked about leases and questions, and what is said of it, while the store is away. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { CallDesk } from '../../../../src/domain/calls/call-desk.js';
import { CallLeases } from '../../../../src/domain/calls/call-leases.js';
import type { CallStore } from '../../../../src/domain/ports/call-store.js';
import { TimerWheel } from '../../../../src/domain/timing/timer-wheel.js';
import { createLogger } from '../../../../src/observability/logger.js';
import { HandClock } from '../../../support/hand-clock.js';
import { settled } from '../../../support/toy-models.js';
import { databaseDown } from '../../../support/toy-world.js';

const LEASE_MS = 30_000;
const STEP_MS = 50;

let clock: HandClock;
let away: boolean;
let logged: string[];
let polls: number;
/** When renewing was tried, as the clock counts. */
let renewals: number[];
let leases: CallLeases;

beforeEach(() => {
  clock = new HandClock();
  vi.spyOn(performance, 'now').mockImplementation(() => clock.now());
  away = false;
  logged = [];
  polls = 0;
  renewals = [];
});
afterEach(async () => {
  await leases.stop();
  vi.restoreAllMocks();
});

function keep(leaseMs = LEASE_MS): void {
  leases = new CallLeases({
    desk: { size: 1, sessions: () => [], lose: () => undefined, endAll: async () => undefined } as unknown as CallDesk,
    callStore: {
      pollCalls: async () => {
        polls++;
        return away ? databaseDown() : { questions: [], ended: [] };
      },
      renewCalls: async () => {
        renewals.push(clock.now());
        return away ? databaseDown() : [];
      },
    } as unknown as CallStore,
    owner: 'here',
    leaseMs,
    timers: new TimerWheel({ clock, resolutionMs: 5 }),
    logger: createLogger('debug', { write: (line) => logged.push(JSON.parse(line).msg) }),
    onQuestions: () => undefined,
  });
  leases.start();
}

async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += STEP_MS) {
    clock.advance(STEP_MS);
    await settled();
  }
}

it('a store that is away is asked ever more seldom, and that is said once, and when it is over', async () => {
  keep();
  await pass(2_000);
  const before = polls;
  expect(before).toBeGreaterThan(5);
  away = true;
  await pass(9_000);
  expect(polls - before).toBeLessThan(8);
  expect(logged).toEqual(['the leases of calls could not be renewed']);
  away = false;
  await pass(6_000);
  expect(logged).toEqual(['the leases of calls could not be renewed', 'leases of calls are kept again']);
  const back = polls;
  await pass(2_000);
  expect(polls - back).toBeGreaterThan(5);
});

it.each([LEASE_MS, 3_000])(
  'a lease of %d ms is tried to be renewed three times before its end, however long the store has been away',
  async (leaseMs) => {
    keep(leaseMs);
    await pass(leaseMs / 2);
    expect(renewals).toHaveLength(1);
    const renewedAt = renewals[0] ?? 0;
    away = true;
    await pass(leaseMs);
    expect(renewals.filter((at) => at > renewedAt && at < renewedAt + leaseMs).length).toBeGreaterThanOrEqual(3);
  },
);
