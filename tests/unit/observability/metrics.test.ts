import { describe, expect, it } from 'vitest';
import { CALL_PLATFORMS } from '../../../src/domain/calls/calls.js';
import { ERROR_CODES } from '../../../src/domain/errors.js';
import { DECISIONS, REASONS } from '../../../src/domain/verification/decision.js';
import { Metrics } from '../../../src/observability/metrics.js';

const metrics = new Metrics();
const all = await metrics.registry.getMetricsAsJSON();

describe('Metrics', () => {
  it('are named as Prometheus wants it', () => {
    expect(all.length).toBeGreaterThan(20);
    for (const { name, type, help } of all) {
      expect(name).toMatch(/^voice_auth_[a-z][a-z0-9_]*[a-z]$/);
      expect(help.length).toBeGreaterThan(5);
      if (name.startsWith('voice_auth_nodejs_') || name.startsWith('voice_auth_process_')) continue;
      if (String(type) === 'counter') expect(name).toMatch(/_total$/);
      else expect(name).not.toMatch(/_total$/);
      expect(name).not.toMatch(/_(ms|millis|milliseconds|kb|mb)$/);
    }
  });

  it('have labels that say nothing about a person and stay few', () => {
    const allowed = new Set(
      'operation status outcome decision reason source code model priority cause function limit platform end type tool claimed component'.split(
        ' ',
      ),
    );
    const labels = Object.values(metrics)
      .filter((metric) => typeof metric === 'object' && metric !== null && 'labelNames' in metric)
      .flatMap((metric) => (metric as unknown as { labelNames: string[] }).labelNames);
    expect(labels.length).toBeGreaterThan(10);
    expect(labels.filter((label) => !allowed.has(label))).toEqual([]);
  });

  it('take what is counted with them', async () => {
    const fresh = new Metrics();
    for (const decision of DECISIONS) {
      for (const reason of REASONS) fresh.verifications.inc({ decision, reason, source: 'upload' });
      fresh.score.observe({ decision }, 1);
    }
    for (const code of ERROR_CODES) fresh.verificationErrors.inc({ code });
    const page = await fresh.registry.metrics();
    expect(page).toContain('voice_auth_verifications_total{decision="accept",reason="match",source="upload"} 1');
    // Nothing scores more than the last bucket holds.
    expect(page).toMatch(/voice_auth_verification_score_bucket\{le="1",decision="accept"\} 1/);
    expect(page).toContain('voice_auth_nodejs_eventloop_lag_p99_seconds');
  });

  it('have a series for whatever an attempt can come to, before the first one, so that it is seen to grow', async () => {
    const { values } = await new Metrics().verifications.get();
    expect(values.every(({ value }) => value === 0)).toBe(true);
    for (const source of ['upload', 'audio_url', 'listen_url', ...CALL_PLATFORMS]) {
      const reasons = values.filter(({ labels }) => labels.source === source).map(({ labels }) => labels.reason);
      // Nobody is challenged so far.
      expect(reasons.toSorted()).toEqual(REASONS.filter((reason) => reason !== 'challenge_failed').toSorted());
    }
  });

  it('have no number of what was not counted yet', async () => {
    const page = await new Metrics().registry.metrics();
    expect(page).toContain('# TYPE voice_auth_outdated_voiceprints gauge');
    expect(page).not.toMatch(/^voice_auth_(outdated_voiceprints|housekeeping_last|scrub_pending|ready)/m);
  });

  it('of two services in one process do not mix', async () => {
    const [one, other] = [new Metrics(), new Metrics()];
    one.lockouts.inc();
    expect((await one.lockouts.get()).values[0]?.value).toBe(1);
    expect((await other.lockouts.get()).values[0]?.value).toBe(0);
  });

  it('have a bucket edge at every score whose meaning is told', async () => {
    const fresh = new Metrics();
    fresh.score.observe({ decision: 'accept' }, 0.5);
    const { values } = await fresh.score.get();
    const edges = values.map(({ labels }) => labels.le);
    for (const score of [0.82, 0.9, 0.954]) expect(edges).toContain(score);
  });
});
