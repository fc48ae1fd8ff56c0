import { describe, expect, it } from 'vitest';
import type { CallVerificationAnswer } from '../../../../src/domain/calls/calls.js';
import { VoiceAuthError } from '../../../../src/domain/errors.js';
import { createLogger } from '../../../../src/observability/logger.js';
import { Metrics } from '../../../../src/observability/metrics.js';
import { type LateVerdictDeps, LateVerdicts } from '../../../../src/telephony/vapi/webhook/late-verdicts.js';
import { deferred } from '../../../support/deferred.js';
import { eventually } from '../../../support/eventually.js';
import { privacyLeaks } from '../../../support/privacy.js';
import { decided, MATCH, ScriptedCalls, TOO_LITTLE } from '../../../support/scripted-calls.js';
import {
  CALL_ID,
  CONTROL_URL,
  callObject,
  onlyResult,
  ScriptedVapi,
  SECRETS,
  toolMessage,
  webhookHarness,
} from '../../../support/webhook-harness.js';

/** Answers tool calls at once with too little speech; late questions wait for `answer`, or end with their signal. */
function openQuestion(mode: 'off' | 'message' | 'say' = 'message') {
  const h = webhookHarness({ lateVerdict: mode });
  let settle: (answer: Promise<CallVerificationAnswer>) => void = () => undefined;
  h.calls.onVerify = ({ requestId, signal }) => {
    if (!requestId.endsWith(':late')) return Promise.resolve(decided(TOO_LITTLE));
    return new Promise((resolve) => {
      settle = resolve;
      signal.addEventListener('abort', () => resolve(decided({ ...TOO_LITTLE, reason: 'deadline' })));
    });
  };
  const late = () => h.calls.verifications.filter(({ requestId }) => requestId.endsWith(':late'));
  return { ...h, late, answer: (answer: Promise<CallVerificationAnswer>) => settle(answer) };
}

/** Late verdicts within such bounds; `follow` has one question for each call. */
function bounded(bounds: Pick<LateVerdictDeps, 'maxRunning' | 'maxRemembered'>) {
  const calls = new ScriptedCalls();
  const shutdown = new AbortController();
  const late = new LateVerdicts({
    config: { lateVerdict: 'message', resultFormat: 'text' },
    calls,
    api: new ScriptedVapi(),
    metrics: new Metrics(),
    logger: createLogger('silent'),
    shutdown: shutdown.signal,
    ...bounds,
  });
  const follow = (callId: string) =>
    late.follow(
      {
        call: { platform: 'vapi', callId, callerNumber: undefined, listenUrl: undefined, correlationId: 'c' },
        requestId: 'r',
        userId: undefined,
        threshold: undefined,
        deadlineMs: 1,
        signal: new AbortController().signal,
      },
      TOO_LITTLE,
      CONTROL_URL,
    );
  return { calls, late, shutdown, follow };
}

describe('a verdict that comes late', () => {
  it('is asked for when the tool call was answered without one, and told once', async () => {
    const h = openQuestion();
    expect(onlyResult(await h.deliver(toolMessage('verify_caller', { threshold: 0.9 })))).toMatch(
      /^inconclusive: .*the verdict follows/,
    );
    expect(h.late()).toMatchObject([
      { requestId: 'call_1:late', threshold: 0.9, deadlineMs: 120_000, call: { callId: CALL_ID } },
    ]);
    expect(h.vapi.delivered).toEqual([]);
    h.answer(Promise.resolve(decided(MATCH)));
    await h.webhook.close();
    const content = expect.stringMatching(/^Late result of verify_caller: verified: /);
    expect(h.vapi.delivered).toEqual([{ controlUrl: CONTROL_URL, message: { kind: 'message', content } }]);
    expect(await h.count('toolCalls', { tool: 'late_verdict', outcome: 'delivered' })).toBe(1);
    expect(privacyLeaks(h.logText(), SECRETS)).toEqual([]);
  });

  it('is told once also when the tool call is delivered again, before or after', async () => {
    const h = openQuestion();
    await h.deliver(toolMessage('verify_caller'));
    expect(onlyResult(await h.deliver(toolMessage('verify_caller')))).toMatch(/the verdict follows/);
    h.answer(Promise.resolve(decided(MATCH)));
    await h.webhook.close();
    expect(onlyResult(await h.deliver(toolMessage('verify_caller')))).not.toMatch(/the verdict follows/);
    expect([h.late().length, h.vapi.delivered.length]).toEqual([1, 1]);
  });

  it.each([
    [decided(MATCH), /^Thank you/],
    [decided({ ...MATCH, decision: 'reject', reason: 'no_match' }), /could not confirm/],
    [decided({ ...TOO_LITTLE, reason: 'low_quality' }), /^I still could not/],
    [{ kind: 'unknown_caller' } as const, /^I still could not/],
  ])('can be spoken: %j', async (answer, spoken) => {
    const h = openQuestion('say');
    await h.deliver(toolMessage('verify_caller'));
    h.answer(Promise.resolve(answer));
    await h.webhook.close();
    expect(h.vapi.delivered).toEqual([
      { controlUrl: CONTROL_URL, message: { kind: 'say', content: expect.stringMatching(spoken) } },
    ]);
  });

  it('may be a lock or a fault, which is told as well', async () => {
    const h = openQuestion();
    await h.deliver(toolMessage('verify_caller'));
    h.answer(Promise.reject(new VoiceAuthError('AccountLockedError', 'Locked', { retryAfterSeconds: 60 })));
    await h.webhook.close();
    expect(h.vapi.delivered[0]?.message.content).toMatch(/locked_out: /);
  });

  it.each([
    ['off', 'off' as const, {}],
    ['no control URL', 'message' as const, { call: callObject({ monitor: { listenUrl: 'wss://a.vapi.ai' } }) }],
  ])('is not promised with %s', async (_what, mode, overrides) => {
    const h = openQuestion(mode);
    expect(onlyResult(await h.deliver(toolMessage('verify_caller', {}, overrides)))).toMatch(
      /call verify_caller again$/,
    );
    expect(h.late()).toEqual([]);
  });

  it('is not asked for when more speech would not help', async () => {
    const h = openQuestion();
    for (const result of [
      MATCH,
      { ...TOO_LITTLE, reason: 'mixed_audio' as const },
      { ...TOO_LITTLE, reason: 'caller_hung_up' as const },
    ]) {
      h.calls.onVerify = async () => decided(result);
      await h.deliver(toolMessage('verify_caller'));
    }
    expect(h.late()).toEqual([]);
  });

  it.each([decided({ ...TOO_LITTLE, reason: 'caller_hung_up' }), undefined])(
    'is told to nobody when the call is over: %j',
    async (answer) => {
      const h = openQuestion();
      await h.deliver(toolMessage('verify_caller'));
      h.answer(answer ? Promise.resolve(answer) : Promise.reject(new VoiceAuthError('CallNotFoundError', 'Gone')));
      await h.webhook.close();
      expect(h.vapi.delivered).toEqual([]);
      expect(await h.count('toolCalls', { tool: 'late_verdict', outcome: 'call_over' })).toBe(1);
    },
  );

  it.each([MATCH, { ...MATCH, decision: 'reject' as const, reason: 'no_match' as const }])(
    'ends with its call, after that: what it comes to is told to nobody: %j',
    async (result) => {
      const h = openQuestion();
      await h.deliver(toolMessage('verify_caller'));
      await h.deliver({ type: 'status-update', status: 'ended', call: callObject() });
      expect([h.calls.ended, h.late()[0]?.signal.aborted]).toEqual([[`vapi ${CALL_ID}`], false]);
      h.answer(Promise.resolve(decided(result)));
      await h.webhook.close();
      expect(h.vapi.delivered).toEqual([]);
      expect(await h.count('toolCalls', { tool: 'late_verdict', outcome: 'stopped' })).toBe(1);
    },
  );

  it('is judged also when the end of its call cannot be written down', async () => {
    const h = openQuestion();
    await h.deliver(toolMessage('verify_caller'));
    h.calls.onEnd = () => Promise.reject(new VoiceAuthError('DatabaseUnavailable', 'Away'));
    await h.deliver({ type: 'status-update', status: 'ended', call: callObject() });
    expect(h.late()[0]?.signal.aborted).toBe(false);
    h.answer(Promise.resolve(decided(MATCH)));
    await h.webhook.close();
    expect(h.vapi.delivered).toEqual([]);
    expect(await h.count('toolCalls', { tool: 'late_verdict', outcome: 'stopped' })).toBe(1);
  });

  it('is told to be open at shutdown, once, and none begins after it', async () => {
    const h = openQuestion();
    await h.deliver(toolMessage('verify_caller'));
    h.shutdown.abort();
    await h.webhook.close();
    expect(h.late()[0]?.signal.aborted).toBe(true);
    const content = expect.stringMatching(/^Late result of verify_caller: inconclusive: .* call verify_caller again$/);
    expect(h.vapi.delivered).toEqual([{ controlUrl: CONTROL_URL, message: { kind: 'message', content } }]);
    expect(await h.count('toolCalls', { tool: 'late_verdict', outcome: 'delivered' })).toBe(1);
    await h.deliver(toolMessage('verify_caller', {}, { call: callObject({ id: 'call-other' }) }));
    expect([h.late().length, h.vapi.delivered.length]).toEqual([1, 1]);
  });

  it('gives way to a new question in the same call', async () => {
    const h = openQuestion();
    const ask = (id: string) =>
      h.deliver({ type: 'tool-calls', toolCalls: [{ id, name: 'verify_caller' }], call: callObject() });
    await ask('first');
    await ask('second');
    expect(h.late().map(({ requestId, signal }) => [requestId, signal.aborted])).toEqual([
      ['first:late', true],
      ['second:late', false],
    ]);
    h.answer(Promise.resolve(decided(MATCH)));
    await h.webhook.close();
    expect(h.vapi.delivered).toHaveLength(1);
  });

  it('is still told when the question before it is delivered again', async () => {
    const h = openQuestion();
    const ask = (id: string) =>
      h.deliver({ type: 'tool-calls', toolCalls: [{ id, name: 'verify_caller' }], call: callObject() });
    await ask('first');
    expect(onlyResult(await ask('second'))).toMatch(/the verdict follows/);
    expect(onlyResult(await ask('first'))).not.toMatch(/the verdict follows/);
    expect(h.late().map(({ requestId, signal }) => [requestId, signal.aborted])).toEqual([
      ['first:late', true],
      ['second:late', false],
    ]);
    h.answer(Promise.resolve(decided(MATCH)));
    await h.webhook.close();
    expect(h.vapi.delivered).toHaveLength(1);
  });

  it('is still told when the question before it is answered after it', async () => {
    const h = openQuestion();
    const { onVerify } = h.calls;
    const held = deferred<CallVerificationAnswer>();
    h.calls.onVerify = (question) => (question.requestId === 'first' ? held.promise : onVerify(question));
    const ask = (id: string) =>
      h.deliver({ type: 'tool-calls', toolCalls: [{ id, name: 'verify_caller' }], call: callObject() });
    const first = ask('first');
    await eventually(() => expect(h.calls.verifications).toHaveLength(1));
    expect(onlyResult(await ask('second'))).toMatch(/the verdict follows/);
    held.resolve(decided(TOO_LITTLE));
    expect(onlyResult(await first)).not.toMatch(/the verdict follows/);
    expect(h.late().map(({ requestId, signal }) => [requestId, signal.aborted])).toEqual([['second:late', false]]);
    h.answer(Promise.resolve(decided(MATCH)));
    await h.webhook.close();
    expect(h.vapi.delivered).toHaveLength(1);
  });

  it('that gave way leaves the one that took its place to end with the call', async () => {
    const h = openQuestion();
    const ask = (id: string) =>
      h.deliver({ type: 'tool-calls', toolCalls: [{ id, name: 'verify_caller' }], call: callObject() });
    await ask('first');
    await ask('second');
    await eventually(async () =>
      expect(await h.count('toolCalls', { tool: 'late_verdict', outcome: 'stopped' })).toBe(1),
    );
    await h.deliver({ type: 'end-of-call-report', call: callObject() });
    expect(h.late().map(({ signal }) => signal.aborted)).toEqual([true, false]);
    h.answer(Promise.resolve(decided(MATCH)));
    await h.webhook.close();
    expect(h.vapi.delivered).toEqual([]);
  });

  it('goes on, silent, until the new question is answered', async () => {
    const h = openQuestion();
    await h.deliver(toolMessage('verify_caller'));
    const second = deferred<CallVerificationAnswer>();
    h.calls.onVerify = () => second.promise;
    const asking = h.deliver({
      type: 'tool-calls',
      toolCalls: [{ id: 'again', name: 'verify_caller' }],
      call: callObject(),
    });
    await eventually(() => expect(h.calls.verifications.at(-1)?.requestId).toBe('again'));
    expect(h.late().map(({ signal }) => signal.aborted)).toEqual([false]);
    h.answer(Promise.resolve(decided(MATCH)));
    second.resolve(decided(MATCH));
    await asking;
    await h.webhook.close();
    expect(h.vapi.delivered).toEqual([]);
  });

  it('gives way also when the new question is answered at once', async () => {
    const h = openQuestion();
    await h.deliver(toolMessage('verify_caller'));
    h.calls.onVerify = async () => decided(MATCH);
    await h.deliver({ type: 'tool-calls', toolCalls: [{ id: 'again', name: 'verify_caller' }], call: callObject() });
    await h.webhook.close();
    expect(h.late().map(({ signal }) => signal.aborted)).toEqual([true]);
    expect(h.vapi.delivered).toEqual([]);
  });

  it('that cannot be delivered is logged and not tried again', async () => {
    const h = openQuestion();
    h.vapi.onControl = async () => ({ kind: 'failed', outcome: 'http_404' });
    await h.deliver(toolMessage('verify_caller'));
    h.answer(Promise.resolve(decided(MATCH)));
    await h.webhook.close();
    expect(h.vapi.delivered).toHaveLength(1);
    expect(await h.count('toolCalls', { tool: 'late_verdict', outcome: 'undelivered' })).toBe(1);
    await eventually(() => expect(h.logText()).toContain('late_verdict_failed'));
  });

  it('is promised to a bounded number of calls at once', async () => {
    const { calls, late, shutdown, follow } = bounded({ maxRunning: 2 });
    calls.onVerify = ({ signal }) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve(decided(TOO_LITTLE))));
    expect(['a', 'b', 'c'].map(follow)).toEqual([true, true, false]);
    late.silence('a')();
    await eventually(() => expect(follow('c')).toBe(true));
    shutdown.abort();
    await late.settled();
  });

  it('is known to have been told for a bounded number of questions, the newest', async () => {
    const { late, follow } = bounded({ maxRemembered: 2 });
    for (const callId of ['a', 'b', 'c']) {
      expect(follow(callId)).toBe(true);
      await late.settled();
    }
    expect(['b', 'c', 'a'].map(follow)).toEqual([false, false, true]);
    await late.settled();
  });
});
