/**
 * Questions about running calls: answered once each, by the process that listens to the call, for whichever process was
 * asked. The store has the question and its answer; a process that dies leaves the call to whoever is asked next.
 */
import type { CallsConfig, VerificationConfig } from '../../config/config.js';
import { withCorrelation } from '../../observability/correlation.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { withSpan } from '../../observability/tracing.js';
import { asVoiceAuthError, VoiceAuthError } from '../errors.js';
import type { CallAsked, CallKey, CallStore, PendingQuestion, StoredAnswer } from '../ports/call-store.js';
import { linkSignals } from '../timing/linked-signal.js';
import { StateWatch } from '../timing/state-watch.js';
import type { TimerWheel } from '../timing/timer-wheel.js';
import type { CallAnswers } from './call-answers.js';
import type { CallDesk } from './call-desk.js';
import { fingerprintOf, questionName } from './call-ids.js';
import { POLL_MS } from './call-leases.js';
import type { CallFacts, CallQuestion } from './calls.js';
import { CallMoved, LAST_LOOK_MS } from './question-limits.js';

export interface CallQuestionsDeps {
  readonly config: VerificationConfig;
  readonly callsConfig: CallsConfig;
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
      readonly phone: string | undefined;
      readonly identityProven: boolean;
      readonly replaceModel: boolean | undefined;
      readonly actor: string;
    };

/** How long a database that does not answer is asked again, at most, and how soon. */
const RETRY_MS = 250;
/** Left of the deadline for recording and answering after listening has ended. */
const RECORD_MS = 250;
/** Time for an answer of another process to arrive here after its deadline: its last look may have begun just before. */
const REMOTE_GRACE_MS = LAST_LOOK_MS + RECORD_MS;

/** A question in progress in this process. */
interface OpenQuestion {
  readonly fingerprint: string;
  readonly answer: Promise<StoredAnswer>;
  /** Fires when nobody waits for the answer any more. */
  readonly left: AbortController;
  /** Askers who wait; whoever asked in another process counts as one. */
  askers: number;
  /**
   * Until when the store says whether somebody still waits in another process, as `performance.now()` counts; undefined =
   * nobody does.
   */
  remoteUntilMs: number | undefined;
}

export class CallQuestions {
  private readonly deps: CallQuestionsDeps;
  /** The same question, asked again, waits for the same answer. */
  private readonly open = new Map<string, OpenQuestion>();
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
    const fingerprint = fingerprintOf({ ...asked, actor: undefined });
    const deadline = performance.now() + question.deadlineMs;
    let known = this.open.get(name);
    // What is being given up ends with nothing, and under the attempt id of the first time: this is a new question after it.
    while (known?.left.signal.aborted) {
      await known.answer.catch(() => undefined);
      known = this.open.get(name);
    }
    if (known && known.fingerprint !== fingerprint) {
      throw new VoiceAuthError('ValidationError', 'The request id was used for another question about this call');
    }
    const deadlineMs = deadline - performance.now();
    const open =
      known ??
      this.start(name, fingerprint, (signal) => this.answer({ ...question, deadlineMs, signal }, asked, fingerprint));
    open.askers++;
    const leave = () => leaveOne(open);
    question.signal.addEventListener('abort', leave, { once: true });
    if (question.signal.aborted) leave();
    try {
      const answer = await open.answer;
      if (answer.kind !== 'error') return answer;
      const { code, message, details, retryAfterSeconds } = answer;
      throw new VoiceAuthError(code, message, { details, ...(retryAfterSeconds ? { retryAfterSeconds } : {}) });
    } catch (error) {
      // What was being answered here for another process is answered by a third one now.
      if (!known || !(error instanceof CallMoved) || question.signal.aborted) throw error;
      return await this.ask({ ...question, deadlineMs: deadline - performance.now() }, asked);
    } finally {
      question.signal.removeEventListener('abort', leave);
    }
  }

  /**
   * All questions that came to other processes, about calls of this one, as the store was asked for them at `polledAtMs`.
   * Whoever asked one that is not among them any more has left; after its deadline none is listed, and what still runs is
   * its last look, for as long as it is waited for there.
   */
  answerFor(questions: readonly PendingQuestion[], polledAtMs: number): void {
    const asked = new Set(questions.map((question) => questionName(question, question.requestId)));
    const now = performance.now();
    for (const [name, open] of this.open) {
      if (open.remoteUntilMs === undefined || asked.has(name)) continue;
      if (now >= open.remoteUntilMs && now < open.remoteUntilMs + REMOTE_GRACE_MS) continue;
      open.remoteUntilMs = undefined;
      leaveOne(open);
    }
    for (const question of questions) this.answerOne(question, polledAtMs);
  }

  private answerOne(
    { platform, callId, requestId, kind, args, attemptId, remainingMs }: PendingQuestion,
    polledAtMs: number,
  ): void {
    const name = questionName({ platform, callId }, requestId);
    // Counted from before the store was asked, so that it is never after the deadline in the store.
    const deadline = polledAtMs + remainingMs;
    const known = this.open.get(name);
    if (known) {
      // One that is being given up makes room for the next time.
      if (!known.left.signal.aborted) waitElsewhere(known, deadline);
      return;
    }
    const { userId, threshold, callerNumber, correlationId } = args;
    const call: CallFacts = { platform, callId, callerNumber, listenUrl: undefined, correlationId };
    const asked: Asked =
      kind === 'verify'
        ? { kind, userId, threshold }
        : {
            kind,
            userId,
            consentReference: args.consentReference,
            phone: args.phone,
            identityProven: args.identityProven === true,
            replaceModel: args.replaceModel,
            actor: args.actor ?? '',
          };
    const open = this.start(name, fingerprintOf({ ...asked, actor: undefined }), (signal) =>
      withCorrelation({ correlationId, callId }, () =>
        this.answerHere({ call, requestId, deadlineMs: remainingMs, signal }, asked, { attemptId, deadline }),
      ),
    );
    waitElsewhere(open, deadline);
    open.answer.catch((error: unknown) => this.deps.logger.warn({ err: error }, 'a question could not be answered'));
  }

  private start(name: string, fingerprint: string, work: (signal: AbortSignal) => Promise<StoredAnswer>): OpenQuestion {
    const left = new AbortController();
    const answer = work(left.signal).finally(() => this.open.delete(name));
    const open: OpenQuestion = { fingerprint, answer, left, askers: 0, remoteUntilMs: undefined };
    this.open.set(name, open);
    return open;
  }

  private async answer(question: CallQuestion, asked: Asked, fingerprint: string): Promise<StoredAnswer> {
    const { call, requestId } = question;
    const deadline = performance.now() + question.deadlineMs;
    // Whoever asks here is told `deadline` when the server gives up; questions of others are left to others.
    const { signal, unlink } = linkSignals([question.signal, this.deps.shutdown]);
    const local = { ...question, signal };
    let listenedElsewhere = false;
    try {
      for (;;) {
        listenedElsewhere = false;
        const source = this.deps.desk.sourceOf(call);
        const state = await this.note(local, asked, { fingerprint, deadline });
        if (!state) {
          throw new VoiceAuthError('CallNotFoundError', 'There is no such call, or nobody knows where to listen');
        }
        if (state.answer && state.answer.kind !== 'error') return state.answer;
        if (state.state === 'waiting') {
          await this.untilStreamComes(local, deadline);
        } else if (state.owned || !state.alive) {
          const session = this.deps.desk.hold(call, state, source);
          // Streams dial us: when the process that had one is gone, so is its audio.
          if (!session && state.state !== 'ended' && !state.owned && call.platform === 'vapi') {
            throw new VoiceAuthError(
              'CallNotFoundError',
              'Nobody listens to this call, and nobody knows where to listen',
            );
          }
          try {
            return await this.answerHere(local, asked, { attemptId: state.attemptId, deadline });
          } catch (error) {
            if (!(error instanceof CallMoved) || local.signal.aborted) throw error;
            // Another process has the call now: it will answer.
          }
        } else {
          listenedElsewhere = true;
          const elsewhere = await this.answerElsewhere(local, deadline);
          if (elsewhere) return elsewhere;
          // The other process is gone: asked again, the call becomes ours.
        }
      }
    } catch (error) {
      // Nothing of the question stays, and asked again it is a new one. But to the process that listens this would be an asker
      // who left, which may be a failed attempt: where it is the server that gives up, that process goes on to the deadline.
      if (!(listenedElsewhere && this.deps.shutdown.aborted)) {
        await this.deps.callStore.withdrawQuestion(call, requestId, this.deps.owner).catch(() => undefined);
      }
      // Given up with the server: another process may have the call by now, and will answer when asked.
      throw error instanceof CallMoved ? new VoiceAuthError('Busy', 'The call moves', { retryAfterSeconds: 1 }) : error;
    } finally {
      unlink();
    }
  }

  /** The stream of this call is expected: a moment later, or an error when the question's time is up. */
  private async untilStreamComes({ signal }: CallQuestion, deadline: number): Promise<void> {
    if (signal.aborted || performance.now() >= deadline) {
      throw new VoiceAuthError('CallNotFoundError', 'The stream of this call has not come yet');
    }
    await this.moment();
  }

  /** Until another process or a stream rings, or for as long as nobody need look. */
  private moment(): Promise<void> {
    return this.watch.next(performance.now() + POLL_MS);
  }

  private note(
    { call, requestId, signal }: CallQuestion,
    asked: Asked,
    { fingerprint, deadline }: { readonly fingerprint: string; readonly deadline: number },
  ): Promise<CallAsked | undefined> {
    const { desk, callStore, owner, callsConfig } = this.deps;
    const args = {
      userId: asked.userId,
      threshold: asked.kind === 'verify' ? asked.threshold : undefined,
      callerNumber: call.callerNumber,
      consentReference: asked.kind === 'enroll' ? asked.consentReference : undefined,
      phone: asked.kind === 'enroll' ? asked.phone : undefined,
      identityProven: asked.kind === 'enroll' ? asked.identityProven : undefined,
      replaceModel: asked.kind === 'enroll' ? asked.replaceModel : undefined,
      actor: asked.kind === 'enroll' ? asked.actor : undefined,
      correlationId: call.correlationId,
    };
    return this.persist(deadline, signal, () =>
      callStore.askCall({
        platform: call.platform,
        callId: call.callId,
        requestId,
        kind: asked.kind,
        fingerprint,
        args,
        deadlineMs: deadline - performance.now(),
        asker: owner,
        mayListen: desk.canListen(call),
        leaseMs: callsConfig.leaseMs,
      }),
    );
  }

  /** Answers by listening, and leaves the answer for whoever asked or asks again. Throws `CallMoved` with nothing done. */
  private async answerHere(
    question: CallQuestion,
    asked: Asked,
    { attemptId, deadline }: { readonly attemptId: string; readonly deadline: number },
  ): Promise<StoredAnswer> {
    const { answers, callStore, owner, ring } = this.deps;
    const { call, requestId, signal } = question;
    const limits = { deadlineMs: deadline - RECORD_MS, signal };
    const persist = <T>(work: () => Promise<T>) => this.persist(deadline, signal, work);
    const attributes = { 'voice_auth.question': asked.kind, 'voice_auth.platform': call.platform };
    let answer: StoredAnswer;
    try {
      answer = await withSpan('call.question', attributes, () =>
        answers.find(question, asked, { limits, attemptId, persist }),
      );
    } catch (error) {
      if (error instanceof CallMoved) throw error;
      const fault = asVoiceAuthError(error);
      const { code, message, details, retryAfterSeconds } = fault;
      // Whoever waits in another process must not wait for nothing; if this fails, too, that process gives up by itself.
      await callStore
        .answerCall(call, requestId, { kind: 'error', code, message, details, retryAfterSeconds })
        .then(ring, () => undefined);
      throw fault;
    }
    // Nobody was told; whoever asks again asks anew.
    if (signal.aborted) await callStore.withdrawQuestion(call, requestId, owner).catch(() => undefined);
    else await persist(() => callStore.answerCall(call, requestId, answer));
    ring();
    return answer;
  }

  /** Waits for another process. Undefined when it is gone, or the call is this process's now. Throws `Timeout` when it lives and does not answer. */
  private async answerElsewhere(question: CallQuestion, ownDeadline: number): Promise<StoredAnswer | undefined> {
    const { callStore, owner, ring } = this.deps;
    const { call, requestId, signal } = question;
    const deadline = ownDeadline + REMOTE_GRACE_MS;
    ring();
    for (;;) {
      const { answer, alive } = await this.persist(deadline, signal, () =>
        callStore.callRequest(call, requestId, owner),
      );
      if (answer) return answer;
      if (!alive) return undefined;
      if (performance.now() >= deadline || signal.aborted) {
        throw new VoiceAuthError('Timeout', 'The process that listens to the call did not answer in time');
      }
      await this.moment();
    }
  }

  /** Tries again while the database is away, there is time and somebody waits: every write about a question may be repeated. */
  private async persist<T>(deadline: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const away = error instanceof VoiceAuthError && error.code === 'DatabaseUnavailable';
        if (!away || signal.aborted || performance.now() + RETRY_MS >= deadline) throw error;
        await new Promise<void>((resolve) => this.deps.timers.schedule(RETRY_MS, resolve));
      }
    }
  }
}

/** Somebody in another process waits for the answer, too, or still. */
function waitElsewhere(open: OpenQuestion, untilMs: number): void {
  if (open.remoteUntilMs === undefined) open.askers++;
  open.remoteUntilMs = untilMs;
}

/** One asker less. */
function leaveOne(open: OpenQuestion): void {
  open.askers--;
  if (open.askers === 0) open.left.abort();
}

/** The facts of a call as a question of a person names it, rather than an event of the call. */
export function factsOf(key: CallKey, correlationId: string): CallFacts {
  return { ...key, callerNumber: undefined, listenUrl: undefined, correlationId };
}
