import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../../../src/domain/errors.js';
import { deadlineOf } from '../../../../src/telephony/vapi/webhook/tool-messages.js';
import { deferred } from '../../../support/deferred.js';
import { CALLED_USER, decided, MATCH } from '../../../support/scripted-calls.js';
import {
  CALL_FACTS,
  CALL_ID,
  callObject,
  LISTEN_URL,
  onlyResult,
  toolMessage,
  webhookHarness,
} from '../../../support/webhook-harness.js';

describe('verify_caller', () => {
  it('asks about the call and tells the verdict', async () => {
    const h = webhookHarness();
    const reply = await h.deliver(
      toolMessage('verify_caller', { userId: CALLED_USER.toUpperCase(), threshold: '0.95' }),
    );
    expect(reply).toEqual({
      status: 200,
      body: {
        results: [{ name: 'verify_caller', toolCallId: 'call_1', result: expect.stringMatching(/^verified: /) }],
      },
    });
    const [question] = h.calls.verifications;
    expect(question).toMatchObject({ call: CALL_FACTS, requestId: 'call_1', userId: CALLED_USER, threshold: 0.95 });
    expect(question?.deadlineMs).toBeLessThanOrEqual(18_500);
    expect(question?.deadlineMs).toBeGreaterThan(0);
    expect(await h.count('toolCalls', { tool: 'verify_caller', outcome: 'accept' })).toBe(1);
    expect(await h.metrics.registry.metrics()).toContain('voice_auth_tool_call_seconds_count{tool="verify_caller"} 1');
  });

  it('asks for whoever has the number when nobody is named', async () => {
    const h = webhookHarness();
    h.calls.onVerify = async () => ({ kind: 'unknown_caller' });
    expect(onlyResult(await h.deliver(toolMessage('verify_caller')))).toMatch(/^unknown_caller: /);
    expect(h.calls.verifications[0]).toMatchObject({ userId: undefined, threshold: undefined });
  });

  it('has the time that its own tool says, less a margin', async () => {
    const h = webhookHarness();
    const entry = (id: string, timeoutSeconds?: number) => ({
      function: { name: 'verify_caller' },
      server: { timeoutSeconds },
      toolCall: { id },
    });
    await h.deliver({
      type: 'tool-calls',
      toolWithToolCallList: [entry('a', 60), entry('b', 2), entry('c')],
      call: callObject(),
    });
    const [a = 0, b = 0, c = 0] = h.calls.verifications.map(({ deadlineMs }) => deadlineMs);
    expect(a > 18_500 && a <= 58_500).toBe(true);
    expect(b > 0 && b <= 1_000).toBe(true);
    expect(c > 1_000 && c <= 18_500).toBe(true);
    expect([1_000, 2_000, 3_000, 4_000, 20_000].map(deadlineOf)).toEqual([500, 1_000, 1_500, 2_500, 18_500]);
  });

  it('tells faults by their code and nothing of what nobody expected', async () => {
    const h = webhookHarness();
    h.calls.onVerify = async () => {
      throw new VoiceAuthError('CallNotFoundError', 'Nobody knows where to listen', { cause: new Error(LISTEN_URL) });
    };
    const reply = await h.deliver(toolMessage('verify_caller'));
    expect(reply.body).toEqual({
      results: [
        { name: 'verify_caller', toolCallId: 'call_1', error: 'error: CallNotFoundError Nobody knows where to listen' },
      ],
    });
    h.calls.onVerify = async () => {
      throw new Error(`cannot dial ${LISTEN_URL}`);
    };
    expect(onlyResult(await h.deliver(toolMessage('verify_caller')))).toBe(
      'error: InternalError Something went wrong on our side',
    );
    h.calls.onVerify = async () => {
      throw new VoiceAuthError('AccountLockedError', 'Locked', { retryAfterSeconds: 600 });
    };
    expect(onlyResult(await h.deliver(toolMessage('verify_caller')))).toMatch(/^locked_out: .*10 min/);
  });

  it.each([
    [{ userId: 'me' }, 'error: ValidationError userId: must be one UUID'],
    [{ threshold: 90 }, 'error: ValidationError threshold: must be a number between 0 and 1'],
    ['{"userId":', 'error: ValidationError arguments: must be a JSON object'],
  ])('refuses %j', async (args, told) => {
    const h = webhookHarness();
    expect(onlyResult(await h.deliver(toolMessage('verify_caller', args)))).toBe(told);
    expect(h.calls.verifications).toEqual([]);
  });
});

describe('enroll_caller', () => {
  it('enrolls with consent', async () => {
    const h = webhookHarness();
    expect(onlyResult(await h.deliver(toolMessage('enroll_caller', { consent: 'yes' })))).toMatch(/^enrolled: /);
    const named = { consent: true, consentReference: 'contract 7', user_id: CALLED_USER };
    await h.deliver(toolMessage('enroll_caller', named));
    expect(h.calls.enrollments).toMatchObject([
      { call: CALL_FACTS, requestId: 'call_1', userId: undefined, consentReference: `vapi:${CALL_ID}`, actor: 'vapi' },
      { userId: CALLED_USER, consentReference: 'contract 7', actor: 'vapi' },
    ]);
    expect(await h.count('toolCalls', { tool: 'enroll_caller', outcome: 'enrolled' })).toBe(2);
  });

  it.each([{}, { consent: false }, { consent: 'no' }, { consent: 'I think so' }, { consent: 1 }])(
    'enrolls nobody with %j',
    async (args) => {
      const h = webhookHarness();
      const reply = await h.deliver(toolMessage('enroll_caller', args));
      expect(reply.body).toMatchObject({ results: [{ result: expect.stringMatching(/^consent_required: /) }] });
      expect(h.calls.enrollments).toEqual([]);
    },
  );
});

describe('other tools', () => {
  it('call_status tells how far it is', async () => {
    const h = webhookHarness();
    expect(onlyResult(await h.deliver(toolMessage('call_status')))).toMatch(/^unknown_call: /);
    h.calls.onStatus = async () => ({
      platform: 'vapi',
      callId: CALL_ID,
      state: 'listening',
      netSpeechMs: 2_500,
      looks: 1,
      claimed: true,
      startedAt: new Date(),
    });
    expect(onlyResult(await h.deliver(toolMessage('call_status')))).toMatch(/^listening: 2\.5 s/);
  });

  it('that nobody has are told so, and counted together', async () => {
    const h = webhookHarness();
    for (const name of ['transfer_call', 'toString', '', 's3cret\nname']) {
      const told = onlyResult(await h.deliver(toolMessage(name)));
      expect(told).toMatch(/^error: NotFound There is no tool of this name; there are verify_caller, /);
    }
    expect(await h.count('toolCalls', { tool: 'other', outcome: 'NotFound' })).toBe(4);
    expect(await h.metrics.registry.metrics()).not.toContain('transfer_call');
  });
});

describe('a message with several tool calls', () => {
  it('has them all at once and answers each, in their order', async () => {
    const h = webhookHarness();
    const first = deferred<void>();
    h.calls.onVerify = async ({ requestId }) => {
      // Answered only when the other question has been asked, too.
      if (requestId === 'a') await first.promise;
      else first.resolve();
      return requestId === 'a' ? decided(MATCH) : { kind: 'ambiguous_caller' };
    };
    const toolCalls = [
      { id: 'a', name: 'verify_caller' },
      { id: 'b', name: 'verify_caller' },
      { id: 'c', name: 'nothing' },
    ];
    const { body } = await h.deliver({ type: 'tool-calls', toolCalls, call: callObject() });
    expect(body).toMatchObject({
      results: [
        { toolCallId: 'a', name: 'verify_caller', result: expect.stringMatching(/^verified/) },
        { toolCallId: 'b', name: 'verify_caller', result: expect.stringMatching(/^ambiguous_caller/) },
        { toolCallId: 'c', name: 'nothing', error: expect.stringMatching(/^error: NotFound/) },
      ],
    });
  });

  it('keeps exact ids and order and has no line breaks, whatever comes', async () => {
    const h = webhookHarness();
    const entry = fc.record({
      id: fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }),
      name: fc.oneof(fc.constantFrom('verify_caller', 'enroll_caller', 'call_status'), fc.string({ maxLength: 20 })),
      arguments: fc.jsonValue(),
    });
    const entries = fc.uniqueArray(entry, { selector: ({ id }) => id, maxLength: 8 });
    h.calls.onVerify = async ({ requestId }) => {
      if (requestId.length % 2) throw new VoiceAuthError('AudioProcessingError', 'line\nbreak\u2028');
      return decided(MATCH);
    };
    await fc.assert(
      fc.asyncProperty(entries, async (toolCallList) => {
        const reply = await h.deliver({ type: 'tool-calls', toolCallList, call: callObject() });
        const { results } = reply.body as { results: Record<string, string>[] };
        expect(results.map(({ toolCallId, name }) => [toolCallId, name])).toEqual(
          toolCallList.map(({ id, name }) => [id, name]),
        );
        for (const { result, error } of results) {
          expect(result ?? error).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
          expect(result === undefined).not.toBe(error === undefined);
        }
      }),
      { numRuns: 60 },
    );
    for (const { requestId } of h.calls.verifications) expect(requestId).toMatch(/^[\x21-\x7e]{1,120}$/);
  });

  it('has nothing to answer when no id is usable, and says so in the log', async () => {
    const h = webhookHarness();
    expect(await h.deliver({ type: 'tool-calls', toolCalls: [{ name: 'verify_caller' }], call: callObject() })).toEqual(
      {
        status: 200,
        body: { results: [] },
      },
    );
    expect(h.logText()).toContain('unusable_tool_calls');
  });
});

describe('the message before there were tools', () => {
  it('is answered with one result; delivered again it is the same question', async () => {
    const h = webhookHarness();
    const message = {
      type: 'function-call',
      functionCall: { name: 'verify_caller', parameters: '{}' },
      call: callObject(),
    };
    expect(await h.deliver(message)).toEqual({ status: 200, body: { result: expect.stringMatching(/^verified: /) } });
    await h.deliver(message);
    const [first, again] = h.calls.verifications;
    expect(first?.requestId).toBe(again?.requestId);
    await h.deliver({ ...message, functionCall: { name: 'verify_caller', parameters: '{"threshold":0.9}' } });
    expect(h.calls.verifications[2]?.requestId).not.toBe(first?.requestId);
  });
});
