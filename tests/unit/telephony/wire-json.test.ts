import { describe, expect, it } from 'vitest';
import { STREAM_PLATFORMS } from '../../../src/domain/calls/calls.js';
import { SPEECH_RATES_HZ } from '../../../src/telephony/speech-rates.js';
import { STREAM_ENDPOINTS } from '../../../src/telephony/streams/platforms.js';
import { parseTextFrame } from '../../../src/telephony/vapi/start-frame.js';
import { fieldOf, isObject, listOf, objectIn, parseJson, textOf } from '../../../src/telephony/wire-json.js';

const bytes = (...parts: readonly (string | readonly number[])[]) =>
  Buffer.concat(parts.map((part) => Buffer.from(part)));
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

describe('JSON off the wire', () => {
  it('is read from bytes and from text, with a byte-order mark and without', () => {
    expect(parseJson('{"a":"ä"}')).toEqual({ a: 'ä' });
    expect(parseJson('\ufeff{"a":1}')).toEqual({ a: 1 });
    expect(parseJson(bytes('{"a":"ä"}'))).toEqual({ a: 'ä' });
    expect(parseJson(bytes(BYTE_ORDER_MARK, '{"a":1}'))).toEqual({ a: 1 });
    expect(parseJson(bytes('{"before":1}{"a":1}').subarray(12))).toEqual({ a: 1 });
  });

  it('is undefined when it is none, and null when it is null', () => {
    for (const none of ['', '{', 'hello', '\ufeff', bytes(), bytes([0, 1, 2])]) expect(parseJson(none)).toBeUndefined();
    expect(parseJson('null')).toBeNull();
  });

  it('keeps the rest when one text is faulty UTF-8', () => {
    expect(parseJson(bytes('{"a":"', [0xff], '","b":2}'))).toEqual({ a: '\ufffd', b: 2 });
  });

  it('is looked into by own properties only', () => {
    const value = parseJson('{"a":{"b":["c"]},"__proto__":{"d":"e"}}');
    expect([fieldOf(value, 'a', 'b', '0'), fieldOf(value, 'd'), fieldOf(value, 'constructor')]).toEqual([
      'c',
      undefined,
      undefined,
    ]);
    expect([textOf(value, 1, 'a', 'b', '0'), textOf('four', 3), listOf(value, 'a')]).toEqual(['c', undefined, []]);
    expect([{}, [], null, 'a'].map(isObject)).toEqual([true, false, false, false]);
    expect([objectIn([1]), objectIn({ a: 1 })]).toEqual([{}, { a: 1 }]);
  });
});

describe('every platform', () => {
  const start = (rate: number) => ({
    event: 'start',
    type: 'start',
    sampleRate: rate,
    channels: 1,
    start: {
      mediaFormat: { encoding: 'audio/x-l16', sampleRate: rate },
      media_format: { encoding: 'L16', sample_rate: rate },
    },
  });

  it.each(STREAM_PLATFORMS)('%s may send a byte-order mark, and speak at every rate in use', (platform) => {
    for (const rate of SPEECH_RATES_HZ) {
      const message = bytes(BYTE_ORDER_MARK, JSON.stringify(start(rate)));
      expect(STREAM_ENDPOINTS[platform].adapter().translate(message, false)).toMatchObject({
        kind: 'start',
        format: { sampleRateHz: rate },
      });
    }
  });

  it('and so may listen sockets', () => {
    for (const rate of SPEECH_RATES_HZ) {
      expect(parseTextFrame(bytes(BYTE_ORDER_MARK, JSON.stringify(start(rate))))).toEqual({
        kind: 'start',
        format: { sampleRateHz: rate, channels: 1 },
      });
    }
  });
});
