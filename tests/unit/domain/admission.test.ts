import { describe, expect, it } from 'vitest';
import { WorkLimit } from '../../../src/domain/admission.js';

function limit(max: number, onChange?: (active: number) => void): WorkLimit {
  return new WorkLimit({ max, what: 'recordings', retryAfterSeconds: 3, ...(onChange ? { onChange } : {}) });
}

/** Work that ends when it is told to. */
function heldWork() {
  let end: (how: 'well' | 'badly') => void = () => undefined;
  const held = new Promise<string>((resolve, reject) => {
    end = (how) => (how === 'well' ? resolve('done') : reject(new Error('failed')));
  });
  return { work: () => held, end };
}

describe('WorkLimit', () => {
  it('refuses what does not fit, at once and without starting it', async () => {
    const room = limit(2);
    const [first, second] = [heldWork(), heldWork()];
    const running = [room.run(first.work), room.run(second.work)];
    expect(room.active).toBe(2);
    let started = false;
    const refused = room.run(async () => {
      started = true;
    });
    await expect(refused).rejects.toMatchObject({
      code: 'Busy',
      message: 'Too many recordings at once',
      retryAfterSeconds: 3,
    });
    expect([started, room.active]).toEqual([false, 2]);
    first.end('well');
    expect(await running[0]).toBe('done');
    expect(room.active).toBe(1);
    expect(await room.run(async () => 'third')).toBe('third');
    second.end('well');
    await running[1];
    expect(room.active).toBe(0);
  });

  it('has room again after work that failed, later or at once', async () => {
    const room = limit(1);
    const { work, end } = heldWork();
    const running = room.run(work);
    end('badly');
    await expect(running).rejects.toThrow('failed');
    const thrown = room.run(() => {
      throw new Error('at once');
    });
    await expect(thrown).rejects.toThrow('at once');
    expect(room.active).toBe(0);
    expect(await room.run(async () => 'next')).toBe('next');
  });

  it('tells every change of the count', async () => {
    const counts: number[] = [];
    const room = limit(1, (active) => counts.push(active));
    await room.run(async () => undefined);
    await room.run(() => room.run(async () => undefined)).catch(() => undefined);
    expect(counts).toEqual([1, 0, 1, 0]);
  });
});
