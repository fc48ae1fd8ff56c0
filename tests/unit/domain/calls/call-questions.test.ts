/** Questions that come to one process about a call of another: how long they are worked on, and waited for. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { AnswerMeans, CallAnswers } from '../../../../src/domain/calls/call-answers.js';
import type { CallDesk } from '../../../../src/domain/calls/call-desk.js';
import { type Asked, CallQuestions, type CallQuestionsDeps } from '../../../../src/domain/calls/call-questions.js';
import type { CallQuestion } from '../../../../src/domain/calls/calls.js';
import { CallMoved } from '../../../../src/domain/calls/question-limits.js';
import type { CallStore, PendingQuestion, StoredAnswer } from '../../../../src/domain/ports/call-store.js';
import { TimerWheel } from '../../../../src/domain/timing/timer-wheel.js';
import { createLogger } from '../../../../src/observability/logger.js';
import { Metrics } from '../../../../src/observability/metrics.js';
import { deferred } from '../../../support/deferred.js';
import { eventually } from '../../../support/eventually.js';
import { HandClock } from '../../../support/hand-clock.js';
import { factsOf, questionOf } from '../../../support/toy-calls-service.js';
import { settled } from '../../../support/toy-models.js';
import { databaseDown } from '../../../support/toy-world.js';

const ANSWER: StoredAnswer = {
  kind: 'verify',
  answer: {
    kind: 'decided',
    userId: '3f1c7a52-8c1e-4a57-9d0e-2b7a4c6d8e90',
    result: {
      attemptId: 'a2b7c1d0-0000-4000-8000-000000000001',
      decision: 'accept',
      reason: 'match',
      score: 0.93,
      threshold: 0.82,
      netSpeechMs: 3210,
      looks: 2,
    },
  },
};
const ASKED: Asked = { kind: 'verify', userId: undefined, threshold: undefined };

afterEach(() => vi.restoreAllMocks());

/** Questions of one process; the test says what listening to the call comes to, and when. */
function start(store: Partial<CallStore> = {}) {
  const found = deferred<StoredAnswer>();
  const find = vi.fn((_question: CallQuestion, _asked: Asked, _means: AnswerMeans) => found.promise);
  const answerCall = vi.fn(async (..._: Parameters<CallStore['answerCall']>) => undefined);
  const withdrawQuestion = vi.fn(async (..._: Parameters<CallStore['withdrawQuestion']>) => undefined);
  const clock = new HandClock();
  const shutdown = new AbortController();
  const questions = new CallQuestions({
    desk: { sourceOf: () => undefined, canListen: () => false, hold: () => undefined } as unknown as CallDesk,
    answers: { find } as unknown as CallAnswers,
    callStore: { answerCall, withdrawQuestion, ...store } as CallStore,
    callsConfig: { leaseMs: 60_000 },
    owner: 'here',
    timers: new TimerWheel({ clock }),
    ring: () => undefined,
    metrics: new Metrics(),
    logger: createLogger('silent'),
    shutdown: shutdown.signal,
  } as unknown as CallQuestionsDeps);
  return { questions, clock, shutdown, found, find, answerCall, withdrawQuestion };
}

function pending(changes: Partial<PendingQuestion> = {}): PendingQuestion {
  const { platform, callId, correlationId } = factsOf();
  return {
    platform,
    callId,
    requestId: 'tool-1',
    kind: 'verify',
    args: {
      userId: undefined,
      threshold: undefined,
      callerNumber: undefined,
      consentReference: undefined,
      phone: undefined,
      actor: undefined,
      correlationId,
    },
    attemptId: 'a2b7c1d0-0000-4000-8000-000000000001',
    remainingMs: 60_000,
    ...changes,
  };
}

describe('a question about a call of this process', () => {
  it('is told to come again when the call is given up with the server', async () => {
    const held = { state: 'listening', owned: true, tookOver: false, userId: undefined, alive: true } as const;
    const askCall = async () => ({ ...held, attemptId: 'attempt', answer: undefined });
    const { questions, shutdown, find, withdrawQuestion } = start({ askCall });
    find.mockImplementationOnce(async () => {
      shutdown.abort();
      throw new CallMoved();
    });
    await expect(questions.ask(questionOf(factsOf()), ASKED)).rejects.toMatchObject({ code: 'Busy' });
    expect(withdrawQuestion).toHaveBeenCalledOnce();
  });

  it('is not tried again once nobody waits, though the database may come back', async () => {
    const asker = new AbortController();
    const askCall = vi.fn(databaseDown);
    const { questions, clock } = start({ askCall });
    let fault: unknown;
    const asking = questions.ask(questionOf(factsOf(), { signal: asker.signal }), ASKED).catch((error: unknown) => {
      fault = error;
    });
    await settled();
    askCall.mockImplementationOnce(() => {
      asker.abort();
      return databaseDown();
    });
    clock.advance(300);
    await settled();
    expect(fault).toMatchObject({ code: 'DatabaseUnavailable' });
    await asking;
    clock.advance(300);
    await settled();
    expect(askCall).toHaveBeenCalledTimes(2);
  });
});

describe('a question about a call of another process', () => {
  /** The other process lives and does not answer. */
  function startElsewhere() {
    const held = { state: 'listening', owned: false, tookOver: false, userId: undefined, alive: true } as const;
    return start({
      askCall: async () => ({ ...held, attemptId: 'attempt', answer: undefined }),
      callRequest: async () => ({ answer: undefined, alive: true }),
    });
  }

  it.each([
    ['is withdrawn when its asker leaves', 'asker', 1],
    ['stays when this server gives up: its asker has not left, and that process goes on', 'server', 0],
  ] as const)('%s', async (_what, who, withdrawn) => {
    const { questions, shutdown, clock, withdrawQuestion } = startElsewhere();
    const asker = new AbortController();
    const asking = questions.ask(questionOf(factsOf(), { signal: asker.signal }), ASKED);
    const refused = expect(asking).rejects.toMatchObject({ code: 'Timeout' });
    await settled();
    (who === 'asker' ? asker : shutdown).abort();
    clock.advance(1_000);
    await refused;
    expect(withdrawQuestion).toHaveBeenCalledTimes(withdrawn);
  });
});

describe('a question that came to another process', () => {
  it('is given up when it is withdrawn before its deadline', async () => {
    const { questions, find, found, answerCall } = start();
    questions.answerFor([pending()], performance.now());
    const { signal } = find.mock.calls[0]![2].limits;
    expect(signal.aborted).toBe(false);
    questions.answerFor([], performance.now());
    expect(signal.aborted).toBe(true);
    found.resolve(ANSWER);
    await settled();
    expect(answerCall).not.toHaveBeenCalled();
  });

  it('keeps its last look when its deadline has passed, after which no question is listed', async () => {
    const { questions, find, found, answerCall } = start();
    // Asked for so long ago that the time is up.
    questions.answerFor([pending({ remainingMs: 500 })], performance.now() - 500);
    questions.answerFor([], performance.now());
    expect(find.mock.calls[0]![2].limits.signal.aborted).toBe(false);
    found.resolve(ANSWER);
    await eventually(() => expect(answerCall).toHaveBeenCalledOnce());
    expect(answerCall.mock.calls[0]![2]).toEqual(ANSWER);
  });

  it('is given up when nobody can be waiting for its last look any more', async () => {
    const { questions, find } = start();
    questions.answerFor([pending({ remainingMs: 500 })], performance.now() - 500);
    const later = performance.now() + 5_000;
    vi.spyOn(performance, 'now').mockReturnValue(later);
    questions.answerFor([], later);
    expect(find.mock.calls[0]![2].limits.signal.aborted).toBe(true);
  });

  it('is asked anew by whoever asks the same here, when the call moves on meanwhile', async () => {
    const askCall = vi.fn(async () => ({
      state: 'listening' as const,
      owned: false,
      tookOver: false,
      userId: undefined,
      alive: true,
      attemptId: 'attempt',
      answer: ANSWER,
    }));
    const { questions, find } = start({ askCall });
    const lost = deferred<void>();
    find.mockImplementationOnce(async () => {
      await lost.promise;
      throw new CallMoved();
    });
    const question = pending();
    questions.answerFor([question], performance.now());
    const call = factsOf({ callId: question.callId });
    const asking = questions.ask(questionOf(call, { requestId: question.requestId }), ASKED);
    lost.resolve();
    expect(await asking).toEqual(ANSWER);
    expect(askCall).toHaveBeenCalledOnce();
  });

  it('is waited for as long as the last look of the other process may take', async () => {
    const elsewhere = { state: 'listening', owned: false, tookOver: false, userId: undefined, alive: true } as const;
    let answer: StoredAnswer | undefined;
    const callRequest = vi.fn(async () => ({ answer, alive: true }));
    const { questions, clock } = start({
      askCall: async () => ({ ...elsewhere, attemptId: 'attempt', answer: undefined }),
      callRequest,
    });
    const startedAt = performance.now();
    const now = vi.spyOn(performance, 'now').mockReturnValue(startedAt);
    const asking = questions.ask(questionOf(factsOf(), { deadlineMs: 2_000 }), ASKED);
    await eventually(() => expect(callRequest).toHaveBeenCalledTimes(1));
    // A second after the deadline the last look may still be running.
    now.mockReturnValue(startedAt + 3_000);
    await eventually(() => {
      clock.advance(300);
      expect(callRequest).toHaveBeenCalledTimes(2);
    });
    answer = ANSWER;
    let told: unknown;
    void asking.then((found) => {
      told = found;
    });
    await eventually(() => {
      clock.advance(300);
      expect(told).toEqual(ANSWER);
    });
  });
});
