/**
 * Writes what a verification came to, and counts and logs what was written: the same for recordings, dialled calls and call
 * sessions. What the database answers is what counts; where it does not answer nothing was accepted.
 */
import type { VerificationConfig } from '../../config/config.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { withSpan } from '../../observability/tracing.js';
import { accountLocked } from '../errors.js';
import type { AttemptSource, AuthStore, EnrolledUser } from '../ports/auth-store.js';
import type { Decision, Reason } from './decision.js';
import type { VerificationResult } from './verification.js';

/** What listening came to, before it is recorded. */
export interface Finding {
  readonly decision: Decision;
  readonly reason: Reason;
  readonly score: number | undefined;
  readonly netSpeechMs: number;
  readonly looks: number;
  /** Position in the call at which there was enough speech for the decision; undefined when it took the end to decide. */
  readonly audioMs?: number | undefined;
}

/** A finding without any listening. */
export function nothingHeard(decision: Decision, reason: Reason): Finding {
  return { decision, reason, score: undefined, netSpeechMs: 0, looks: 0 };
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
   * Records `finding` about `user`; the result is what was recorded. The same attempt id again changes nothing. Throws
   * `AccountLockedError` when the user is locked (which was recorded), `UserNotFoundError`, `DatabaseUnavailable`.
   */
  async record(user: EnrolledUser, finding: Finding, facts: AttemptFacts): Promise<VerificationResult> {
    const { config, store, modelId, metrics, logger } = this.deps;
    const { attemptId, threshold, latencyMs } = facts;
    const recorded = await withSpan('attempt.record', {}, () =>
      store.recordAttempt({
        attemptId,
        userId: user.userId,
        correlationId: facts.correlationId,
        callId: facts.callId,
        source: facts.source,
        decision: finding.decision,
        reason: finding.reason,
        score: finding.score,
        threshold,
        modelId,
        netSpeechMs: Math.round(finding.netSpeechMs),
        looks: finding.looks,
        latencyMs: Math.round(latencyMs),
        maxFailedAttempts: config.maxFailedAttempts,
        lockoutMs: config.lockoutMs,
        voiceprintVersion: user.voiceprint?.version ?? 0,
      }),
    );
    const { decision, reason, score, threshold: recordedThreshold, netSpeechMs, looks } = recorded;
    metrics.verifications.inc({ decision, reason, source: facts.sourceLabel });
    metrics.decisionSeconds.observe({ decision }, latencyMs / 1000);
    metrics.netSpeech.observe({ operation: 'verification' }, finding.netSpeechMs / 1000);
    if (finding.score !== undefined) metrics.score.observe({ decision }, finding.score);
    // A failed attempt that did not find the user locked has locked them.
    const failed = decision === 'reject' || reason === 'low_quality';
    if (recorded.lockedUntil && failed && reason !== 'locked_out') metrics.lockouts.inc();
    logger.info(
      {
        event: 'verification',
        attempt_id: attemptId,
        decision,
        reason,
        source: facts.sourceLabel,
        net_speech_ms: Math.round(finding.netSpeechMs),
        looks: finding.looks,
        latency_ms: Math.round(latencyMs),
      },
      'verification recorded',
    );
    if (reason === 'locked_out' && recorded.lockedUntil) throw accountLocked(recorded.lockedUntil);
    // What was found now tells nothing when the attempt had been recorded before.
    const audioMs = decision === finding.decision && score === finding.score ? finding.audioMs : undefined;
    return { attemptId, decision, reason, score, threshold: recordedThreshold, netSpeechMs, looks, audioMs };
  }
}
