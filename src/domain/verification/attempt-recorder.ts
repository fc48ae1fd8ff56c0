/**
 * Writes what a verification came to, and counts and logs what was written, once: the same for recordings, dialled calls and
 * call sessions. What the database answers is what counts; where it does not answer nothing was accepted.
 */
import type { VerificationConfig } from '../../config/config.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { withSpan } from '../../observability/tracing.js';
import type { ListeningSource } from '../caller-speech/listen.js';
import { accountLocked } from '../errors.js';
import type { AttemptSource, AuthStore, EnrolledUser, RecordedAttempt } from '../ports/auth-store.js';
import type { Decision, Reason } from './decision.js';
import type { VerificationResult } from './verification.js';

/** What listening came to, before it is recorded. */
export interface Finding {
  readonly decision: Decision;
  readonly reason: Reason;
  readonly score: number | undefined;
  readonly netSpeechMs: number;
  readonly looks: number;
  /** Where in the call's audio the speech ended that the decision was made from; undefined when it took the end to decide. */
  readonly audioMs?: number | undefined;
}

/** A finding without any listening. */
export function nothingHeard(decision: Decision, reason: Reason): Finding {
  return { decision, reason, score: undefined, netSpeechMs: 0, looks: 0 };
}

/** What an attempt at a source that a request names is recorded under. */
export function attemptSourceOf({ kind }: ListeningSource): AttemptSource {
  return kind === 'listen_url' ? 'vapi_listen' : kind;
}

export interface AttemptFacts {
  readonly attemptId: string;
  readonly source: AttemptSource;
  /** For metrics and logs: what kind of audio it was. */
  readonly sourceLabel: string;
  readonly correlationId: string;
  readonly callId: string | undefined;
  readonly threshold: number;
  readonly latencyMs: number;
}

export interface AttemptRecorderDeps {
  readonly config: Pick<VerificationConfig, 'maxFailedAttempts' | 'lockoutMs'>;
  readonly store: Pick<AuthStore, 'recordAttempt'>;
  readonly modelId: string;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

export class AttemptRecorder {
  private readonly deps: AttemptRecorderDeps;

  constructor(deps: AttemptRecorderDeps) {
    this.deps = deps;
  }

  /**
   * Records `finding` about `user`; the result is what was recorded. The same attempt id again changes nothing. `persist`
   * may try more than once. Throws `AccountLockedError` when the user is locked (which was recorded), `UserNotFoundError`,
   * `DatabaseUnavailable`.
   */
  async record(
    user: EnrolledUser,
    finding: Finding,
    facts: AttemptFacts,
    persist: <T>(work: () => Promise<T>) => Promise<T> = (work) => work(),
  ): Promise<VerificationResult> {
    const { attemptId } = facts;
    let tries = 0;
    const recorded = await persist(() => {
      tries++;
      return withSpan('attempt.record', {}, () => this.write(user, finding, facts));
    });
    // After a try whose answer was lost it may well be this one's writing that is there already.
    if (recorded.isNew || tries > 1) this.count(recorded, facts);
    const { decision, reason, score, threshold, netSpeechMs, looks } = recorded;
    if (reason === 'locked_out' && recorded.lockedUntil) throw accountLocked(recorded.lockedUntil);
    // What was found now tells nothing when the attempt had been recorded before.
    const audioMs = decision === finding.decision && score === finding.score ? finding.audioMs : undefined;
    return { attemptId, decision, reason, score, threshold, netSpeechMs, looks, audioMs };
  }

  private write(user: EnrolledUser, finding: Finding, facts: AttemptFacts): Promise<RecordedAttempt> {
    const { config, store, modelId } = this.deps;
    return store.recordAttempt({
      attemptId: facts.attemptId,
      userId: user.userId,
      correlationId: facts.correlationId,
      callId: facts.callId,
      source: facts.source,
      decision: finding.decision,
      reason: finding.reason,
      score: finding.score,
      threshold: facts.threshold,
      modelId,
      netSpeechMs: Math.round(finding.netSpeechMs),
      looks: finding.looks,
      latencyMs: Math.round(facts.latencyMs),
      maxFailedAttempts: config.maxFailedAttempts,
      lockoutMs: config.lockoutMs,
      voiceprintVersion: user.voiceprint?.version ?? 0,
    });
  }

  private count(recorded: RecordedAttempt, { sourceLabel, latencyMs }: AttemptFacts): void {
    const { metrics, logger } = this.deps;
    const { attemptId, decision, reason, score, netSpeechMs, looks } = recorded;
    metrics.verifications.inc({ decision, reason, source: sourceLabel });
    metrics.decisionSeconds.observe({ decision }, latencyMs / 1000);
    metrics.netSpeech.observe({ operation: 'verification' }, netSpeechMs / 1000);
    if (score !== undefined) metrics.score.observe({ decision }, score);
    // A failed attempt that did not find the user locked has locked them.
    const failed = decision === 'reject' || reason === 'low_quality';
    if (recorded.lockedUntil && failed && reason !== 'locked_out') metrics.lockouts.inc();
    logger.info(
      {
        event: 'verification',
        attempt_id: attemptId,
        decision,
        reason,
        source: sourceLabel,
        net_speech_ms: netSpeechMs,
        looks,
        latency_ms: Math.round(latencyMs),
      },
      'verification recorded',
    );
  }
}
