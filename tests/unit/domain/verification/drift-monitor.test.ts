import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Voiceprint } from '../../../../src/domain/ports/auth-store.js';
import { SpeakerScorer } from '../../../../src/domain/scoring/scorer.js';
import { DriftMonitor } from '../../../../src/domain/verification/drift-monitor.js';
import { Metrics } from '../../../../src/observability/metrics.js';
import { direction, joined, knots, TOY_MODEL_ID, toyCalibration } from '../../../support/toy-models.js';

function voiceprint(degrees: number, version = 1): Voiceprint {
  return { modelId: TOY_MODEL_ID, centroid: direction(degrees), sampleCount: 1, netSpeechMs: 5000, version };
}

/** The impostor tail is told by the fmr that the first knot has. */
function monitor(fmrs: readonly [number, number, number]) {
  const metrics = new Metrics();
  const calibration = toyCalibration({
    tails: [{ netSpeechMs: 2000, knots: knots(-50, fmrs[0], 0, fmrs[1], 50, fmrs[2]) }],
  });
  const cohort = joined(...[60, 75, 90, 120, 180].map(direction));
  const drift = new DriftMonitor({
    scorer: new SpeakerScorer(cohort, 2, { calibration }),
    metrics,
    random: () => 0,
  });
  const value = async (name: 'impostorComparisons' | 'impostorExceedances' | 'impostorDrift', claimed?: string) =>
    (await metrics[name].get()).values.find(({ labels }) => claimed === undefined || labels.claimed === claimed)?.value;
  const verify = (user: number) =>
    drift.observe({
      userId: `user-${user}`,
      voiceprint: voiceprint(user * 7),
      probe: direction(user * 7 + 1),
      netSpeechMs: 4000,
    });
  return { drift, verify, value, forget: (user: number) => drift.forget(`user-${user}`) };
}

describe('the drift monitor', () => {
  it('compares a voice with other people only, four of them at most', async () => {
    const { verify, value } = monitor([0.9, 0.5, 0.2]);
    verify(1);
    verify(1);
    expect(await value('impostorComparisons')).toBe(0);
    verify(2);
    expect(await value('impostorComparisons')).toBe(1);
    for (const user of [3, 4, 5, 6]) verify(user);
    expect(await value('impostorComparisons')).toBe(1 + 2 + 3 + 4 + 4);
  });

  it('says 1 over the rate when every impostor scores like the best of that many, and nothing before it can', async () => {
    const { verify, value } = monitor([0.05, 0.04, 0.03]);
    for (let voice = 0; voice < 120; voice++) verify(voice % 10);
    expect(await value('impostorDrift', '0.1')).toBeUndefined();
    for (let voice = 0; voice < 20; voice++) verify(voice % 10);
    expect(await value('impostorComparisons')).toBeGreaterThan(500);
    expect(await value('impostorDrift', '0.1')).toBeCloseTo(10);
    expect(await value('impostorDrift', '0.01')).toBe(0);
    expect(await value('impostorExceedances', '0.1')).toBe(await value('impostorComparisons'));
  });

  it('is 0 when no impostor comes near', async () => {
    const { verify, value } = monitor([0.9, 0.8, 0.7]);
    for (let voice = 0; voice < 140; voice++) verify(voice % 10);
    expect(await value('impostorDrift', '0.1')).toBe(0);
    expect(await value('impostorExceedances', '0.1')).toBeUndefined();
  });
});

describe('a reference', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('of somebody who was erased is not compared with any more', async () => {
    const { verify, value, forget } = monitor([0.9, 0.5, 0.2]);
    verify(1);
    verify(2);
    forget(1);
    forget(7);
    verify(3);
    expect(await value('impostorComparisons')).toBe(1 + 1);
  });

  it('is of the voiceprint that was verified last', async () => {
    const { drift, value } = monitor([0.9, 0.5, 1e-12]);
    const probe = direction(0);
    const verified = { probe, netSpeechMs: 4000 };
    drift.observe({ ...verified, userId: 'a', voiceprint: voiceprint(90) });
    drift.observe({ ...verified, userId: 'a', voiceprint: voiceprint(0, 2) });
    drift.observe({ ...verified, userId: 'b', voiceprint: voiceprint(40) });
    expect(await value('impostorComparisons')).toBe(1);
    expect(await value('impostorExceedances', '0.1')).toBe(1);
  });

  it('gives way to those of others once there are 32, the one verified longest ago first', () => {
    const { drift, verify } = monitor([0.9, 0.5, 0.2]);
    const users = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `user-${from + i}`);
    for (let user = 0; user < 40; user++) verify(user);
    expect(drift.people()).toEqual(users(8, 40));
    verify(8);
    verify(40);
    expect(drift.people()).toEqual([...users(10, 40), 'user-8', 'user-40']);
  });

  it('lives ten minutes from its last verification', async () => {
    const { verify, value } = monitor([0.9, 0.5, 0.2]);
    verify(1);
    vi.advanceTimersByTime(540_000);
    verify(2);
    vi.advanceTimersByTime(59_999);
    verify(2);
    expect(await value('impostorComparisons')).toBe(2);
    vi.advanceTimersByTime(1);
    verify(3);
    expect(await value('impostorComparisons')).toBe(3);
  });

  it('is let go of when its time is over, whether or not another voice comes', () => {
    const { verify } = monitor([0.9, 0.5, 0.2]);
    verify(1);
    vi.advanceTimersByTime(300_000);
    verify(2);
    vi.advanceTimersByTime(300_000);
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(300_000);
    expect(vi.getTimerCount()).toBe(0);
  });
});
