/**
 * All metrics of the service, in one place. Labels are operation names, decisions, reasons and stable codes: never ids,
 * numbers or URLs, so nothing about a person leaves through /metrics and cardinality stays bounded.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { FIRST_SERIES } from './first-series.js';

export const METRICS_PREFIX = 'voice_auth_';

/** Set where the embedded database is: by the only server process, or by the one that starts the others. */
export const SCRUB_PENDING = {
  name: 'scrub_pending_tables',
  help: 'Tables of the embedded database that something was removed from which their files still hold.',
};

export class Metrics {
  readonly registry = new Registry();

  readonly httpRequests = this.counter('http_requests_total', 'HTTP requests by operation and status.', [
    'operation',
    'status',
  ]);
  readonly httpSeconds = this.histogram(
    'http_request_seconds',
    'Time to answer HTTP requests.',
    [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80],
    ['operation'],
  );
  readonly enrollments = this.counter('enrollments_total', 'Enrollments by outcome (enrolled or an error code).', [
    'outcome',
  ]);
  readonly verifications = this.counter('verifications_total', 'Recorded verification attempts.', [
    'decision',
    'reason',
    'source',
  ]);
  readonly verificationErrors = this.counter('verification_errors_total', 'Verifications that ended in an error.', [
    'code',
  ]);
  readonly score = this.histogram(
    'verification_score',
    'Scores of verification attempts.',
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.78, 0.82, 0.86, 0.9, 0.954, 0.98, 1],
    ['decision'],
  );
  readonly netSpeech = this.histogram(
    'net_speech_seconds',
    'Net caller speech used.',
    [0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30],
    ['operation'],
  );
  readonly decisionSeconds = this.histogram(
    'decision_seconds',
    'Time from the request to the recorded decision.',
    [0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60],
    ['decision'],
  );
  readonly inferenceSeconds = this.histogram(
    'inference_seconds',
    'Time of one inference in its child process.',
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 1],
    ['model'],
  );
  readonly inferenceQueueSeconds = this.histogram(
    'inference_queue_seconds',
    'Time an inference request waited for a child process.',
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    ['priority'],
  );
  readonly inferenceWaiting = this.gauge('inference_waiting', 'Inference requests waiting.');
  readonly inferenceRejected = this.counter('inference_rejected_total', 'Inference requests refused or timed out.', [
    'cause',
  ]);
  readonly inferenceRestarts = this.counter('inference_child_restarts_total', 'Inference children replaced.');
  readonly inferenceBatch = this.histogram(
    'inference_batch_size',
    'Requests answered by one inference run.',
    [1, 2, 4, 8, 16, 32, 64],
    ['model'],
  );
  readonly callSessions = this.gauge('call_sessions', 'Calls being listened to from their start.');
  readonly callSessionsEnded = this.counter(
    'call_sessions_ended_total',
    'Call sessions by platform and how they ended.',
    ['platform', 'end'],
  );
  readonly callTakeovers = this.counter('call_takeovers_total', 'Calls taken over from a process that was gone.');
  readonly webhooks = this.counter('webhooks_total', 'Webhooks of voice platforms by type and outcome.', [
    'type',
    'outcome',
  ]);
  readonly toolCalls = this.counter('tool_calls_total', 'Tool calls by tool and outcome.', ['tool', 'outcome']);
  readonly toolSeconds = this.histogram(
    'tool_call_seconds',
    'Time to answer tool calls.',
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60],
    ['tool'],
  );
  readonly streamConnections = this.counter(
    'stream_connections_total',
    'Incoming media-stream connections by platform and outcome.',
    ['platform', 'outcome'],
  );
  readonly impostorComparisons = this.counter(
    'impostor_comparisons_total',
    'Verified voices compared with voiceprints of other people, to see whether the calibration holds here.',
  );
  readonly impostorExceedances = this.counter(
    'impostor_exceedances_total',
    'Of those, the ones that scored as high as the calibration claims for this share of impostors.',
    ['claimed'],
  );
  readonly impostorDrift = this.gauge(
    'impostor_drift_ratio',
    'Observed share of impostors at a claimed false-match rate, over that rate; 1 = as calibrated.',
    ['claimed'],
  );
  readonly streamMessagesIgnored = this.counter(
    'stream_messages_ignored_total',
    'Messages of incoming media streams that hold no audio and say nothing of use, by cause.',
    ['platform', 'cause'],
  );
  readonly outdatedVoiceprints = this.gaugeOnceKnown(
    'outdated_voiceprints',
    'Users enrolled with another model than the one in use, as counted at start and every hour.',
  );
  readonly activeCalls = this.gauge('active_calls', 'Enrollments and verifications in progress.');
  readonly listenConnections = this.counter('listen_connections_total', 'Outgoing listen connections by outcome.', [
    'outcome',
  ]);
  readonly framesReceived = this.counter('audio_frames_received_total', 'Wire frames of audio received.');
  readonly framesDropped = this.counter(
    'audio_frames_dropped_total',
    'Frames dropped, by cause: wire frames, or detector frames for `backlog`.',
    ['cause'],
  );
  readonly databaseSeconds = this.histogram(
    'database_seconds',
    'Time of one database call.',
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    ['function', 'outcome'],
  );
  readonly databaseErrors = this.counter(
    'database_errors_total',
    'Database calls that ended in an error, by its code; not those for readiness.',
    ['outcome'],
  );
  readonly housekeepingLastSuccess = this.gaugeOnceKnown(
    'housekeeping_last_success_timestamp_seconds',
    'When what has had its time was last removed without an error.',
  );
  readonly scrubPending = this.gaugeOnceKnown(SCRUB_PENDING.name, SCRUB_PENDING.help);
  readonly ready = this.gauge(
    'ready',
    'Whether a component can be used (1) or not (0), as asked for readiness, at the latest 15 seconds ago.',
    ['component'],
  );
  readonly lockouts = this.counter('lockouts_total', 'Users locked out after failed attempts.');
  readonly rateLimited = this.counter('rate_limited_total', 'Requests refused by a rate limit.', ['limit']);

  constructor() {
    collectDefaultMetrics({ register: this.registry, prefix: METRICS_PREFIX, eventLoopMonitoringPrecision: 10 });
  }

  private counter(name: string, help: string, labelNames: string[] = []): Counter {
    const counter = new Counter({ name: METRICS_PREFIX + name, help, labelNames, registers: [this.registry] });
    for (const labels of FIRST_SERIES[name] ?? []) counter.inc(labels, 0);
    return counter;
  }

  private gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    return new Gauge({ name: METRICS_PREFIX + name, help, labelNames, registers: [this.registry] });
  }

  /** One without a value until it is set: 0 would be a finding. */
  private gaugeOnceKnown(name: string, help: string): Gauge {
    const gauge = this.gauge(name, help);
    gauge.remove();
    return gauge;
  }

  private histogram(name: string, help: string, buckets: number[], labelNames: string[] = []): Histogram {
    const registers = [this.registry];
    const histogram = new Histogram({ name: METRICS_PREFIX + name, help, buckets, labelNames, registers });
    for (const labels of FIRST_SERIES[name] ?? []) histogram.zero(labels);
    return histogram;
  }
}
