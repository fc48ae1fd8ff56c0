import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Priority, WaitingLine } from '../../../src/embedder/waiting-line.js';

const item = (name: string, priority: Priority) => ({ name, priority });

describe('WaitingLine', () => {
  it('serves live requests first and keeps the order of arrival within a priority', () => {
    const line = new WaitingLine<{ name: string; priority: Priority }>(10);
    for (const [name, priority] of [
      ['u1', 'upload'],
      ['l1', 'live'],
      ['u2', 'upload'],
      ['l2', 'live'],
    ] as const) {
      line.join(item(name, priority));
    }
    expect([1, 2, 3, 4].map(() => line.next()?.name)).toEqual(['l1', 'l2', 'u1', 'u2']);
    expect(line.next()).toBeUndefined();
  });

  it('lets a live request take the place of the newest upload when full, and never of another live one', () => {
    const line = new WaitingLine<{ name: string; priority: Priority }>(2);
    line.join(item('u1', 'upload'));
    line.join(item('u2', 'upload'));
    expect(line.join(item('u3', 'upload'))).toEqual({ kind: 'full' });
    expect(line.join(item('l1', 'live'))).toEqual({ kind: 'displaced', upload: item('u2', 'upload') });
    expect(line.join(item('l2', 'live'))).toEqual({ kind: 'displaced', upload: item('u1', 'upload') });
    expect(line.join(item('l3', 'live'))).toEqual({ kind: 'full' });
    expect(line.length).toBe(2);
  });

  it('gives a waiting upload its turn after eight live requests, so that uploads never starve', () => {
    const line = new WaitingLine<{ name: string; priority: Priority }>(100);
    for (let i = 0; i < 20; i++) line.join(item(`l${i}`, 'live'));
    line.join(item('u1', 'upload'));
    line.join(item('u2', 'upload'));
    const order = Array.from({ length: 22 }, () => line.next()?.name);
    expect([order.indexOf('u1'), order.indexOf('u2')]).toEqual([8, 17]);
  });

  it('takes a request back at the front, even when full', () => {
    const line = new WaitingLine<{ name: string; priority: Priority }>(1);
    line.join(item('l1', 'live'));
    line.rejoin(item('again', 'live'));
    expect([line.next()?.name, line.next()?.name]).toEqual(['again', 'l1']);
  });

  it('never holds more than its capacity and loses nobody, whatever happens', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('join' as const), priority: fc.constantFrom<Priority>('live', 'upload') }),
      fc.record({ do: fc.constant('next' as const) }),
      fc.record({ do: fc.constant('leave' as const), pick: fc.nat(30) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 60 }), (capacity, steps) => {
        const line = new WaitingLine<{ name: string; priority: Priority }>(capacity);
        const inside = new Set<{ name: string; priority: Priority }>();
        const everybody: { name: string; priority: Priority }[] = [];
        for (const current of steps) {
          if (current.do === 'join') {
            const joining = item(`${everybody.length}`, current.priority);
            everybody.push(joining);
            const admission = line.join(joining);
            if (admission.kind !== 'full') inside.add(joining);
            if (admission.kind === 'displaced') expect(inside.delete(admission.upload)).toBe(true);
          } else if (current.do === 'next') {
            const next = line.next();
            if (next) expect(inside.delete(next)).toBe(true);
            if (next?.priority === 'upload')
              expect([...inside].every((other) => other.priority === 'upload')).toBe(true);
          } else {
            const leaving = everybody[current.pick];
            if (leaving) expect(line.leave(leaving)).toBe(inside.delete(leaving));
          }
          expect(line.length).toBe(inside.size);
          expect(line.length).toBeLessThanOrEqual(capacity);
        }
      }),
    );
  });
});
