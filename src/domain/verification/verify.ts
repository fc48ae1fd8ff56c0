/**
 * The verification use case: who is claimed, listen, look, decide, record. The answer is what was recorded; where
 * recording fails there is no answer but the error.
 */
import { randomUUID } from 'node:crypto';
import type { VerificationConfig } from '../../config/config.js';
import type { Logger } from '../../observability/logger.js';
import { withSpan } from '../../observability/tracing.js';
import { CallerSpeech } from '../caller-speech/caller-speech.js';
import { listen, listenMs } from '../caller-speech/listen.js';
import type { ListeningDeps } from '../caller-speech/listening-deps.js';
import { asVoiceAuthError, VoiceAuthError } from '../errors.js';
import type { EnrolledUser, Voiceprint } from '../ports/auth-store.js';
import type { InferenceOptions } from '../ports/speaker-model.js';
import { linkSignals } from '../timing/linked-signal.js';
import { AttemptRecorder, attemptSourceOf, type Finding } from './attempt-recorder.js';
import { CallLooks, givenUp, summariseLooks } from './call-looks.js';
import { examineClaim, lookRule, thresholdOf } from './claim.js';
import type { DriftMonitor } from './drift-monitor.js';
import type { VerificationRequest, VerificationResult, VerificationUseCase } from './verification.js';

export interface VerificationDeps extends ListeningDeps {
  readonly drift?: DriftMonitor;
  readonly config: VerificationConfig;
  readonly logger: Logger;
}

const PROGRESS_EVERY_MS = 500;
/** After listening has ended: what is left to judge must be judged in this time, or the answer is an error. */
const FINISH_MS = 10_000;

export class Verification implements VerificationUseCase {
  private readonly deps: VerificationDeps;
  private readonly recorder: AttemptRecorder;

  constructor(deps: VerificationDeps) {
    this.deps = deps;
    this.recorder = new AttemptRecorder({ ...deps, modelId: deps.embedder.modelId });
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
      metrics.verificationErrors.inc({ code: asVoiceAuthError(error).code });
      throw error;
    }
  }

  private async run(request: VerificationRequest): Promise<VerificationResult> {
    const startedAt = performance.now();
    const { config, store, embedder } = this.deps;
    const threshold = thresholdOf(request.threshold, config.threshold);
    const user = await store.findUser(request.userId);
    if (!user) throw new VoiceAuthError('UserNotFoundError', 'There is no such user');
    const claim = examineClaim(user, embedder.modelId);
    const finding =
      claim.kind === 'settled'
        ? claim.finding
        : await this.listenAndLook(request, user, { voiceprint: claim.voiceprint, threshold, startedAt });
    return this.recorder.record(user, finding, {
      attemptId: randomUUID(),
      source: attemptSourceOf(request.source),
      sourceLabel: request.source.kind,
      correlationId: request.correlationId,
      callId: request.callId,
      threshold,
      latencyMs: performance.now() - startedAt,
    });
  }

  private async listenAndLook(
    request: VerificationRequest,
    user: EnrolledUser,
    context: { readonly voiceprint: Voiceprint; readonly threshold: number; readonly startedAt: number },
  ): Promise<Finding> {
    const { config, detector, embedder, scorer, metrics, logger, shutdown } = this.deps;
    const { source } = request;
    const { signal, unlink } = linkSignals([request.signal, shutdown]);
    const enough = new AbortController();
    const live = source.kind === 'listen_url';
    // Whatever still waits when the answer is overdue is dropped; see FINISH_MS.
    const overdue = AbortSignal.timeout(listenMs(source, config) + FINISH_MS);
    const inference: InferenceOptions = {
      priority: live ? 'live' : 'upload',
      signal: AbortSignal.any([signal, overdue]),
    };
    const looks = new CallLooks({
      embedder,
      scorer,
      user,
      voiceprint: context.voiceprint,
      rule: lookRule(context.threshold, config.minSpeechMs, scorer),
      drift: this.deps.drift,
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
      const end = await listen(source, speech, this.deps, { signal, enough: enough.signal });
      if (end !== 'aborted' && !looks.decided) {
        await speech.finish();
        await looks.finalLook(speech);
        report();
      }
      return signal.aborted ? givenUp(speech, looks, shutdown) : summariseLooks(end, speech, looks);
    } catch (error) {
      if (signal.aborted) return givenUp(speech, looks, shutdown);
      if (overdue.aborted) throw new VoiceAuthError('Timeout', 'The verification took too long', { cause: error });
      throw error;
    } finally {
      unlink();
      speech.stop();
      clearInterval(ticker);
      watched = false;
    }
  }
}
