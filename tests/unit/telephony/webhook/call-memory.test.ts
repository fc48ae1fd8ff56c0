import { describe, expect, it } from 'vitest';
import { CallMemory } from '../../../../src/telephony/vapi/webhook/call-memory.js';

const call = (callId: string, details: { callerNumber?: string; listenUrl?: string; controlUrl?: string } = {}) => ({
  callId,
  callerNumber: undefined,
  listenUrl: undefined,
  controlUrl: undefined,
  ...details,
});

describe('what is known of a call', () => {
  it('grows with every event; what is said last counts', () => {
    const memory = new CallMemory();
    memory.learn(call('a', { listenUrl: 'wss://1', callerNumber: '+14566836490' }));
    memory.learn(call('a', { controlUrl: 'https://1' }));
    expect(memory.learn(call('a', { listenUrl: 'wss://2' }))).toEqual({
      callId: 'a',
      callerNumber: '+14566836490',
      listenUrl: 'wss://2',
      controlUrl: 'https://1',
    });
    expect(memory.learn(call('b'))).toEqual(call('b'));
  });

  it('is forgotten at the end of the call', () => {
    const memory = new CallMemory();
    memory.learn(call('a', { listenUrl: 'wss://1' }));
    memory.forget('a');
    expect(memory.learn(call('a'))).toEqual(call('a'));
    expect(memory.size).toBe(0);
  });

  it('is kept for the calls heard of last', () => {
    const memory = new CallMemory({ maxCalls: 2 });
    for (const id of ['a', 'b']) memory.learn(call(id, { listenUrl: `wss://${id}` }));
    memory.learn(call('a'));
    memory.learn(call('c', { listenUrl: 'wss://c' }));
    expect(memory.size).toBe(2);
    expect(['a', 'b', 'c'].map((id) => memory.learn(call(id)).listenUrl)).toEqual(['wss://a', undefined, 'wss://c']);
  });

  it('takes no place when it is nothing', () => {
    const memory = new CallMemory({ maxCalls: 1 });
    memory.learn(call('a', { callerNumber: '+14566836490' }));
    for (let i = 0; i < 10; i++) memory.learn(call(`x${i}`));
    expect(memory.learn(call('a')).callerNumber).toBe('+14566836490');
  });
});
