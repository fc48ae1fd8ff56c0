import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SampleQueue } from '../../../src/audio/sample-queue.js';
import { concat } from './signals.js';

const step = fc.oneof(
  fc.record({ kind: fc.constant('push' as const), count: fc.nat({ max: 9000 }) }),
  fc.record({ kind: fc.constant('read' as const), count: fc.nat({ max: 9000 }) }),
  fc.record({ kind: fc.constant('shift' as const), count: fc.nat({ max: 3000 }) }),
);

describe('SampleQueue', () => {
  it('behaves like a list that loses its oldest samples', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 15_000 }), fc.array(step, { maxLength: 20 }), (capacity, steps) => {
        const queue = new SampleQueue(capacity);
        let model: Float32Array = new Float32Array(0);
        let next = 0;
        for (const { kind, count } of steps) {
          if (kind === 'push') {
            const samples = Float32Array.from({ length: count }, () => next++);
            model = concat(model, samples);
            const dropped = Math.max(0, model.length - capacity);
            model = model.slice(dropped);
            expect(queue.push(samples)).toBe(dropped);
          } else if (kind === 'read') {
            const out = new Float32Array(count).fill(-1);
            const moved = Math.min(count, model.length);
            expect(queue.read(out)).toBe(moved);
            const expected = concat(model.subarray(0, moved), new Float32Array(count - moved).fill(-1));
            expect(Buffer.from(out.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
            model = model.slice(moved);
          } else {
            expect(queue.shift(count)).toBe(Math.min(count, model.length));
            model = model.slice(count);
          }
          expect(queue.length).toBe(model.length);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('keeps the newest samples when given more than it holds', () => {
    const queue = new SampleQueue(3);
    queue.push(new Float32Array([1, 2]));
    expect(queue.push(new Float32Array([3, 4, 5, 6, 7]))).toBe(4);
    const out = new Float32Array(3);
    queue.read(out);
    expect([...out]).toEqual([5, 6, 7]);
  });

  it('copies what it is given', () => {
    const queue = new SampleQueue(10);
    const reused = new Float32Array([1, 2]);
    queue.push(reused);
    reused.fill(9);
    const out = new Float32Array(2);
    queue.read(out);
    expect([...out]).toEqual([1, 2]);
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses a capacity of %d', (capacity) => {
    expect(() => new SampleQueue(capacity)).toThrow(RangeError);
  });
});
