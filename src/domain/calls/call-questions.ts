/**
 * Questions about running calls: answered once each, by the process that listens to the call, for whichever process was
 * asked. The store has the question and its answer; a process that dies leaves the call to whoever is asked next.
 */
import type { CallsConfig, VerificationConfig } from '../../config/config.js';
import { withCorrelation } from '../../observability/correlation.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { withSpan } from '../../observability/tracing.js';
import { VoiceAuthError } from '../errors.js';
import type { CallAsked, CallKey, CallStore, PendingQuestion, StoredAnswer } from '../ports/call-store.js';
import { StateWatch } from '../timing/state-watch.js';
import type { TimerWheel } from '../timing/timer-wheel.js';
import type { CallAnswers } from './call-answers.js';
import type { CallDesk } from './call-desk.js';
import { questionName } from './call-ids.js';
import { POLL_MS } from './call-leases.js';
import type { CallFacts, CallQuestion } from './calls.js';

export interface CallQuestionsDeps {
  readonly config: VerificationConfig;
  readonly calls: CallsConfig;
  readonly desk: CallDesk;
  readonly answers: CallAnswers;
  readonly callStore: CallStore;
  readonly owner: string;
  readonly timers: TimerWheel;
  /** Tells other processes that there is something for them in the store. */
  readonly ring: () => void;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly shutdown: AbortSignal;
}

/** What is asked, in the words of the store. */
export type Asked =
  | { readonly kind: 'verify'; readonly userId: string | undefined; readonly threshold: number | undefined }
  | {
      readonly kind: 'enroll';
      readonly userId: string | undefined;
      readonly consentReference: string | undefined;
      readonly replaceModel: boolean | undefined;
      readonly actor: string;
    };

/** How long a database that does not answer is asked again, at most, and how soon. */
const RETRY_MS = 250;
/** Left of the deadline for recording and answering after listening has ended. */
const RECORD_MS = 250;
/** Time for an answer of another process to arrive here after its deadline. */
const REMOTE_GRACE_MS = 500;

export class CallQuestions {
  private readonly deps: CallQuestionsDeps;
  /** Questions in progress in this process: the same one, asked again, waits for the same answer. */
  private readonly open = new Map<string, Promise<StoredAnswer>>();
  private readonly watch: StateWatch;

  constructor(deps: CallQuestionsDeps) {
    this.deps = deps;
    this.watch = new StateWatch(deps.timers);
  }

  /** There may be an answer of another process. */
  rung(): void {
    this.watch.changed();
  }

  /** The answer to a question; never an `error`: those are thrown. */
  async ask(question: CallQuestion, asked: Asked): Promise<Exclude<StoredAnswer, { readonly kind: 'error' }>> {
    const name = questionName(question.call, question.requestId);
    let answering = this.open.get(name);
    if (!answering) {
      answering = this.answer(question, asked).finally(() => this.open.delete(name));
      this.open.set(name, answering);
    }
    const answer = await answering;
    if (answer.kind === 'error') throw new VoiceAuthError(answer.code, answer.message);
    return answer;
  }

  /** A question that came to another process, about a call of this one. */
  answerFor({ platform, callId, requestId, kind, args, remainingMs }: PendingQuestion): void {
    const name = questionName({ platform, callId }, requestId);
    if (this.open.has(name)) return;
    const question: CallQuestion = {
      call: {
        platform,
        callId,
        callerNumber: args.callerNumber,
        listenUrl: undefined,
        correlationId: args.correlationId,
      },
      requestId,
      deadlineMs: remainingMs,
      signal: this.deps.shutdown,
    };
    const asked: Asked =
      kind === 'verify'
        ? { kind, userId: args.userId, threshold: args.threshold }
        : {
            kind,
            userId: args.userId,
            consentReference: args.consentReference,
            replaceModel: args.replaceModel,
            actor: args.actor ?? '',
          };
    const answering = withCorrelation({ correlationId: args.correlationId, callId }, () =>
      this.answerHere(question, asked, performance.now() + remainingMs).finally(() => this.open.delete(name)),
    );
    this.open.set(name, answering);
    answering.catch((error: unknown) => this.deps.logger.warn({ err: error }, 'a question could not be answered'));
  }

  private async answer(question: CallQuestion, asked: Asked): Promise<StoredAnswer> {
    const { call, requestId } = question;
    const deadline = performance.now() + question.deadlineMs;
    for (;;) {
      const source = this.deps.desk.sourceOf(call);
      const state = await this.note(question, asked, deadline);
      if (!state)
        throw new VoiceAuthError('CallNotFoundError', 'There is no such call, or nobody knows where to listen');
      if (state.answer) return state.answer;
      if (state.state === 'waiting') {
        await this.untilStreamComes(question, deadline);
        continue;
      }
      if (state.owned || !state.alive) {
        const session = this.deps.desk.hold(call, state, source);
        // Streams dial us: when the process that had one is gone, so is its audio.
        if (!session && state.state !== 'ended' && !state.owned && call.platform === 'vapi') {
          throw new VoiceAuthError(
            'CallNotFoundError',
            'Nobody listens to this call, and nobody knows where to listen',
          );
        }
        return this.answerHere(question, asked, deadline);
      }
      const elsewhere = await this.answerElsewhere(call, requestId, { deadline, signal: question.signal });
      if (elsewhere) return elsewhere;
      // The other process is gone: asked again, the call becomes ours.
    }
  }

  /** The stream of this call is expected: a moment later, or an error when the question's time is up. */
  private async untilStreamComes({ signal }: CallQuestion, deadline: number): Promise<void> {
    if (signal.aborted || this.deps.shutdown.aborted || performance.now() >= deadline) {
      throw new VoiceAuthError('CallNotFoundError', 'The stream of this call has not come yet');
    }
    await this.moment();
  }

  /** Until another process or a stream rings, or for as long as nobody need look. */
  private async moment(): Promise<void> {
    let first = true;
    const rung = () => {
      const now = !first;
      first = false;
      return now;
    };
    await this.watch.until(rung, performance.now() + POLL_MS);
  }

  private note(question: CallQuestion, asked: Asked, deadline: number): Promise<CallAsked | undefined> {
    const { desk, callStore, owner, calls } = this.deps;
    const { call, requestId } = question;
    const args = {
      userId: asked.userId,
      threshold: asked.kind === 'verify' ? asked.threshold : undefined,
      callerNumber: call.callerNumber,
      consentReference: asked.kind === 'enroll' ? asked.consentReference : undefined,
      replaceModel: asked.kind === 'enroll' ? asked.replaceModel : undefined,
      actor: asked.kind === 'enroll' ? asked.actor : undefined,
      correlationId: call.correlationId,
    };
    return this.persist(deadline, () =>
      callStore.askCall({
        platform: call.platform,
        callId: call.callId,
        requestId,
        kind: asked.kind,
        args,
        deadlineMs: deadline - performance.now(),
        asker: owner,
        mayListen: desk.canListen(call),
        leaseMs: calls.leaseMs,
      }),
    );
  }

  /** Answers by listening, and leaves the answer for whoever asked or asks again. */
  private async answerHere(question: CallQuestion, asked: Asked, deadline: number): Promise<StoredAnswer> {
    const { answers, callStore, ring } = this.deps;
    const { call, requestId } = question;
    const signal = AbortSignal.any([question.signal, this.deps.shutdown]);
    const limits = { deadlineMs: Math.max(0, deadline - performance.now() - RECORD_MS), signal };
    const persist = <T>(work: () => Promise<T>) => this.persist(deadline, work);
    let answer: StoredAnswer;
    try {
      answer = await withSpan(
        'call.question',
        { 'voice_auth.question': asked.kind, 'voice_auth.platform': call.platform },
        () => answers.find(question, asked, { limits, persist }),
      );
    } catch (error) {
      const fault =
        error instanceof VoiceAuthError
          ? error
          : new VoiceAuthError('InternalError', 'Something went wrong on our side', { cause: error });
      // Whoever waits in another process must not wait for nothing; if this fails, too, that process gives up by itself.
      await callStore
        .answerCall(call, requestId, { kind: 'error', code: fault.code, message: fault.message })
        .then(ring, () => undefined);
      throw error;
    }
    await persist(() => callStore.answerCall(call, requestId, answer));
    ring();
    return answer;
  }

  /** Waits for another process. Undefined when it is gone. Throws `Timeout` when it lives and does not answer. */
  private async answerElsewhere(
    call: CallKey,
    requestId: string,
    limits: { readonly deadline: number; readonly signal: AbortSignal },
  ): Promise<StoredAnswer | undefined> {
    const { callStore, ring, shutdown } = this.deps;
    const deadline = limits.deadline + REMOTE_GRACE_MS;
    ring();
    for (;;) {
      const { answer, alive } = await this.persist(deadline, () => callStore.callRequest(call, requestId));
      if (answer) return answer;
      if (!alive) return undefined;
      if (performance.now() >= deadline || limits.signal.aborted || shutdown.aborted) {
        throw new VoiceAuthError('Timeout', 'The process that listens to the call did not answer in time');
      }
      await this.moment();
    }
  }

  /** Tries again while the database is away and there is time: every write about a question may be repeated. */
  private async persist<T>(deadline: number, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const away = error instanceof VoiceAuthError && error.code === 'DatabaseUnavailable';
        if (!away || performance.now() + RETRY_MS >= deadline) throw error;
        await new Promise<void>((resolve) => this.deps.timers.schedule(RETRY_MS, resolve));
      }
    }
  }
}

/** The facts of a call as a question of a person names it, rather than an event of the call. */
export function factsOf(key: CallKey, correlationId: string): CallFacts {
  return { ...key, callerNumber: undefined, listenUrl: undefined, correlationId };
}
