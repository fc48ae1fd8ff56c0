import { describe, expect, it } from 'vitest';
import { MAX_TEXT_BYTES, parseTextFrame } from '../../../src/telephony/vapi/start-frame.js';

const START = '{"type":"start","encoding":"linear16","container":"raw","sampleRate":16000,"channels":2}';

describe('a text frame', () => {
  it('of 64 KiB is looked into, a longer one is not', () => {
    const padded = (bytes: number) => parseTextFrame(Buffer.from(START.padEnd(bytes)));
    expect(padded(MAX_TEXT_BYTES)).toEqual({ kind: 'start', format: { sampleRateHz: 16_000, channels: 2 } });
    expect(padded(MAX_TEXT_BYTES + 1)).toEqual({ kind: 'garbage' });
  });
});
