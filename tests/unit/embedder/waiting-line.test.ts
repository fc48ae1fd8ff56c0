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

  describe('in groups', () => {
    type Item = { name: string; priority: Priority; shares: boolean };
    const rule = (atMost: number, hold = false) => ({ atMost, hold, mayShare: ({ shares }: Item) => shares });
    /** `l` and `u` for live and upload, a capital for those that may share. */
    function lineOf(names: string): WaitingLine<Item> {
      const line = new WaitingLine<Item>(100);
      for (const name of names.split(' ')) {
        const letter = name[0]!;
        const priority = letter.toLowerCase() === 'l' ? 'live' : 'upload';
        line.join({ name, priority, shares: letter !== letter.toLowerCase() });
      }
      return line;
    }
    const groups = (line: WaitingLine<Item>, atMost: number, hold = false) => {
      const all: string[] = [];
      while (all.length < 20) {
        const group = line.nextGroup(rule(atMost, hold));
        if (group.length === 0) break;
        all.push(group.map(({ name }) => name).join(' '));
      }
      return all;
    };

    it('takes those along that may share, and leaves the order of the others', () => {
      expect(groups(lineOf('L1 l2 L3 l4 L5'), 10)).toEqual(['L1 L3 L5', 'l2', 'l4']);
      expect(groups(lineOf('l1 L2 l3 L4'), 10)).toEqual(['l1', 'L2 L4', 'l3']);
    });

    it('takes the first to come, and no more than allowed', () => {
      expect(groups(lineOf('L1 L2 l3 L4 L5 L6'), 3)).toEqual(['L1 L2 L4', 'l3', 'L5 L6']);
      expect(groups(lineOf('L1 L2 l3'), 1)).toEqual(['L1', 'L2', 'l3']);
    });

    it('lets uploads ride with uploads only, and only while nothing live waits', () => {
      expect(groups(lineOf('U1 L2 U3 L4 u5 U6'), 10)).toEqual(['L2 L4', 'U1 U3 U6', 'u5']);
      const line = lineOf('U1 U2');
      for (let i = 0; i < 10; i++) line.join({ name: `l${i}`, priority: 'live', shares: false });
      line.join({ name: 'L', priority: 'live', shares: true });
      // The ninth turn is an upload's: it takes the live one along that may share, and no other upload.
      expect(groups(line, 10)).toEqual([...[0, 1, 2, 3, 4, 5, 6, 7].map((i) => `l${i}`), 'U1 L', 'l8', 'l9', 'U2']);
    });

    it('counts a group as one turn, so that uploads and single requests do not starve', () => {
      const line = new WaitingLine<Item>(1000);
      line.join({ name: 'u', priority: 'upload', shares: false });
      line.join({ name: 'L', priority: 'live', shares: true });
      line.join({ name: 'l', priority: 'live', shares: false });
      const order: string[] = [];
      for (let turn = 0; turn < 12; turn++) {
        for (let i = 0; i < 5; i++) line.join({ name: 'L', priority: 'live', shares: true });
        order.push(line.nextGroup(rule(5))[0]!.name);
      }
      expect(order.indexOf('l')).toBe(1);
      expect(order.indexOf('u')).toBe(8);
    });

    it('holds back live ones that may share until they fill a group', () => {
      expect(groups(lineOf('L1 l2 L3 u4'), 3, true)).toEqual(['l2', 'u4']);
      expect(groups(lineOf('L1 l2 L3 L4 L5'), 3, true)).toEqual(['L1 L3 L4', 'l2']);
    });

    it('takes those held back along with an upload', () => {
      expect(groups(lineOf('L1 U2 l3'), 3, true)).toEqual(['l3', 'U2 L1']);
    });

    it('loses and repeats nobody', () => {
      const letters = fc.array(fc.constantFrom('l', 'L', 'u', 'U'), { minLength: 1, maxLength: 40 });
      fc.assert(
        fc.property(letters, fc.integer({ min: 1, max: 6 }), (kinds, atMost) => {
          const names = kinds.map((kind, i) => `${kind}${i}`);
          const line = lineOf(names.join(' '));
          const taken: Item[] = [];
          for (let group = line.nextGroup(rule(atMost)); group.length > 0; group = line.nextGroup(rule(atMost))) {
            expect(group.length).toBeLessThanOrEqual(atMost);
            if (group.length > 1) expect(group.every(({ shares }) => shares)).toBe(true);
            taken.push(...group);
          }
          expect(taken.map(({ name }) => name).sort()).toEqual([...names].sort());
          // First come, first served among those of a kind.
          for (const kind of ['l', 'L', 'u', 'U']) {
            const ofKind = (all: readonly string[]) => all.filter((name) => name.startsWith(kind));
            expect(ofKind(taken.map(({ name }) => name))).toEqual(ofKind(names));
          }
        }),
      );
    });
  });
});
