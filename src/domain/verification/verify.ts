/**
 * The verification use case: who is claimed, listen, look, decide, record. The answer is what was recorded; where
 * recording fails there is no answer but the error.
 */
import { randomUUID } from 'node:crypto';
import type { VerificationConfig } from '../../config/config.js';
import type { Logger } from '../../observability/logger.js';
import { withSpan } from '../../observability/tracing.js';
import { CallerSpeech } from '../caller-speech/caller-speech.js';
import { type ListeningEnd, listenToCall } from '../caller-speech/listen-to-call.js';
import { listenToRecording } from '../caller-speech/listen-to-recording.js';
import type { ListeningDeps } from '../caller-speech/listening-deps.js';
import { accountLocked, VoiceAuthError, validationError } from '../errors.js';
import type { EnrolledUser, Voiceprint } from '../ports/auth-store.js';
import type { InferenceOptions } from '../ports/speaker-model.js';
import { CallLooks } from './call-looks.js';
import { inconclusiveReason } from './decide.js';
import type { Decision, Reason } from './decision.js';
import type {
  VerificationRequest,
  VerificationResult,
  VerificationSource,
  VerificationUseCase,
} from './verification.js';

export interface VerificationDeps extends ListeningDeps {
  readonly config: VerificationConfig;
  readonly logger: Logger;
}

/** What listening came to, before it is recorded. */
interface Finding {
  readonly decision: Decision;
  readonly reason: Reason;
  readonly score: number | undefined;
  readonly netSpeechMs: number;
  readonly looks: number;
}

const PROGRESS_EVERY_MS = 500;
/** After listening has ended: what is left to judge must be judged in this time, or the answer is an error. */
const FINISH_MS = 10_000;

export class Verification implements VerificationUseCase {
  private readonly deps: VerificationDeps;

  constructor(deps: VerificationDeps) {
    this.deps = deps;
  }

  async verify(request: VerificationRequest): Promise<VerificationResult> {
    const { metrics, work } = this.deps;
    try {
      return await work.run(() =>
        withSpan('verification', { 'voice_auth.source': request.source.kind }, async (span) => {
          const result = await this.run(request);
          span.setAttributes({ 'voice_auth.decision': result.decision, 'voice_auth.reason': result.reason });
          return result;
        }),
      );
    } catch (error) {
      metrics.verificationErrors.inc({ code: error instanceof VoiceAuthError ? error.code : 'InternalError' });
      throw error;
    }
  }

  private async run(request: VerificationRequest): Promise<VerificationResult> {
    const startedAt = performance.now();
    const { config, store, embedder } = this.deps;
    const threshold = request.threshold ?? config.threshold;
    if (threshold < config.threshold) {
      throw validationError([{ path: 'threshold', message: `must not be below the configured ${config.threshold}` }]);
    }
    const user = await store.findUser(request.userId);
    if (!user) throw new VoiceAuthError('UserNotFoundError', 'There is no such user');
    const conclude = (finding: Finding) => this.record(request, user, { finding, threshold, startedAt });
    if (user.lockedUntil && user.lockedUntil.getTime() > Date.now()) {
      // Recorded as `locked_out`, which is what `record` throws for.
      return conclude(nothingHeard('reject', 'locked_out'));
    }
    if (!user.voiceprint) return conclude(nothingHeard('inconclusive', 'not_enrolled'));
    if (user.voiceprint.modelId !== embedder.modelId) {
      throw new VoiceAuthError('VoiceprintModelMismatch', 'The voiceprint was made by another model: enroll again', {
        details: { voiceprint: user.voiceprint.modelId, service: embedder.modelId },
      });
    }
    return conclude(await this.listenAndLook(request, user, { voiceprint: user.voiceprint, threshold, startedAt }));
  }

  private async listenAndLook(
    request: VerificationRequest,
    user: EnrolledUser,
    context: { readonly voiceprint: Voiceprint; readonly threshold: number; readonly startedAt: number },
  ): Promise<Finding> {
    const { config, detector, embedder, scorer, metrics, logger, shutdown } = this.deps;
    const { source } = request;
    const signal = AbortSignal.any([request.signal, shutdown]);
    const enough = new AbortController();
    const live = source.kind === 'listen_url';
    // Whatever still waits when the answer is overdue is dropped; see FINISH_MS.
    const listenMs = Math.min(config.listenTimeoutMs, listenLimitMs(source));
    const overdue = AbortSignal.timeout(listenMs + FINISH_MS);
    const inference: InferenceOptions = {
      priority: live ? 'live' : 'upload',
      signal: AbortSignal.any([signal, overdue]),
    };
    const looks = new CallLooks({
      embedder,
      scorer,
      user,
      voiceprint: context.voiceprint,
      rule: {
        threshold: context.threshold,
        minSpeechMs: config.minSpeechMs,
        ...scorer.calibration.sequential,
        futility: scorer.calibration.futility,
      },
      inference,
    });
    let watched = request.onProgress !== undefined;
    const report = () => {
      if (!watched) return;
      try {
        request.onProgress?.({
          elapsedMs: performance.now() - context.startedAt,
          netSpeechMs: speech.netSpeechMs,
          looks: looks.looks,
          score: looks.latest?.score,
        });
      } catch (error) {
        // Whoever watches has no say in the decision, and is not told again.
        watched = false;
        logger.warn({ err: error, event: 'progress_failed' }, 'progress could not be told');
      }
    };
    const speech = new CallerSpeech({
      detector,
      maxSpeechMs: config.maxSpeechMs,
      inference,
      onFault: () => enough.abort(),
      onDropped: (frames) => metrics.framesDropped.inc({ cause: 'backlog' }, frames),
      onSpeech: () => {
        // A recording is all there at once: it gets one look at the end, with the whole false-match budget.
        if (!live) return;
        looks.lookIfDue(speech, () => {
          report();
          if (looks.decided || looks.failed) enough.abort();
        });
      },
    });
    const ticker = watched ? setInterval(report, PROGRESS_EVERY_MS) : undefined;
    try {
      const end = await this.listen(request, speech, { signal, enough: enough.signal, listenMs });
      if (end !== 'aborted' && !looks.decided) {
        await speech.finish();
        await looks.finalLook(speech);
        report();
      }
      // An asker who has gone away is told nothing, so nothing may have been accepted.
      return signal.aborted ? givenUp(speech, looks) : summarise(end, speech, looks);
    } catch (error) {
      if (signal.aborted) return givenUp(speech, looks);
      if (overdue.aborted) throw new VoiceAuthError('Timeout', 'The verification took too long', { cause: error });
      throw error;
    } finally {
      speech.stop();
      clearInterval(ticker);
      watched = false;
    }
  }

  private async listen(
    request: VerificationRequest,
    speech: CallerSpeech,
    limits: { readonly signal: AbortSignal; readonly enough: AbortSignal; readonly listenMs: number },
  ): Promise<ListeningEnd> {
    const { config, calls, fetcher, decoder, recordings } = this.deps;
    const { source } = request;
    const { signal, enough, listenMs } = limits;
    if (source.kind !== 'listen_url') {
      await listenToRecording(source, speech, { fetcher, decoder, recordings, signal });
      return 'recording_end';
    }
    return listenToCall(calls.vapiListen(source.listenUrl), speech, {
      timeoutMs: listenMs,
      connectTimeoutMs: config.connectTimeoutMs,
      signal,
      enough,
    });
  }

  private async record(
    request: VerificationRequest,
    user: EnrolledUser,
    conclusion: { readonly finding: Finding; readonly threshold: number; readonly startedAt: number },
  ): Promise<VerificationResult> {
    const { config, store, embedder, metrics, logger } = this.deps;
    const { finding, threshold, startedAt } = conclusion;
    const attemptId = randomUUID();
    const latencyMs = Math.round(performance.now() - startedAt);
    const recorded = await withSpan('attempt.record', {}, () =>
      store.recordAttempt({
        attemptId,
        userId: request.userId,
        correlationId: request.correlationId,
        callId: request.callId,
        source: request.source.kind === 'listen_url' ? 'vapi_listen' : request.source.kind,
        decision: finding.decision,
        reason: finding.reason,
        score: finding.score,
        threshold,
        modelId: embedder.modelId,
        netSpeechMs: Math.round(finding.netSpeechMs),
        looks: finding.looks,
        latencyMs,
        maxFailedAttempts: config.maxFailedAttempts,
        lockoutMs: config.lockoutMs,
        voiceprintVersion: user.voiceprint?.version ?? 0,
      }),
    );
    const { decision, reason } = recorded;
    const source = request.source.kind;
    metrics.verifications.inc({ decision, reason, source });
    metrics.decisionSeconds.observe({ decision }, latencyMs / 1000);
    metrics.netSpeech.observe({ operation: 'verification' }, finding.netSpeechMs / 1000);
    if (finding.score !== undefined) metrics.score.observe({ decision }, finding.score);
    if (recorded.lockedUntil && decision === 'reject' && reason !== 'locked_out') metrics.lockouts.inc();
    logger.info(
      {
        event: 'verification',
        attempt_id: attemptId,
        decision,
        reason,
        source,
        net_speech_ms: Math.round(finding.netSpeechMs),
        looks: finding.looks,
        latency_ms: latencyMs,
      },
      'verification recorded',
    );
    if (reason === 'locked_out' && recorded.lockedUntil) throw accountLocked(recorded.lockedUntil);
    return {
      attemptId,
      decision,
      reason,
      score: finding.score,
      threshold,
      netSpeechMs: finding.netSpeechMs,
      looks: finding.looks,
    };
  }
}

function summarise(end: ListeningEnd, speech: CallerSpeech, looks: CallLooks): Finding {
  const verdict = looks.latest;
  if (verdict?.kind === 'decided') {
    const { decision, reason, score } = verdict;
    return { decision, reason, score, netSpeechMs: looks.decidedFromMs, looks: looks.looks };
  }
  return {
    decision: 'inconclusive',
    reason: inconclusiveReason({ end, heardCaller: speech.heardCaller }),
    score: verdict?.score,
    netSpeechMs: speech.netSpeechMs,
    looks: looks.looks,
  };
}

function givenUp(speech: CallerSpeech, looks: CallLooks): Finding {
  const { netSpeechMs } = speech;
  return { decision: 'inconclusive', reason: 'deadline', score: looks.latest?.score, netSpeechMs, looks: looks.looks };
}

function listenLimitMs(source: VerificationSource): number {
  return source.kind === 'listen_url' && source.maxSeconds !== undefined
    ? source.maxSeconds * 1000
    : Number.POSITIVE_INFINITY;
}

function nothingHeard(decision: Decision, reason: Reason): Finding {
  return { decision, reason, score: undefined, netSpeechMs: 0, looks: 0 };
}
