import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { joinChunks } from '../../../src/recordings/byte-chunks.js';

describe('joinChunks', () => {
  it('joins pieces in order, in a buffer of its own', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array()), async (chunks) => {
        const joined = await joinChunks(chunks);
        expect(Buffer.compare(joined, Buffer.concat(chunks))).toBe(0);
        expect(joined.buffer.byteLength).toBe(joined.length);
      }),
    );
  });

  it.each([
    ['one', 1],
    ['many', 131],
  ])('lets other work go on while it copies %s', async (_count, pieces) => {
    const whole = Buffer.alloc(9_000_017);
    for (let at = 0; at < whole.length; at += 4_093) whole[at] = at % 251;
    const size = Math.ceil(whole.length / pieces);
    const chunks = Array.from({ length: pieces }, (_, i) => whole.subarray(i * size, (i + 1) * size));
    let turns = 0;
    const count = () => {
      turns += 1;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    const joined = await joinChunks(chunks);
    clearImmediate(timer);
    expect(Buffer.compare(joined, whole)).toBe(0);
    expect(turns).toBeGreaterThanOrEqual(4);
  });
});
