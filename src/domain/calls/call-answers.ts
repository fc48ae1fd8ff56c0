/** What a question about a call comes to, in the process that listens to it: who is meant, what was heard, and the record. */
import type { CallsConfig, VerificationConfig } from '../../config/config.js';
import type { EnrollmentResult, EnrollmentUseCase, HeardCall } from '../enrollment/enrollment.js';
import { type ErrorCode, VoiceAuthError } from '../errors.js';
import type { AuthStore, EnrolledUser } from '../ports/auth-store.js';
import type { StoredAnswer } from '../ports/call-store.js';
import { linkSignals } from '../timing/linked-signal.js';
import {
  type AttemptFacts,
  type AttemptRecorder,
  type Finding,
  nothingHeard,
} from '../verification/attempt-recorder.js';
import { examineClaim, lockOf, thresholdOf } from '../verification/claim.js';
import type { VerificationResult } from '../verification/verification.js';
import type { CallDesk } from './call-desk.js';
import { newUserIdOf } from './call-ids.js';
import type { Asked } from './call-questions.js';
import type { CallSession } from './call-session.js';
import type { CallQuestion, UnclearCaller } from './calls.js';
import { type QuestionLimits, untilOverdueMs } from './question-limits.js';

export interface CallAnswersDeps {
  readonly config: VerificationConfig;
  readonly callsConfig: CallsConfig;
  readonly desk: CallDesk;
  readonly store: AuthStore;
  readonly recorder: AttemptRecorder;
  readonly enrollment: EnrollmentUseCase;
  readonly modelId: string;
}

export interface AnswerMeans {
  readonly limits: QuestionLimits;
  /** Of the attempt or sample that this question may make. */
  readonly attemptId: string;
  /** Runs a step of the database again while the database is away and there is time. */
  readonly persist: <T>(work: () => Promise<T>) => Promise<T>;
}

interface Means extends AnswerMeans {
  readonly session: CallSession | undefined;
}

interface EnrollMeans extends AnswerMeans {
  readonly session: CallSession;
  readonly userId: string;
}

/** What listening for somebody came to, and when it began (`performance.now()`). */
interface FoundOut {
  readonly user: EnrolledUser;
  readonly threshold: number;
  readonly finding: Finding;
  readonly startedAt: number;
}

/** Errors that do not tell whether something was written. */
const UNSURE: ReadonlySet<ErrorCode> = new Set(['DatabaseUnavailable', 'InternalError']);

export class CallAnswers {
  private readonly deps: CallAnswersDeps;

  constructor(deps: CallAnswersDeps) {
    this.deps = deps;
  }

  /** Throws what `CallsUseCase.verify` and `enroll` throw, and `CallMoved`. */
  find(question: CallQuestion, asked: Asked, answerMeans: AnswerMeans): Promise<StoredAnswer> {
    const means = { ...answerMeans, session: this.deps.desk.find(question.call) };
    return asked.kind === 'verify' ? this.verify(question, asked, means) : this.enroll(question, asked, means);
  }

  private async verify(
    question: CallQuestion,
    asked: Extract<Asked, { kind: 'verify' }>,
    means: Means,
  ): Promise<StoredAnswer> {
    const threshold = thresholdOf(asked.threshold, this.deps.config.threshold);
    const claimed = await this.claimed(question, asked.userId, means);
    if (typeof claimed !== 'string') return { kind: 'verify', answer: claimed };
    const user = await this.requireUser(claimed, means);
    const result = await this.attempt(question, { user, threshold }, means);
    return { kind: 'verify', answer: { kind: 'decided', userId: user.userId, result } };
  }

  /** Listens, decides and records. */
  private async attempt(
    question: CallQuestion,
    { user, threshold }: { readonly user: EnrolledUser; readonly threshold: number },
    means: Means,
  ): Promise<VerificationResult> {
    const startedAt = performance.now();
    for (let judged = user; ; ) {
      const finding = await this.listen(judged, threshold, means);
      const present = finding.decision === 'accept' ? await this.requireUser(judged.userId, means) : judged;
      // An accept of a voiceprint that has had a sample added meanwhile is none to the database.
      if (present.voiceprint?.version === judged.voiceprint?.version) {
        return this.record(question, { user: judged, threshold, finding, startedAt }, means);
      }
      judged = present;
    }
  }

  private record(
    { call }: CallQuestion,
    { user, threshold, finding, startedAt }: FoundOut,
    means: AnswerMeans,
  ): Promise<VerificationResult> {
    const facts: AttemptFacts = {
      attemptId: means.attemptId,
      source: call.platform,
      sourceLabel: call.platform,
      correlationId: call.correlationId,
      callId: call.callId,
      threshold,
      latencyMs: performance.now() - startedAt,
    };
    return this.deps.recorder.record(user, finding, facts, means.persist);
  }

  private async listen(user: EnrolledUser, threshold: number, { session, limits }: Means): Promise<Finding> {
    const claim = examineClaim(user, this.deps.modelId);
    if (claim.kind === 'settled') return claim.finding;
    if (!session) return nothingHeard('inconclusive', 'caller_hung_up');
    return session.verify({ user, voiceprint: claim.voiceprint, threshold }, limits);
  }

  private async enroll(
    question: CallQuestion,
    asked: Extract<Asked, { kind: 'enroll' }>,
    means: Means,
  ): Promise<StoredAnswer> {
    const { session } = means;
    const meant = await this.enrollee(question, asked.userId, means);
    if (typeof meant !== 'string') return { kind: 'enroll', answer: meant };
    if (!session) throw new VoiceAuthError('CallNotFoundError', 'The call is over');
    const result = await this.addSample(question, asked, { ...means, session, userId: meant });
    session.claimedUserId = meant;
    return { kind: 'enroll', answer: { kind: 'enrolled', userId: meant, result } };
  }

  private async addSample(
    question: CallQuestion,
    asked: Extract<Asked, { kind: 'enroll' }>,
    means: EnrollMeans,
  ): Promise<EnrollmentResult> {
    const { session, limits, attemptId, userId } = means;
    const user = await this.findUser(userId, means);
    const sampleTaken = user?.samples.some(({ id }) => id === attemptId) === true;
    if (user && !sampleTaken && !asked.identityProven) await this.refuseLocked(question, user, means);
    const callersNumber = asked.phone === undefined ? await this.callersNumber(question, user, means) : undefined;
    // What is embedded later would be saved when the asker has long given up.
    const asking = linkSignals([limits.signal, AbortSignal.timeout(untilOverdueMs(limits))]);
    let heard = false;
    const enrolling = this.deps.enrollment.enroll({
      userId,
      phone: asked.phone ?? callersNumber,
      phoneMustBeFree: callersNumber !== undefined,
      consentReference: asked.consentReference,
      replaceModel: asked.replaceModel,
      source: {
        kind: 'call',
        platform: question.call.platform,
        recordsAttempts: !asked.identityProven,
        hear: async ({ netSpeechMs, user: enrolled, signal }) => {
          const speech =
            enrolled?.voiceprint && !asked.identityProven
              ? await this.hearOwner(question, { user: enrolled, wantedMs: netSpeechMs, signal }, means)
              : await session.hear(userId, netSpeechMs, { ...limits, signal });
          heard = true;
          return speech;
        },
      },
      sampleId: attemptId,
      persist: means.persist,
      // The same audio against the voiceprint made of it would prove nothing, and others may read that before the answer is here.
      beforeSave: () => session.spendOn(userId),
      correlationId: question.call.correlationId,
      callId: question.call.callId,
      actor: asked.actor,
      signal: asking.signal,
    });
    return enrolling
      .catch((error: unknown) => {
        // It may have been counted as a failed attempt all the same.
        const unsure = !(error instanceof VoiceAuthError) || UNSURE.has(error.code);
        if (heard && (unsure || isMismatch(error))) session.spendOn(userId);
        throw error;
      })
      .finally(asking.unlink);
  }

  /**
   * A further sample of somebody who is enrolled: all of it has to be proven to be theirs, unless the asker answers for that,
   * and that counts as an attempt. Otherwise enrolling would be a second, laxer way to verify, without a lock-out.
   */
  private async hearOwner(
    question: CallQuestion,
    {
      user,
      wantedMs,
      signal,
    }: { readonly user: EnrolledUser; readonly wantedMs: number; readonly signal: AbortSignal },
    means: EnrollMeans,
  ): Promise<HeardCall> {
    const { threshold } = this.deps.config;
    const claim = examineClaim(user, this.deps.modelId);
    const startedAt = performance.now();
    const { finding, heard } =
      claim.kind === 'settled'
        ? { finding: claim.finding, heard: undefined }
        : await means.session.verifySample({ user, voiceprint: claim.voiceprint, threshold }, wantedMs, {
            ...means.limits,
            signal,
          });
    const { decision } = await this.record(question, { user, threshold, finding, startedAt }, means);
    // An attempt that was recorded as an accept before is none of what was said now.
    if (decision === 'accept' && heard) return heard;
    throw new VoiceAuthError('EnrollmentConflict', 'The caller was not verified as the enrolled user');
  }

  /** Throws `AccountLockedError` for somebody who is locked out, once that is recorded as an attempt. */
  private async refuseLocked(question: CallQuestion, user: EnrolledUser, means: EnrollMeans): Promise<void> {
    const { threshold } = this.deps.config;
    if (!user.voiceprint || !lockOf(user)) return;
    await this.attempt(question, { user, threshold }, means);
  }

  /** Who is to be enrolled: somebody named or known, or a new user where that is allowed. */
  private async enrollee(
    question: CallQuestion,
    named: string | undefined,
    means: Means,
  ): Promise<string | UnclearCaller> {
    const claimed = await this.claimed(question, named, means);
    if (typeof claimed === 'string' || claimed.kind === 'ambiguous_caller') return claimed;
    // Without a number there would be no way to find this person again.
    const mayBeNew = this.deps.callsConfig.enrollNewNumbers && question.call.callerNumber !== undefined;
    return mayBeNew ? newUserIdOf(means.attemptId) : claimed;
  }

  /**
   * The caller's number to know the person by, if they have none yet. It can be forged, so it is nobody's unless the operator
   * has allowed that, and never somebody else's.
   */
  private async callersNumber(
    { call: { callerNumber } }: CallQuestion,
    user: EnrolledUser | undefined,
    { userId, persist }: EnrollMeans,
  ): Promise<string | undefined> {
    if (callerNumber === undefined || user?.phone !== undefined || !this.deps.callsConfig.enrollNewNumbers)
      return undefined;
    const owner = await persist(() => this.deps.desk.userOfNumber(callerNumber));
    if (owner === 'unknown_caller' || owner === userId) return callerNumber;
    throw new VoiceAuthError('EnrollmentConflict', "The caller's number belongs to another enrolled user");
  }

  private async findUser(userId: string, { session, persist }: Means): Promise<EnrolledUser | undefined> {
    const user = await persist(() => this.deps.store.findUser(userId));
    if (!user) session?.forget(userId);
    return user;
  }

  private async requireUser(userId: string, means: Means): Promise<EnrolledUser> {
    const user = await this.findUser(userId, means);
    if (!user) throw new VoiceAuthError('UserNotFoundError', 'There is no such user');
    return user;
  }

  /** Who is meant: named, announced or named before, or the owner of the caller's number. */
  private async claimed(
    { call }: CallQuestion,
    named: string | undefined,
    { session, persist }: Means,
  ): Promise<string | UnclearCaller> {
    if (named !== undefined) {
      // Whom this call was asked about is whom it will be asked about again.
      if (session) session.claimedUserId = named;
      return named;
    }
    if (session?.claimedUserId !== undefined) return session.claimedUserId;
    const found = await persist(() => this.deps.desk.userOfNumber(call.callerNumber));
    return found === 'unknown_caller' || found === 'ambiguous_caller' ? { kind: found } : found;
  }
}

/** What was said counts against the person already, and must not count again. */
function isMismatch({ code, details }: VoiceAuthError): boolean {
  const { check } = (details ?? {}) as { readonly check?: unknown };
  return code === 'EnrollmentConflict' && check === 'sample_agreement';
}
