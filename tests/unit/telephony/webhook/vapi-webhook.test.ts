import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../../../src/domain/errors.js';
import { deferred } from '../../../support/deferred.js';
import { eventually } from '../../../support/eventually.js';
import { privacyLeaks } from '../../../support/privacy.js';
import { settled } from '../../../support/toy-models.js';
import {
  CALL_FACTS,
  CALL_ID,
  CALLER,
  CONTROL_URL,
  callObject,
  LISTEN_URL,
  onlyResult,
  SECRETS,
  toolMessage,
  webhookHarness,
} from '../../../support/webhook-harness.js';

const BARE_CALL = { id: CALL_ID };
const EMPTY = { status: 200, body: {} };

const status = (value: string, call: object = callObject()) => ({ type: 'status-update', status: value, call });

describe('events of a call', () => {
  it('in-progress begins it with all that is known', async () => {
    const h = webhookHarness();
    expect(await h.deliver(status('in-progress'))).toEqual(EMPTY);
    await h.webhook.close();
    expect(h.calls.begun).toEqual([CALL_FACTS]);
    expect(await h.count('webhooks', { type: 'status-update', outcome: 'ok' })).toBe(1);
  });

  it('in-progress is answered before the beginning is over, and close waits for that', async () => {
    const h = webhookHarness();
    const { promise, resolve } = deferred<void>();
    h.calls.onBegin = () => promise;
    expect(await h.deliver(status('in-progress'))).toEqual(EMPTY);
    expect(await h.deliver(status('in-progress'))).toEqual(EMPTY);
    let closed = false;
    const closing = h.webhook.close().then(() => {
      closed = true;
    });
    await settled();
    expect(closed).toBe(false);
    resolve();
    await closing;
    expect(h.calls.begun).toHaveLength(1);
    expect(await h.count('webhooks', { outcome: 'repeated' })).toBe(1);
  });

  it('a beginning that fails is logged and counted, and still answered 200', async () => {
    const h = webhookHarness();
    h.calls.onBegin = async () => {
      throw new VoiceAuthError('Busy', 'Too many calls', { cause: new Error(LISTEN_URL) });
    };
    expect(await h.deliver(status('in-progress'))).toEqual(EMPTY);
    await h.webhook.close();
    expect(await h.count('webhooks', { type: 'status-update', outcome: 'Busy' })).toBe(1);
    expect(h.logText()).toContain('begin_failed');
  });

  it.each(['scheduled', 'queued', 'ringing', 'forwarding', 'new-one'])(
    '%s begins nothing, and what it says is remembered',
    async (value) => {
      const h = webhookHarness();
      expect(await h.deliver(status(value))).toEqual(EMPTY);
      await h.webhook.close();
      expect(h.calls.begun).toEqual([]);
      expect(await h.count('webhooks', { type: 'status-update', outcome: 'ok' })).toBe(1);
      await h.deliver(status('in-progress', BARE_CALL));
      await h.webhook.close();
      expect(h.calls.begun).toEqual([CALL_FACTS]);
    },
  );

  it.each(['speech-update', 'assistant-request'])('%s begins nothing, and is remembered', async (type) => {
    const h = webhookHarness();
    expect(await h.deliver({ type, call: callObject() })).toEqual(EMPTY);
    expect(h.calls.begun).toEqual([]);
    await h.deliver(status('in-progress', BARE_CALL));
    await h.webhook.close();
    expect(h.calls.begun).toEqual([CALL_FACTS]);
  });

  it('a transcript shows that a call is under way, if it is known where to listen', async () => {
    const h = webhookHarness();
    await h.deliver({ type: 'transcript', call: BARE_CALL });
    await h.webhook.close();
    expect(h.calls.begun).toEqual([]);
    await h.deliver({ type: 'transcript', call: callObject() });
    await h.webhook.close();
    expect(h.calls.begun).toEqual([CALL_FACTS]);
    expect(await h.count('webhooks', { type: 'transcript', outcome: 'ok' })).toBe(2);
  });

  it.each([{ type: 'status-update', status: 'ended' }, { type: 'end-of-call-report' }])(
    '%j ends it',
    async (message) => {
      const h = webhookHarness();
      await h.deliver({ type: 'speech-update', call: callObject() });
      expect(await h.deliver({ ...message, call: callObject() })).toEqual(EMPTY);
      expect(h.calls.ended).toEqual([`vapi ${CALL_ID}`]);
      // Nothing of it is known any more.
      await h.deliver(status('in-progress', BARE_CALL));
      await h.webhook.close();
      expect(h.calls.begun).toEqual([{ ...CALL_FACTS, callerNumber: undefined, listenUrl: undefined }]);
    },
  );

  it('an ending that fails is logged, counted and answered 200', async () => {
    const h = webhookHarness();
    h.calls.onEnd = async () => {
      throw new VoiceAuthError('DatabaseUnavailable', 'No database');
    };
    expect(await h.deliver({ type: 'end-of-call-report', call: callObject() })).toEqual(EMPTY);
    expect(await h.count('webhooks', { type: 'end-of-call-report', outcome: 'DatabaseUnavailable' })).toBe(1);
  });

  it('the status of the message counts, not that of the call', async () => {
    const h = webhookHarness();
    await h.deliver(status('in-progress', callObject({ status: 'ended' })));
    await h.webhook.close();
    expect([h.calls.begun.length, h.calls.ended.length]).toEqual([1, 0]);
  });

  it('what earlier events have said is used where later ones lack it', async () => {
    const h = webhookHarness();
    await h.deliver(status('ringing'));
    await h.deliver(status('in-progress', BARE_CALL));
    await h.deliver(toolMessage('verify_caller', {}, { call: BARE_CALL }));
    await h.webhook.close();
    expect([h.calls.begun[0], h.calls.verifications[0]?.call]).toEqual([CALL_FACTS, CALL_FACTS]);
  });

  it('assistant-request is not answered with an error, which would be spoken', async () => {
    const h = webhookHarness();
    expect(await h.deliver({ type: 'assistant-request', call: BARE_CALL })).toEqual(EMPTY);
    expect(await h.count('webhooks', { type: 'assistant-request', outcome: 'not_supported' })).toBe(1);
    expect(h.logText()).toContain('assistant_request');
  });
});

describe('asking VAPI about a call', () => {
  it('happens when no event has said where to listen', async () => {
    const h = webhookHarness();
    h.vapi.canFindCalls = true;
    h.vapi.onFind = async () => ({
      kind: 'found',
      call: { callerNumber: CALLER, listenUrl: LISTEN_URL, controlUrl: CONTROL_URL },
    });
    const calls = ['a', 'b', 'c'].map((id) => ({ id, name: 'verify_caller' }));
    await h.deliver({ type: 'tool-calls', toolCalls: calls, call: BARE_CALL });
    expect(h.vapi.lookups).toHaveLength(1);
    expect(h.calls.verifications.map(({ call }) => call)).toEqual([CALL_FACTS, CALL_FACTS, CALL_FACTS]);
    await h.deliver(toolMessage('enroll_caller', { consent: true }, { call: BARE_CALL }));
    expect(h.vapi.lookups).toHaveLength(1);
    expect(h.calls.enrollments[0]?.call).toEqual(CALL_FACTS);
  });

  it('happens when a call begins without saying where to listen', async () => {
    const h = webhookHarness();
    h.vapi.canFindCalls = true;
    h.vapi.onFind = async () => ({
      kind: 'found',
      call: { callerNumber: undefined, listenUrl: LISTEN_URL, controlUrl: undefined },
    });
    await h.deliver(status('in-progress', { ...BARE_CALL, customer: { number: CALLER } }));
    await h.webhook.close();
    expect(h.calls.begun).toEqual([CALL_FACTS]);
  });

  it('does not happen when it is known, for a status, for refused arguments, or without a key', async () => {
    const h = webhookHarness();
    h.vapi.canFindCalls = true;
    await h.deliver(toolMessage('verify_caller'));
    await h.deliver(toolMessage('call_status', {}, { call: { id: 'call-other' } }));
    await h.deliver(toolMessage('verify_caller', { userId: 'x' }, { call: { id: 'call-other' } }));
    await h.deliver(toolMessage('enroll_caller', {}, { call: { id: 'call-other' } }));
    h.vapi.canFindCalls = false;
    await h.deliver(toolMessage('verify_caller', {}, { call: { id: 'call-other' } }));
    expect(h.vapi.lookups).toEqual([]);
  });

  it('takes a share of the time of the tool call, and the question is asked anyway when it fails', async () => {
    const h = webhookHarness({ toolTimeoutMs: 6_000 });
    h.vapi.canFindCalls = true;
    await h.deliver(toolMessage('verify_caller', {}, { call: BARE_CALL }));
    expect(h.vapi.lookups).toEqual([{ callId: CALL_ID, timeoutMs: 1_500 }]);
    expect(h.calls.verifications[0]?.call.listenUrl).toBeUndefined();
    expect(h.logText()).toContain('call_lookup_failed');
  });

  it('for a call that ends meanwhile begins nothing', async () => {
    const h = webhookHarness();
    h.vapi.canFindCalls = true;
    const found = { callerNumber: CALLER, listenUrl: LISTEN_URL, controlUrl: CONTROL_URL };
    h.vapi.onFind = (signal) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve({ kind: 'found', call: found })));
    await h.deliver(status('in-progress', BARE_CALL));
    await h.deliver(status('ended', BARE_CALL));
    await h.webhook.close();
    expect([h.calls.begun, h.calls.ended]).toEqual([[], [`vapi ${CALL_ID}`]]);
    expect(await h.count('webhooks', { outcome: 'stopped' })).toBe(1);
    h.vapi.canFindCalls = false;
    await h.deliver(toolMessage('verify_caller', {}, { call: BARE_CALL }));
    expect(h.calls.verifications[0]?.call.listenUrl).toBeUndefined();
  });
});

describe('messages that cannot be used', () => {
  it.each(['', '{', '[]', '{}', '{"message":{}}', Buffer.from([0xff, 0xfe, 0])])(
    '%j is answered 200 and counted',
    async (body) => {
      const h = webhookHarness();
      expect(await h.deliverBytes(body)).toEqual(EMPTY);
      expect(await h.count('webhooks', { type: 'unknown' })).toBe(1);
      expect(h.logText()).toContain('unusable_webhook');
    },
  );

  it.each([
    [undefined, 'missing_call_id', 'is missing'],
    ['+14566836490', 'unusable_call_id', 'is unusable'],
    ['a b', 'unusable_call_id', 'is unusable'],
    ['x'.repeat(129), 'unusable_call_id', 'is unusable'],
  ])('with the call id %j are refused clearly', async (id, problem, told) => {
    const h = webhookHarness();
    const call = callObject({ id });
    const toolCalls = [{ id: 'call_1', name: 'verify_caller' }];
    expect(onlyResult(await h.deliver({ type: 'tool-calls', toolCalls, call }))).toBe(
      `error: ValidationError call.id: ${told}`,
    );
    expect(await h.deliver(status('in-progress', call))).toEqual(EMPTY);
    expect(await h.deliver({ type: 'end-of-call-report', call })).toEqual(EMPTY);
    expect([h.calls.begun, h.calls.ended, h.calls.verifications]).toEqual([[], [], []]);
    expect(await h.count('webhooks', { type: 'tool-calls', outcome: problem })).toBe(1);
    expect(await h.count('webhooks', { type: 'status-update', outcome: problem })).toBe(1);
  });

  it('never reject, whatever they are', async () => {
    const h = webhookHarness({ lateVerdict: 'message' });
    const type = fc.constantFrom('status-update', 'tool-calls', 'function-call', 'transcript', 'end-of-call-report');
    const call = fc.oneof(fc.jsonValue(), fc.record({ id: fc.constant(CALL_ID), monitor: fc.jsonValue() }));
    const message = fc.record({
      type,
      call,
      status: fc.jsonValue(),
      toolCalls: fc.jsonValue(),
      customer: fc.jsonValue(),
    });
    await fc.assert(fc.asyncProperty(message, async (value) => (await h.deliver(value)).status === 200));
    await fc.assert(fc.asyncProperty(fc.uint8Array(), async (bytes) => (await h.deliverBytes(bytes)).status === 200));
    await h.webhook.close();
  });
});

describe('who sends it', () => {
  const request = (headers: Record<string, string>) => ({
    headers,
    body: Buffer.from(JSON.stringify({ message: status('in-progress') })),
    correlationId: 'corr-0001',
    signal: new AbortController().signal,
  });

  it('is asked before anything else', async () => {
    const h = webhookHarness();
    expect(await h.webhook.handle(request({ 'x-vapi-secret': 'wrong' }))).toEqual({ status: 401, body: {} });
    expect(h.webhook.screen({ 'x-vapi-secret': 'wrong' })).toBe('refused');
    await h.webhook.close();
    expect(h.calls.begun).toEqual([]);
    expect(await h.count('webhooks', { type: 'unknown', outcome: 'unauthorized' })).toBe(2);
  });

  it('cannot be shown when nothing is configured, except in development', async () => {
    const closed = webhookHarness({ secrets: [] });
    expect(await closed.webhook.handle(request({}))).toEqual({ status: 403, body: {} });
    expect(closed.webhook.screen({})).toBe('closed');
    const open = webhookHarness({ secrets: [], unauthenticated: true });
    const local = { host: 'localhost:8000', 'content-type': 'application/json' };
    expect(open.webhook.screen(local)).toBe('granted');
    expect(await open.webhook.handle(request(local))).toEqual(EMPTY);
    expect(open.webhook.screen({ ...local, host: 'evil.example' })).toBe('foreign');
    expect(await open.webhook.handle(request({ ...local, origin: 'null' }))).toEqual({ status: 403, body: {} });
    expect(await open.count('webhooks', { type: 'unknown', outcome: 'forbidden' })).toBe(2);
    expect(open.logText()).toContain('webhook_foreign');
  });
});

describe('logs, metrics and answers', () => {
  it('give nothing away', async () => {
    const h = webhookHarness({ resultFormat: 'json' });
    h.vapi.canFindCalls = true;
    h.calls.onBegin = async () => {
      throw new Error(`cannot dial ${LISTEN_URL} for ${CALLER}`);
    };
    const echo = { assistant: { server: { secret: 'echoed-s3cret' } }, transcript: 'my s3cret words' };
    const sent = [
      { ...status('in-progress'), ...echo },
      { type: 'transcript', call: callObject(), ...echo },
      { ...toolMessage('verify_caller', { userId: 's3cret' }), ...echo },
      { ...toolMessage('verify_caller'), ...echo },
      { ...toolMessage('s3cret_tool', { s3cret: 's3cret' }), ...echo },
      { ...toolMessage('call_status', 's3cret'), ...echo },
      { type: 's3cret-type', call: callObject(), ...echo },
      { type: 'transcript', call: { id: `call ${CALLER}` }, ...echo },
      { type: 'end-of-call-report', call: callObject(), ...echo },
    ];
    const answers: string[] = [];
    for (const message of sent) answers.push(JSON.stringify((await h.deliver(message)).body));
    await h.deliverBytes('{"message": s3cret');
    await h.webhook.close();
    await eventually(() => expect(h.logText()).toContain('unusable_webhook'));
    expect(privacyLeaks(h.logText(), SECRETS)).toEqual([]);
    expect(privacyLeaks(await h.metrics.registry.metrics(), SECRETS)).toEqual([]);
    // The name of a tool is part of its answer.
    expect(privacyLeaks(answers.join('\n').replaceAll('s3cret_tool', ''), SECRETS)).toEqual([]);
    expect(h.logText()).toContain(`"call_id":"${CALL_ID}"`);
    expect(h.logText()).toContain('"correlation_id":"corr-0001"');
  });
});
