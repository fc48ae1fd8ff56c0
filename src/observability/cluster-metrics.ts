/**
 * One metrics page for several server processes: what each of them read off its own metrics, put together so that
 * Prometheus sees one service. Counters and histograms of a process that is gone stay in the sum: they never go backwards.
 */
import {
  AggregatorRegistry,
  Counter,
  collectDefaultMetrics,
  Gauge,
  type PrometheusContentType,
  Registry,
} from 'prom-client';
import { METRICS_PREFIX, SCRUB_PENDING } from './metrics.js';

/** All metrics of one process at one moment, as prom-client's `getMetricsAsJSON` gives them. */
export type MetricsReading = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

/**
 * How the values of several processes become one, where prom-client's own choice would say little: its average hides the
 * one process that lags, the sum of what each may open is no limit of anything, and it leaves the start time out. All
 * others are added up.
 */
const AGGREGATORS: Readonly<Record<string, 'max' | 'min' | 'average'>> = {
  impostor_drift_ratio: 'average',
  // Each counts the same people.
  outdated_voiceprints: 'max',
  ready: 'min',
  // Each removes what it finds, whoever was first.
  housekeeping_last_success_timestamp_seconds: 'max',
  nodejs_eventloop_lag_seconds: 'max',
  nodejs_eventloop_lag_mean_seconds: 'max',
  nodejs_eventloop_lag_stddev_seconds: 'max',
  nodejs_eventloop_lag_p50_seconds: 'max',
  nodejs_eventloop_lag_p90_seconds: 'max',
  nodejs_eventloop_lag_p99_seconds: 'max',
  process_open_fds: 'max',
  process_max_fds: 'min',
  process_start_time_seconds: 'min',
};

/** The page of all processes, with the metrics of the one that starts the others and serves no requests itself. */
export class ClusterMetrics {
  readonly #registry = new Registry();
  readonly workers = new Gauge({
    name: `${METRICS_PREFIX}workers`,
    help: 'Server processes that there should be.',
    registers: [this.#registry],
  });
  readonly workersReady = new Gauge({
    name: `${METRICS_PREFIX}workers_ready`,
    help: 'Server processes that serve.',
    registers: [this.#registry],
  });
  readonly workerRestarts = new Counter({
    name: `${METRICS_PREFIX}worker_restarts_total`,
    help: 'Server processes replaced.',
    registers: [this.#registry],
  });
  readonly scrubPending = new Gauge({
    name: METRICS_PREFIX + SCRUB_PENDING.name,
    help: SCRUB_PENDING.help,
    registers: [this.#registry],
  });
  #retired: Promise<MetricsReading> = Promise.resolve([]);

  constructor() {
    // Of no embedded database there is nothing to say.
    this.scrubPending.remove();
    collectDefaultMetrics({ register: this.#registry, prefix: METRICS_PREFIX, eventLoopMonitoringPrecision: 10 });
  }

  /**
   * Keeps the counters and histograms of the last reading of a process that is gone. Rejects when they cannot be added up;
   * what was kept before stays.
   */
  async retire(last: MetricsReading): Promise<void> {
    const counted = last.filter(({ type }) => String(type) !== 'gauge');
    const before = this.#retired;
    const sum = before.then((retired) => aggregate([retired, counted]).getMetricsAsJSON());
    this.#retired = sum.catch(() => before);
    await sum;
  }

  /** Everything as one page in Prometheus' text format. `living`: the last readings of the processes not retired so far. */
  async page(living: readonly MetricsReading[]): Promise<string> {
    const [own, retired] = await Promise.all([this.#registry.getMetricsAsJSON(), this.#retired]);
    return aggregate([own, retired, ...living]).metrics();
  }
}

function aggregate(readings: readonly MetricsReading[]): Registry<PrometheusContentType> {
  return AggregatorRegistry.aggregate<PrometheusContentType>(readings.map((reading) => reading.map(prepared)));
}

function prepared(metric: MetricsReading[number]): MetricsReading[number] {
  const aggregator = AGGREGATORS[metric.name.slice(METRICS_PREFIX.length)] ?? metric.aggregator;
  // The event loop's delay is not a number when nothing was measured since the last look; it would swallow the others.
  return { ...metric, aggregator, values: metric.values.filter(({ value }) => !Number.isNaN(value)) };
}
