import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseWebhookMessage, type WebhookMessage } from '../../../../src/telephony/vapi/webhook/webhook-message.js';
import { isCallId } from '../../../../src/telephony/vapi/webhook/wire-call.js';

const CALL_ID = '6b38b0c2-5d0f-4a6e-9a43-0e1f2d3c4b5a';
const CAPTURED = {
  type: 'tool-calls',
  toolCallList: [{ id: 'call_fzEw', type: 'function', function: { name: 'verify_caller', arguments: { a: 1 } } }],
  toolWithToolCallList: [
    {
      type: 'function',
      function: { name: 'verify_caller', parameters: { type: 'object', properties: {} } },
      server: { url: 'https://me.example', secret: 's', timeoutSeconds: 30 },
      toolCall: { id: 'call_fzEw', type: 'function', function: { name: 'verify_caller', arguments: { a: 1 } } },
    },
  ],
  call: {
    id: CALL_ID,
    status: 'ringing',
    customer: { number: '+14566836490' },
    monitor: { listenUrl: 'wss://a.vapi.ai/x/listen', controlUrl: 'https://a.vapi.ai/x/control' },
  },
  customer: { number: '+14566836490' },
  timestamp: '2024-07-04T05:39:10.225Z',
};

function parse(message: unknown): WebhookMessage {
  return parseWebhookMessage(Buffer.from(JSON.stringify({ message })));
}

function toolCallsOf(fields: object) {
  const message = parse({ type: 'tool-calls', call: { id: CALL_ID }, ...fields });
  if (message.kind !== 'tool-calls') throw new Error(message.kind);
  return message.toolCalls.map((call) => ({
    ...call,
    arguments: call.arguments && Object.fromEntries(call.arguments),
  }));
}

function callOf(call: unknown, root: object = {}) {
  const message = parse({ type: 'transcript', call, ...root });
  if (message.kind === 'unusable') throw new Error(message.kind);
  return message.call;
}

describe('the captured message', () => {
  it('is understood in full', () => {
    expect(parse(CAPTURED)).toEqual({
      kind: 'tool-calls',
      toolCalls: [{ id: 'call_fzEw', name: 'verify_caller', arguments: new Map([['a', 1]]), timeoutMs: 30_000 }],
      dropped: 0,
      call: {
        kind: 'call',
        call: {
          callId: CALL_ID,
          callerNumber: '+14566836490',
          listenUrl: 'wss://a.vapi.ai/x/listen',
          controlUrl: 'https://a.vapi.ai/x/control',
        },
      },
      sentAt: new Date('2024-07-04T05:39:10.225Z'),
    });
  });
});

describe('tool calls', () => {
  const expected = { id: 'c1', name: 'verify_caller', arguments: { userId: 'u' }, timeoutMs: undefined };
  const args = { userId: 'u' };
  const text = JSON.stringify(args);

  it.each<[string, object]>([
    ['arguments under function', { function: { name: 'verify_caller', arguments: args } }],
    ['arguments as JSON text', { function: { name: 'verify_caller', arguments: text } }],
    ['parameters under function', { function: { name: 'verify_caller', parameters: args } }],
    ['parameters as JSON text', { function: { name: 'verify_caller', parameters: text } }],
    ['flat arguments', { name: 'verify_caller', arguments: args }],
    ['flat arguments as JSON text', { name: 'verify_caller', arguments: text }],
    ['flat parameters', { name: 'verify_caller', parameters: args }],
    ['a name under function and flat parameters', { function: { name: 'verify_caller' }, parameters: args }],
  ])('are read: %s', (_what, shape) => {
    const call = { id: 'c1', ...shape };
    expect(toolCallsOf({ toolCallList: [call] })).toEqual([expected]);
    expect(toolCallsOf({ toolCalls: [call] })).toEqual([expected]);
    expect(toolCallsOf({ toolWithToolCallList: [{ toolCall: call }] })).toEqual([expected]);
    expect(toolCallsOf({ toolCallList: [], toolCalls: [call], toolWithToolCallList: [{ toolCall: call }] })).toEqual([
      expected,
    ]);
  });

  it('take name and time-out from wherever the tool stands beside them', () => {
    const toolCall = { id: 'c1', parameters: args };
    const server = { timeoutSeconds: 7.5 };
    for (const tool of [
      { name: 'verify_caller', server },
      { function: { name: 'verify_caller' }, server },
      { tool: { name: 'verify_caller', server } },
      { tool: { function: { name: 'verify_caller' } }, server },
    ]) {
      const found = { ...expected, timeoutMs: 7_500 };
      expect(toolCallsOf({ toolWithToolCallList: [{ ...tool, toolCall }] })).toEqual([found]);
      expect(toolCallsOf({ toolCallList: [toolCall], toolWithToolCallList: [{ ...tool, toolCall }] })).toEqual([found]);
    }
  });

  it.each([0, -1, '20', null, Number.MAX_SAFE_INTEGER])('bound a time-out of %j', (timeoutSeconds) => {
    const [call] = toolCallsOf({ toolWithToolCallList: [{ server: { timeoutSeconds }, toolCall: { id: 'c1' } }] });
    expect(call?.timeoutMs).toBe(timeoutSeconds === Number.MAX_SAFE_INTEGER ? 300_000 : undefined);
  });

  it('without arguments have none', () => {
    for (const none of [undefined, null, '', {}, '{}', 'null']) {
      expect(toolCallsOf({ toolCalls: [{ id: 'c1', name: 'n', arguments: none }] })[0]?.arguments).toEqual({});
    }
  });

  it('with arguments that are no object are told from those without', () => {
    const long = JSON.stringify({ userId: 'x'.repeat(20_000) });
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${i}`, i]));
    for (const bad of [5, true, [], [1], '{', '5', '[]', JSON.stringify(text), long, many]) {
      expect(toolCallsOf({ toolCalls: [{ id: 'c1', name: 'n', arguments: bad }] })[0]?.arguments).toBeUndefined();
    }
  });

  it('do not inherit arguments', () => {
    const body = `{"message":{"type":"tool-calls","toolCalls":[{"id":"c1","name":"n","arguments":{"__proto__":{"consent":true}}}]}}`;
    const message = parseWebhookMessage(Buffer.from(body));
    expect(message.kind === 'tool-calls' && message.toolCalls[0]?.arguments?.get('consent')).toBeUndefined();
    expect(toolCallsOf({ toolCalls: [{ id: 'c1' }] })[0]?.name).toBe('');
  });

  it('without an id cannot be answered and are counted', () => {
    const bad = [null, 5, 'x', {}, { id: '' }, { id: 5 }, { id: 'x'.repeat(257) }];
    const message = parse({ type: 'tool-calls', toolCalls: [...bad, { id: 'c1' }], toolWithToolCallList: [{}] });
    expect(message).toMatchObject({ dropped: 8, toolCalls: [{ id: 'c1' }] });
  });

  it('are bounded in number', () => {
    const many = Array.from({ length: 100 }, (_, i) => ({ id: `c${i}`, name: 'n' }));
    expect(parse({ type: 'tool-calls', toolCalls: many })).toMatchObject({ dropped: 36 });
    expect(toolCallsOf({ toolCalls: many }).map(({ id }) => id)).toEqual(many.slice(0, 64).map(({ id }) => id));
  });

  it('keep ids and order, whatever the ids are', () => {
    const ids = fc.uniqueArray(fc.string({ unit: 'binary', minLength: 1, maxLength: 64 }), { maxLength: 20 });
    fc.assert(
      fc.property(ids, (all) => {
        const list = all.map((id) => ({ id, name: 'verify_caller' }));
        const again = list.map((toolCall) => ({ toolCall })).reverse();
        expect(toolCallsOf({ toolCallList: list, toolWithToolCallList: again }).map(({ id }) => id)).toEqual(all);
      }),
    );
  });
});

describe('the message before there were tools', () => {
  const functionCall = (parameters: unknown) =>
    parse({ type: 'function-call', call: { id: CALL_ID }, functionCall: { name: 'verify_caller', parameters } });

  it('has one call, with parameters as text or object, and an id made from its bytes', () => {
    const asText = functionCall('{"userId":"u"}');
    expect(asText).toMatchObject({
      kind: 'function-call',
      toolCall: { name: 'verify_caller', arguments: new Map([['userId', 'u']]), timeoutMs: undefined },
    });
    const idOf = (message: WebhookMessage) => (message.kind === 'function-call' ? message.toolCall.id : '');
    expect(idOf(asText)).toMatch(/^function-call:\S{43}$/);
    expect(idOf(functionCall('{"userId":"u"}'))).toBe(idOf(asText));
    expect(idOf(functionCall({ userId: 'u' }))).not.toBe(idOf(asText));
  });
});

describe('the call', () => {
  it('has the number of its customer, else of the one at the root, if it is E.164', () => {
    const numberOf = (call: object, root: object = {}) => {
      const found = callOf({ id: CALL_ID, ...call }, root);
      return found.kind === 'call' ? found.call.callerNumber : 'no call';
    };
    expect(numberOf({ customer: { number: '+14566836490' } })).toBe('+14566836490');
    expect(numberOf({}, { customer: { number: '+14566836490' } })).toBe('+14566836490');
    expect(numberOf({ customer: { number: '+4930123456' } }, { customer: { number: '+14566836490' } })).toBe(
      '+4930123456',
    );
    expect(numberOf({ customer: { number: 'anonymous' } }, { customer: { number: '+14566836490' } })).toBe(
      '+14566836490',
    );
    expect(numberOf({ customer: { number: '+1 (456) 683-64.90' } })).toBe('+14566836490');
    const bad = [
      '4566836490',
      '+0123456789',
      '+1',
      '+1456683649012345',
      '+1456x683',
      'sip:+14566836490@x',
      '',
      5,
      null,
      {},
    ];
    for (const number of bad) expect(numberOf({ customer: { number } })).toBeUndefined();
    expect(numberOf({ customer: { sipUri: 'sip:+14566836490@sip.example' } })).toBeUndefined();
  });

  it('may lack its URLs, or one of them', () => {
    const urlsOf = (monitor: unknown) => {
      const found = callOf({ id: CALL_ID, monitor });
      return found.kind === 'call' ? [found.call.listenUrl, found.call.controlUrl] : [];
    };
    expect(urlsOf({ listenUrl: 'wss://a' })).toEqual(['wss://a', undefined]);
    expect(urlsOf({ controlUrl: 'https://a' })).toEqual([undefined, 'https://a']);
    for (const monitor of [
      undefined,
      null,
      'x',
      { listenUrl: 5 },
      { listenUrl: '' },
      { listenUrl: 'w'.repeat(5000) },
    ]) {
      expect(urlsOf(monitor)).toEqual([undefined, undefined]);
    }
  });

  it('needs a usable id', () => {
    for (const id of [undefined, null, '']) expect(callOf({ id }).kind).toBe('missing');
    for (const call of [undefined, null, 'x', [CALL_ID]]) expect(callOf(call).kind).toBe('missing');
    for (const id of [
      5,
      {},
      'a b',
      'a\nb',
      '../x',
      'x'.repeat(129),
      '+14566836490',
      '14566836490',
      'tel:14566836490',
    ]) {
      expect(callOf({ id }).kind).toBe('unusable');
    }
    for (const id of [CALL_ID, 'call-1', 'c1', 'A.b_c:d-9', 'x'.repeat(128)]) expect(callOf({ id }).kind).toBe('call');
  });

  it('has an id of visible characters only', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (id) => {
        if (isCallId(id)) expect(id).toMatch(/^[\x21-\x7e]{1,128}$/);
      }),
    );
  });
});

describe('the status', () => {
  it('is the one of the message, not of the call', () => {
    const statusOf = (fields: object) => parse({ type: 'status-update', ...fields });
    for (const status of ['scheduled', 'queued', 'ringing', 'in-progress', 'forwarding', 'ended']) {
      expect(statusOf({ status, call: { id: CALL_ID, status: 'ringing' } })).toMatchObject({ status });
    }
    expect(statusOf({ call: { id: CALL_ID, status: 'in-progress' } })).toMatchObject({ status: 'in-progress' });
    for (const status of ['new-one', 5, {}, 'constructor'])
      expect(statusOf({ status })).toMatchObject({ status: 'other' });
  });
});

describe('the time', () => {
  it.each([
    ['2024-07-04T05:39:10.225Z', 1_720_071_550_225],
    [1_720_071_550_225, 1_720_071_550_225],
    [1_720_071_550, 1_720_071_550_000],
    ['never', undefined],
    [1e300, undefined],
    [undefined, undefined],
    [{}, undefined],
  ])('%j', (timestamp, expected) => {
    const message = parse({ type: 'hang', timestamp });
    expect(message.kind === 'other' && message.sentAt?.getTime()).toBe(expected);
  });
});

describe('other messages', () => {
  it.each(['transcript', 'end-of-call-report', 'assistant-request'])('%s keeps its name', (type) => {
    expect(parse({ type }).kind).toBe(type);
  });

  it('of unknown types are other', () => {
    for (const type of ['speech-update', 'hang', 'constructor', '__proto__'])
      expect(parse({ type }).kind).toBe('other');
  });

  it('are read without the envelope, too', () => {
    expect(parseWebhookMessage(Buffer.from('{"type":"transcript","call":{"id":"call-0001"}}'))).toMatchObject({
      kind: 'transcript',
      call: { kind: 'call' },
    });
  });
});

describe('bodies that are none of this', () => {
  it.each([
    ['', 'not_json'],
    ['{', 'not_json'],
    ['null', 'no_type'],
    ['5', 'no_type'],
    ['[]', 'no_type'],
    ['{}', 'no_type'],
    ['{"message":null}', 'no_type'],
    ['{"message":{"type":5}}', 'no_type'],
    [`{"message":{"type":"${'x'.repeat(100)}"}}`, 'no_type'],
  ])('%s is %s', (body, problem) => {
    expect(parseWebhookMessage(Buffer.from(body))).toEqual({ kind: 'unusable', problem });
  });

  it('may be nested as deep as a megabyte allows', () => {
    const deep = `{"message":{"type":"transcript","call":{"id":"call-0001"},"x":${'['.repeat(500_000)}${']'.repeat(500_000)}}}`;
    expect(parseWebhookMessage(Buffer.from(deep)).kind).toBe('transcript');
    const args = `{"message":{"type":"tool-calls","toolCalls":[{"id":"c","arguments":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}]}}`;
    expect(parseWebhookMessage(Buffer.from(args)).kind).toBe('tool-calls');
  });

  it('may have faulty letters in a text', () => {
    const body = Buffer.from(
      '{"message":{"type":"end-of-call-report","call":{"id":"call-0001"},"transcript":"gr\xfc\xdfe"}}',
      'latin1',
    );
    expect(parseWebhookMessage(body).kind).toBe('end-of-call-report');
    expect(parseWebhookMessage(Buffer.from(`\ufeff${'{"message":{"type":"transcript"}}'}`)).kind).toBe('transcript');
  });

  it('never throw', () => {
    const types = fc.constantFrom('status-update', 'tool-calls', 'function-call', 'transcript', 'x');
    const message = fc.record(
      {
        type: types,
        call: fc.jsonValue(),
        customer: fc.jsonValue(),
        status: fc.jsonValue(),
        timestamp: fc.jsonValue(),
        functionCall: fc.jsonValue(),
        toolCallList: fc.oneof(fc.jsonValue(), fc.array(fc.record({ id: fc.string(), function: fc.jsonValue() }))),
        toolCalls: fc.jsonValue(),
        toolWithToolCallList: fc.array(fc.record({ toolCall: fc.jsonValue(), server: fc.jsonValue() })),
      },
      { requiredKeys: ['type'] },
    );
    const kindOf = (value: unknown) => parse(value).kind;
    fc.assert(fc.property(message, (value) => kindOf(value) !== 'unusable'));
    fc.assert(fc.property(fc.jsonValue(), (value) => kindOf(value).length > 0));
    fc.assert(fc.property(fc.uint8Array(), (bytes) => parseWebhookMessage(bytes).kind === 'unusable'));
  });
});
