/** The use cases about running calls and expected streams, put together from desk, leases, questions and answers. */
import { randomBytes, randomUUID } from 'node:crypto';
import type { CallsConfig, VerificationConfig } from '../../config/config.js';
import { withCorrelation } from '../../observability/correlation.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import type { EnrollmentUseCase } from '../enrollment/enrollment.js';
import { asVoiceAuthError, VoiceAuthError } from '../errors.js';
import type { AuthStore } from '../ports/auth-store.js';
import type { CallSourceFactory } from '../ports/call-source.js';
import type { CallStore } from '../ports/call-store.js';
import type { Doorbell } from '../ports/doorbell.js';
import type { SpeakerEmbedder, SpeechDetector } from '../ports/speaker-model.js';
import type { SpeakerScorer } from '../scoring/scorer.js';
import type { TimerWheel } from '../timing/timer-wheel.js';
import { AttemptRecorder } from '../verification/attempt-recorder.js';
import type { DriftMonitor } from '../verification/drift-monitor.js';
import { CallAnswers } from './call-answers.js';
import { CallDesk } from './call-desk.js';
import { CallLeases } from './call-leases.js';
import { CallQuestions, factsOf } from './call-questions.js';
import type {
  ArrivingStream,
  CallEnrollmentAnswer,
  CallEnrollmentQuestion,
  CallFacts,
  CallPlatform,
  CallStatus,
  CallsUseCase,
  CallVerificationAnswer,
  CallVerificationQuestion,
  StreamRequest,
  StreamsUseCase,
  StreamTicket,
} from './calls.js';

export interface CallServiceDeps {
  readonly config: VerificationConfig;
  readonly callsConfig: CallsConfig;
  readonly store: AuthStore;
  readonly callStore: CallStore;
  readonly sources: CallSourceFactory;
  readonly embedder: SpeakerEmbedder;
  readonly detector: SpeechDetector;
  readonly scorer: SpeakerScorer;
  readonly drift?: DriftMonitor;
  readonly enrollment: EnrollmentUseCase;
  readonly doorbell: Doorbell;
  readonly timers: TimerWheel;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly shutdown: AbortSignal;
}

const TOKEN_BYTES = 32;
/** What `TOKEN_BYTES` are in base64url. */
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

export class CallService implements CallsUseCase, StreamsUseCase {
  private readonly deps: CallServiceDeps;
  private readonly owner = randomUUID();
  private readonly desk: CallDesk;
  private readonly leases: CallLeases;
  private readonly questions: CallQuestions;
  private draining = false;

  constructor(deps: CallServiceDeps) {
    this.deps = deps;
    const { owner } = this;
    this.desk = new CallDesk({ ...deps, owner, onCall: () => this.leases.start() });
    const recorder = new AttemptRecorder({ ...deps, modelId: deps.embedder.modelId });
    this.questions = new CallQuestions({
      ...deps,
      owner,
      desk: this.desk,
      answers: new CallAnswers({ ...deps, desk: this.desk, recorder, modelId: deps.embedder.modelId }),
      ring: () => deps.doorbell.ring(),
    });
    this.leases = new CallLeases({
      ...deps,
      owner,
      desk: this.desk,
      leaseMs: deps.callsConfig.leaseMs,
      onQuestions: (questions, polledAtMs) => this.questions.answerFor(questions, polledAtMs),
    });
    deps.doorbell.onRing(() => {
      this.questions.rung();
      this.leases.look();
    });
  }

  /** Calls listened to at present. */
  get active(): number {
    return this.desk.size;
  }

  async begin(call: CallFacts): Promise<void> {
    if (this.draining) return;
    await this.desk.begin(call);
  }

  async verify(question: CallVerificationQuestion): Promise<CallVerificationAnswer> {
    const { metrics } = this.deps;
    const { userId, threshold } = question;
    try {
      const stored = await this.questions.ask(question, { kind: 'verify', userId, threshold });
      if (stored.kind === 'verify') return stored.answer;
      throw new VoiceAuthError('ValidationError', 'This question was asked before and was another one');
    } catch (error) {
      metrics.verificationErrors.inc({ code: asVoiceAuthError(error).code });
      throw error;
    }
  }

  async enroll(question: CallEnrollmentQuestion): Promise<CallEnrollmentAnswer> {
    const { userId, consentReference, phone, identityProven, replaceModel, actor } = question;
    const stored = await this.questions.ask(question, {
      kind: 'enroll',
      userId,
      consentReference,
      phone,
      identityProven,
      replaceModel,
      actor,
    });
    if (stored.kind === 'enroll') return stored.answer;
    throw new VoiceAuthError('ValidationError', 'This question was asked before and was another one');
  }

  async status(platform: CallPlatform, callId: string): Promise<CallStatus | undefined> {
    const stored = await this.deps.callStore.callStatus({ platform, callId });
    if (!stored) return undefined;
    // What this process hears itself is newer than what it has told the store.
    const session = this.desk.find({ platform, callId });
    const { netSpeechMs, looks, claimed, state } = session?.progress() ?? stored;
    return {
      ...stored,
      state: stored.state === 'ended' ? 'ended' : state,
      netSpeechMs,
      looks,
      claimed,
      platform,
      callId,
    };
  }

  async end(platform: CallPlatform, callId: string): Promise<void> {
    await this.desk.end({ platform, callId });
    this.deps.doorbell.ring();
  }

  async expect({ platform, callId, userId, callerNumber }: StreamRequest): Promise<StreamTicket> {
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    const name = callId ?? randomUUID();
    const claimed = userId ?? (await this.desk.userOfNumber(callerNumber));
    const known = claimed !== 'unknown_caller' && claimed !== 'ambiguous_caller';
    const { expiresAt } = await this.deps.callStore.expectStream({
      platform,
      callId: name,
      token,
      ttlMs: this.deps.callsConfig.streamTokenMs,
      userId: known ? claimed : undefined,
    });
    return { callId: name, token, expiresAt };
  }

  async admit({ platform, token, source }: ArrivingStream): Promise<boolean> {
    if (this.draining) throw new VoiceAuthError('Busy', 'The service is shutting down', { retryAfterSeconds: 1 });
    // No database is needed to tell that it was not issued here.
    if (!TOKEN.test(token)) return false;
    const { callStore, callsConfig } = this.deps;
    if (this.desk.isFull) throw new VoiceAuthError('Busy', 'Too many calls at once', { retryAfterSeconds: 5 });
    const redeemed = await callStore.redeemStream(
      { platform, token },
      { owner: this.owner, leaseMs: callsConfig.leaseMs },
    );
    if (!redeemed) return false;
    const facts = factsOf({ platform, callId: redeemed.callId }, redeemed.callId);
    try {
      withCorrelation({ correlationId: facts.correlationId, callId: facts.callId }, () =>
        this.desk.attach(facts, redeemed.userId, source),
      );
    } catch (error) {
      await callStore.releaseCalls(this.owner, facts).catch(() => undefined);
      throw error;
    }
    this.questions.rung();
    this.deps.doorbell.ring();
    return true;
  }

  /** Whose templates the calls that this process listens to hold. */
  people(): string[] {
    return this.desk.sessions().flatMap((session) => session.progress().people);
  }

  /** Takes no more looks for somebody who was erased, on any call that this process listens to. */
  forget(userId: string): void {
    for (const session of this.desk.sessions()) session.forget(userId);
  }

  /** No new calls; those that run go on, and questions about them are answered. */
  drain(): void {
    this.draining = true;
  }

  /** Gives all calls up. Never rejects. */
  async close(): Promise<void> {
    this.draining = true;
    await this.leases.stop();
    await this.desk.close().catch((error: unknown) => {
      this.deps.logger.warn({ err: error }, 'calls could not be let go of; their leases will end');
    });
  }
}
