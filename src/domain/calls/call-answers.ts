/** What a question about a call comes to, in the process that listens to it: who is meant, what was heard, and the record. */
import { randomUUID } from 'node:crypto';
import type { VerificationConfig } from '../../config/config.js';
import type { EnrollmentUseCase } from '../enrollment/enrollment.js';
import { VoiceAuthError, validationError } from '../errors.js';
import type { AuthStore, EnrolledUser } from '../ports/auth-store.js';
import type { StoredAnswer } from '../ports/call-store.js';
import { type AttemptRecorder, type Finding, nothingHeard } from '../verification/attempt-recorder.js';
import { examineClaim, thresholdOf } from '../verification/claim.js';
import type { CallDesk } from './call-desk.js';
import { attemptIdOf } from './call-ids.js';
import type { Asked } from './call-questions.js';
import type { CallSession, QuestionLimits } from './call-session.js';
import type { CallQuestion, UnclearCaller } from './calls.js';

export interface CallAnswersDeps {
  readonly config: VerificationConfig;
  readonly desk: CallDesk;
  readonly store: AuthStore;
  readonly recorder: AttemptRecorder;
  readonly enrollment: EnrollmentUseCase;
  readonly modelId: string;
}

export interface AnswerMeans {
  readonly limits: QuestionLimits;
  /** Runs a step of the database again while the database is away and there is time. */
  readonly persist: <T>(work: () => Promise<T>) => Promise<T>;
}

const USER_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class CallAnswers {
  private readonly deps: CallAnswersDeps;

  constructor(deps: CallAnswersDeps) {
    this.deps = deps;
  }

  /** Throws what `CallsUseCase.verify` and `enroll` throw. */
  find(question: CallQuestion, asked: Asked, means: AnswerMeans): Promise<StoredAnswer> {
    const session = this.deps.desk.find(question.call);
    return asked.kind === 'verify'
      ? this.verify(question, asked, { ...means, session })
      : this.enroll(question, asked, { ...means, session });
  }

  private async verify(
    question: CallQuestion,
    asked: Extract<Asked, { kind: 'verify' }>,
    means: AnswerMeans & { readonly session: CallSession | undefined },
  ): Promise<StoredAnswer> {
    const { config, store, recorder } = this.deps;
    const { call, requestId } = question;
    const startedAt = performance.now();
    const threshold = thresholdOf(asked.threshold, config.threshold);
    const claimed = await this.claimed(question, asked.userId, means);
    if (typeof claimed !== 'string') return { kind: 'verify', answer: claimed };
    const user = await means.persist(() => store.findUser(claimed));
    if (!user) throw new VoiceAuthError('UserNotFoundError', 'There is no such user');
    const finding = await this.listen(user, threshold, means);
    const result = await means.persist(() =>
      recorder.record(user, finding, {
        attemptId: attemptIdOf(call, requestId),
        source: call.platform,
        sourceLabel: call.platform,
        correlationId: call.correlationId,
        callId: call.callId,
        threshold,
        latencyMs: performance.now() - startedAt,
      }),
    );
    return { kind: 'verify', answer: { kind: 'decided', userId: user.userId, result } };
  }

  private async listen(
    user: EnrolledUser,
    threshold: number,
    { session, limits }: AnswerMeans & { readonly session: CallSession | undefined },
  ): Promise<Finding> {
    const claim = examineClaim(user, this.deps.modelId);
    if (claim.kind === 'settled') return claim.finding;
    if (!session) return nothingHeard('inconclusive', 'caller_hung_up');
    // Whom this call was asked about is whom it will be asked about again.
    session.claimedUserId ??= user.userId;
    return session.verify({ user, voiceprint: claim.voiceprint, threshold }, limits);
  }

  private async enroll(
    question: CallQuestion,
    asked: Extract<Asked, { kind: 'enroll' }>,
    means: AnswerMeans & { readonly session: CallSession | undefined },
  ): Promise<StoredAnswer> {
    const { enrollment } = this.deps;
    const { call } = question;
    const { session, limits } = means;
    const known = await this.claimed(question, asked.userId, means);
    if (typeof known !== 'string' && known.kind === 'ambiguous_caller') return { kind: 'enroll', answer: known };
    if (!session) throw new VoiceAuthError('CallNotFoundError', 'The call is over');
    const userId = typeof known === 'string' ? known : randomUUID();
    const result = await enrollment.enroll({
      userId,
      phone: call.callerNumber,
      consentReference: asked.consentReference,
      replaceModel: asked.replaceModel,
      source: { kind: 'call', hear: (wantedMs, signal) => session.hear(wantedMs, { ...limits, signal }) },
      correlationId: call.correlationId,
      actor: asked.actor,
      signal: limits.signal,
    });
    session.claimedUserId = userId;
    return { kind: 'enroll', answer: { kind: 'enrolled', userId, result } };
  }

  /** Who is meant: named, announced, asked about before, or the owner of the caller's number. */
  private async claimed(
    { call }: CallQuestion,
    named: string | undefined,
    { session, persist }: AnswerMeans & { readonly session: CallSession | undefined },
  ): Promise<string | UnclearCaller> {
    if (named !== undefined) {
      const userId = named.toLowerCase();
      if (!USER_ID.test(userId)) throw validationError([{ path: 'userId', message: 'must be a UUID' }]);
      return userId;
    }
    if (session?.claimedUserId !== undefined) return session.claimedUserId;
    const found = await persist(() => this.deps.desk.userOfNumber(call.callerNumber));
    return found === 'unknown_caller' || found === 'ambiguous_caller' ? { kind: found } : found;
  }
}
