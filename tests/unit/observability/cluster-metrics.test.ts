/** Several processes, one page: sums, the worst of what cannot be added up, and counters that never go backwards. */
import { describe, expect, it } from 'vitest';
import { ClusterMetrics, type MetricsReading } from '../../../src/observability/cluster-metrics.js';
import { Metrics } from '../../../src/observability/metrics.js';
import { metricSum } from '../../support/local-service.js';

const read = (metrics: Metrics) => metrics.registry.getMetricsAsJSON();

/** A reading in which one metric has another value. */
function changed(reading: MetricsReading, name: string, value: number): MetricsReading {
  return reading.map((metric) => (metric.name === name ? { ...metric, values: [{ value, labels: {} }] } : metric));
}

describe('metrics of several processes', () => {
  it('adds up counters, histograms and gauges by their labels', async () => {
    const [a, b] = [new Metrics(), new Metrics()];
    a.verifications.inc({ decision: 'accept', reason: 'match', source: 'upload' }, 2);
    b.verifications.inc({ decision: 'accept', reason: 'match', source: 'upload' }, 3);
    b.verifications.inc({ decision: 'reject', reason: 'no_match', source: 'upload' });
    a.score.observe({ decision: 'accept' }, 0.9);
    b.score.observe({ decision: 'accept' }, 0.3);
    a.activeCalls.set(4);
    b.activeCalls.set(5);
    const page = await new ClusterMetrics().page([await read(a), await read(b)]);
    expect(metricSum(page, 'voice_auth_verifications_total', 'decision="accept"')).toBe(5);
    expect(metricSum(page, 'voice_auth_verifications_total', 'decision="reject"')).toBe(1);
    expect(metricSum(page, 'voice_auth_verification_score_count')).toBe(2);
    expect(metricSum(page, 'voice_auth_verification_score_sum')).toBeCloseTo(1.2);
    expect(page).toMatch(/^voice_auth_verification_score_bucket\{le="0.5",decision="accept"\} 1$/m);
    expect(page).toMatch(/^voice_auth_verification_score_bucket\{le="\+Inf",decision="accept"\} 2$/m);
    expect(page).toContain('# TYPE voice_auth_verification_score histogram');
    expect(metricSum(page, 'voice_auth_active_calls')).toBe(9);
  });

  it('shows the process that lags most, and nothing of one that measured nothing', async () => {
    const reading = await read(new Metrics());
    const p99 = 'voice_auth_nodejs_eventloop_lag_p99_seconds';
    const readings = [changed(reading, p99, 700), changed(reading, p99, Number.NaN), changed(reading, p99, 2)];
    expect(metricSum(await new ClusterMetrics().page(readings), p99)).toBe(700);
  });

  it('is not ready where one process is not', async () => {
    const [ready, away, unasked] = [new Metrics(), new Metrics(), new Metrics()];
    ready.ready.set({ component: 'database' }, 1);
    away.ready.set({ component: 'database' }, 0);
    const page = async (...all: Metrics[]) => new ClusterMetrics().page(await Promise.all(all.map(read)));
    expect(await page(ready, away, ready)).toContain('voice_auth_ready{component="database"} 0');
    expect(await page(ready, unasked)).toContain('voice_auth_ready{component="database"} 1');
    expect(await page(unasked)).not.toContain('voice_auth_ready{');
  });

  it('shows the last success of any process, and what the one with the embedded database still has to do', async () => {
    const [first, last, never] = [new Metrics(), new Metrics(), new Metrics()];
    first.housekeepingLastSuccess.set(1000);
    last.housekeepingLastSuccess.set(2000);
    const cluster = new ClusterMetrics();
    const page = async () => cluster.page(await Promise.all([first, last, never].map(read)));
    expect(await page()).toMatch(/^voice_auth_housekeeping_last_success_timestamp_seconds 2000$/m);
    expect(await page()).not.toMatch(/^voice_auth_scrub_pending_tables /m);
    cluster.scrubPending.set(3);
    expect(await page()).toMatch(/^voice_auth_scrub_pending_tables 3$/m);
  });

  it('shows limits and the start time as what they are', async () => {
    const reading = await read(new Metrics());
    const page = await new ClusterMetrics().page([
      changed(changed(reading, 'voice_auth_process_max_fds', 100), 'voice_auth_process_start_time_seconds', 50),
      changed(changed(reading, 'voice_auth_process_open_fds', 90_000), 'voice_auth_process_start_time_seconds', 60),
    ]);
    expect(metricSum(page, 'voice_auth_process_max_fds')).toBe(100);
    expect(metricSum(page, 'voice_auth_process_open_fds')).toBe(90_000);
    expect(metricSum(page, 'voice_auth_process_start_time_seconds')).toBe(50);
  });

  it('has every metric of a single process, once', async () => {
    const single = new Metrics();
    const page = await new ClusterMetrics().page([await read(single), await read(new Metrics())]);
    const names = (text: string) => [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name);
    const [own, all] = [names(await single.registry.metrics()), names(page)];
    expect(own.filter((name) => !all.includes(name))).toEqual([]);
    expect(new Set(all).size).toBe(all.length);
  });

  it('keeps what the dead have counted, but not how they were', async () => {
    const cluster = new ClusterMetrics();
    const [dead, alive] = [new Metrics(), new Metrics()];
    for (const metrics of [dead, alive]) {
      metrics.lockouts.inc(2);
      metrics.toolSeconds.observe({ tool: 'verify_caller' }, 0.2);
      metrics.activeCalls.set(3);
    }
    const living = await read(alive);
    await cluster.retire(await read(dead));
    await cluster.retire(await read(dead));
    const page = await cluster.page([living]);
    expect(metricSum(page, 'voice_auth_lockouts_total')).toBe(6);
    expect(metricSum(page, 'voice_auth_tool_call_seconds_count')).toBe(3);
    expect(metricSum(page, 'voice_auth_active_calls')).toBe(3);
    expect(metricSum(await cluster.page([]), 'voice_auth_lockouts_total')).toBe(4);
  });

  it('loses nothing else by a process whose last reading cannot be added up', async () => {
    const cluster = new ClusterMetrics();
    const metrics = new Metrics();
    metrics.lockouts.inc(2);
    const last = await read(metrics);
    const mode = { name: 'mode', help: '', type: 'counter', aggregator: 'mode', values: [] };
    const strange = [...last, mode as unknown as MetricsReading[number]];
    await cluster.retire(last);
    await expect(cluster.retire(strange)).rejects.toThrow('mode');
    expect(metricSum(await cluster.page([]), 'voice_auth_lockouts_total')).toBe(2);
    await cluster.retire(last);
    expect(metricSum(await cluster.page([]), 'voice_auth_lockouts_total')).toBe(4);
  });

  it('says how many workers there are', async () => {
    const cluster = new ClusterMetrics();
    cluster.workers.set(3);
    cluster.workersReady.set(2);
    cluster.workerRestarts.inc();
    const page = await cluster.page([]);
    expect(page).toMatch(/^voice_auth_workers 3$/m);
    expect(page).toMatch(/^voice_auth_workers_ready 2$/m);
    expect(page).toMatch(/^voice_auth_worker_restarts_total 1$/m);
  });
});
