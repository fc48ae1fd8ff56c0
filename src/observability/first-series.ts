/**
 * Series that are there from the start, at 0. Prometheus sees only what a series grows by between two looks: one that appears
 * with its value has not grown, and the first burst after a start would alarm nobody. These are the ones that alerts look at;
 * a test compares them with `deploy/prometheus/alerts.yml`.
 */
import { CALL_PLATFORMS } from '../domain/calls/calls.js';
import { DECISIONS } from '../domain/verification/decision.js';

type Labels = Readonly<Record<string, string>>;

const SERVICE_FAULTS = ['Busy', 'DatabaseUnavailable', 'InternalError'];

/** By name of the counter or histogram without its prefix. What the HTTP app may answer it adds itself. */
export const FIRST_SERIES: Readonly<Record<string, readonly Labels[]>> = {
  verifications_total: [
    { decision: 'accept', reason: 'match' },
    { decision: 'reject', reason: 'no_match' },
    { decision: 'reject', reason: 'replayed_audio' },
    { decision: 'reject', reason: 'locked_out' },
    { decision: 'inconclusive', reason: 'no_caller_audio' },
    { decision: 'inconclusive', reason: 'mixed_audio' },
  ].flatMap((finding) =>
    every({ source: ['upload', 'audio_url', 'listen_url', ...CALL_PLATFORMS] }).map((source) => ({
      ...finding,
      ...source,
    })),
  ),
  verification_errors_total: [{ code: 'Busy' }],
  decision_seconds: every({ decision: DECISIONS }),
  database_seconds: [{ function: 'va_ping', outcome: 'ok' }],
  database_errors_total: every({ outcome: ['DatabaseUnavailable', 'InternalError', 'Timeout'] }),
  inference_rejected_total: every({ cause: ['queue_full', 'deadline', 'unavailable'] }),
  audio_frames_dropped_total: every({
    cause: [
      'audio_before_start',
      'backlog',
      'garbage_text',
      'late_chunk',
      'unmeasured',
      'unusable_audio',
      'unusable_format',
      'unusable_start',
    ],
  }),
  listen_connections_total: every({ outcome: ['open', 'timeout', 'unauthorized', 'certificate', 'redirect'] }),
  rate_limited_total: every({ limit: ['address', 'user', 'failed_authentication'] }),
  webhooks_total: [
    ...every({ type: ['unknown'], outcome: ['unauthorized', 'forbidden'] }),
    ...every({
      type: ['status-update', 'transcript', 'end-of-call-report'],
      outcome: ['ok', 'ValidationError', ...SERVICE_FAULTS],
    }),
  ],
  tool_calls_total: every({
    tool: ['verify_caller', 'enroll_caller', 'call_status', 'other'],
    outcome: ['CallNotFoundError', 'InferenceUnavailable', 'ListenConnectionError', 'Timeout', ...SERVICE_FAULTS],
  }),
  // Nobody but Twilio signs.
  stream_connections_total: every({
    platform: ['twilio'],
    outcome: ['signature_wrong', 'signature_missing', 'signature_not_configured'],
  }),
};

/** Every combination of these values. */
function every(values: Readonly<Record<string, readonly string[]>>): Labels[] {
  return Object.entries(values).reduce<Labels[]>(
    (combined, [label, options]) =>
      combined.flatMap((labels) => options.map((value) => ({ ...labels, [label]: value }))),
    [{}],
  );
}
