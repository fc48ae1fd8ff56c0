/**
 * Series that are there from the start, at 0. Prometheus sees only what a series grows by between two looks: one that appears
 * with its value has not grown: the first burst after a start would alarm nobody, and a panel would show 0 for what happened
 * once. These are the ones that alerts and the dashboard's counts look at; a test compares them with `deploy`.
 */
import { CALL_PLATFORMS, STREAM_PLATFORMS } from '../domain/calls/calls.js';
import { ERROR_CODES } from '../domain/errors.js';
import { DECISIONS, type Decision, type Reason } from '../domain/verification/decision.js';

type Labels = Readonly<Record<string, string>>;

const SERVICE_FAULTS = ['Busy', 'DatabaseUnavailable', 'InternalError'];

/** What an attempt can come to. */
const FINDINGS: readonly { readonly decision: Decision; readonly reason: Reason }[] = [
  { decision: 'accept', reason: 'match' },
  { decision: 'reject', reason: 'no_match' },
  { decision: 'reject', reason: 'replayed_audio' },
  { decision: 'reject', reason: 'locked_out' },
  { decision: 'inconclusive', reason: 'insufficient_speech' },
  { decision: 'inconclusive', reason: 'no_caller_audio' },
  { decision: 'inconclusive', reason: 'mixed_audio' },
  { decision: 'inconclusive', reason: 'low_quality' },
  { decision: 'inconclusive', reason: 'caller_hung_up' },
  { decision: 'inconclusive', reason: 'deadline' },
  { decision: 'inconclusive', reason: 'not_enrolled' },
];

/** By name of the counter or histogram without its prefix. What the HTTP app may answer it adds itself. */
export const FIRST_SERIES: Readonly<Record<string, readonly Labels[]>> = {
  verifications_total: FINDINGS.flatMap((finding) =>
    every({ source: ['upload', 'audio_url', 'listen_url', ...CALL_PLATFORMS] }).map((source) => ({
      ...finding,
      ...source,
    })),
  ),
  verification_errors_total: every({ code: ERROR_CODES }),
  verification_score: every({ decision: DECISIONS }),
  enrollments_total: every({ outcome: ['enrolled', ...ERROR_CODES] }),
  net_speech_seconds: every({ operation: ['verification', 'enrollment'] }),
  decision_seconds: every({ decision: DECISIONS }),
  database_seconds: [{ function: 'va_ping', outcome: 'ok' }],
  database_errors_total: every({ outcome: ['DatabaseUnavailable', 'InternalError', 'Timeout'] }),
  inference_batch_size: every({ model: ['speaker', 'vad'] }),
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
  listen_connections_total: every({
    outcome: ['open', 'retried', 'timeout', 'aborted', 'unauthorized', 'certificate', 'redirect', 'blocked'],
  }),
  call_sessions_ended_total: every({ platform: CALL_PLATFORMS, end: ['closed', 'failed', 'mixed', 'stopped'] }),
  rate_limited_total: every({ limit: ['address', 'user', 'failed_authentication'] }),
  webhooks_total: [
    ...every({ type: ['unknown'], outcome: ['unauthorized', 'forbidden'] }),
    ...every({
      type: ['status-update', 'transcript', 'end-of-call-report'],
      outcome: ['ok', 'ValidationError', ...SERVICE_FAULTS],
    }),
  ],
  tool_calls_total: [
    ...every({ tool: ['verify_caller'], outcome: [...DECISIONS, 'locked_out'] }),
    ...every({ tool: ['enroll_caller'], outcome: ['enrolled', 'consent_required', 'locked_out'] }),
    ...every({ tool: ['verify_caller', 'enroll_caller'], outcome: ['unknown_caller', 'ambiguous_caller'] }),
    ...every({
      tool: ['verify_caller', 'enroll_caller', 'call_status', 'other'],
      outcome: ['CallNotFoundError', 'InferenceUnavailable', 'ListenConnectionError', 'Timeout', ...SERVICE_FAULTS],
    }),
  ],
  stream_connections_total: [
    ...every({ platform: STREAM_PLATFORMS, outcome: ['admitted', 'bad_token', 'rate_limited', 'crowded', 'error'] }),
    // Nobody but Twilio signs.
    ...every({
      platform: ['twilio'],
      outcome: ['signature_wrong', 'signature_missing', 'signature_not_configured'],
    }),
  ],
};

/** Every combination of these values. */
function every(values: Readonly<Record<string, readonly string[]>>): Labels[] {
  return Object.entries(values).reduce<Labels[]>(
    (combined, [label, options]) =>
      combined.flatMap((labels) => options.map((value) => ({ ...labels, [label]: value }))),
    [{}],
  );
}
