import { describe, expect, it } from 'vitest';
import { ChunkOrder, WINDOW } from '../../../../src/telephony/streams/chunk-order.js';

const FORMAT = { encoding: 'mulaw', sampleRateHz: 8_000, channels: 1 } as const;

function order() {
  const delivered: number[] = [];
  let late = 0;
  const chunks = new ChunkOrder({
    deliver: (bytes) => delivered.push(bytes[0]!),
    onLate: () => late++,
  });
  // One buffer for all pieces, as the decoder has: what waits must have been copied.
  const buffer = new Uint8Array(1);
  const push = (...positions: number[]) => {
    for (const position of positions) {
      buffer[0] = position & 255;
      chunks.push(position, buffer, FORMAT);
    }
  };
  return { push, flush: () => chunks.flush(), delivered, late: () => late };
}

/** Numbers from `first` to `last`. */
function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

describe('ChunkOrder', () => {
  it('delivers at once what comes in order, when it knows where counting began', () => {
    const { push, delivered } = order();
    push(...range(1, WINDOW + 1));
    expect(delivered).toEqual(range(1, WINDOW + 1));
    push(10);
    expect(delivered.at(-1)).toBe(10);
  });

  it('waits for a missing piece for as long as the window, and no longer', () => {
    const { push, delivered } = order();
    push(...range(1, 20));
    push(...range(22, 21 + WINDOW));
    expect(delivered).toEqual(range(1, 20));
    push(22 + WINDOW);
    expect(delivered).toEqual([...range(1, 20), ...range(22, 22 + WINDOW)]);
    push(23 + WINDOW);
    expect(delivered.at(-1)).toBe(23 + WINDOW);
  });

  it('leaves out what comes twice or too late', () => {
    const { push, delivered, late, flush } = order();
    push(...range(1, 20), 20, 5, 22, 22, 21);
    flush();
    expect(delivered).toEqual(range(1, 22));
    expect(late()).toBe(3);
  });

  it('goes along when the sender counts anew or jumps ahead', () => {
    const { push, delivered, late, flush } = order();
    push(...range(100, 120), ...range(1, 30), ...range(200, 230));
    flush();
    expect(delivered).toEqual([...range(100, 120), ...range(1, 30), ...range(200, 230)]);
    expect(late()).toBe(0);
  });

  it('gives out what still waits before the sender counts anew', () => {
    const { push, delivered, flush } = order();
    push(...range(1, 100), 102, ...range(1, 10));
    flush();
    expect(delivered).toEqual([...range(1, 100), 102, ...range(1, 10)]);
  });

  it('takes a piece up to 64 back for late, and one further back for a new count', () => {
    const { push, delivered, late, flush } = order();
    push(...range(1, 100), 37);
    expect(late()).toBe(1);
    push(36);
    flush();
    expect(late()).toBe(1);
    expect(delivered).toEqual([...range(1, 100), 36]);
  });

  it('gives out what still waits at the end', () => {
    const { push, delivered, flush } = order();
    push(3, 1);
    expect(delivered).toEqual([]);
    flush();
    expect(delivered).toEqual([1, 3]);
  });
});
