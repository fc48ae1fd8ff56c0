import { describe, expect, it } from 'vitest';
import { linkSignals } from '../../../../src/domain/timing/linked-signal.js';
import { countingListeners } from '../../../support/toy-calls.js';

function sources() {
  const [one, two] = [new AbortController(), new AbortController()];
  return { one, two, both: [one.signal, two.signal] };
}

describe('a linked signal', () => {
  it.each(['one', 'two'] as const)('is aborted with source %s, for its reason, and only once', (first) => {
    const { both, ...controllers } = sources();
    const { signal } = linkSignals(both);
    let aborts = 0;
    signal.addEventListener('abort', () => aborts++);
    expect(signal.aborted).toBe(false);
    const reason = new Error(first);
    controllers[first].abort(reason);
    for (const controller of Object.values(controllers)) controller.abort();
    expect(signal.reason).toBe(reason);
    expect(aborts).toBe(1);
  });

  it('is aborted from the start when a source is', () => {
    const { two, both } = sources();
    const reason = new Error('before');
    two.abort(reason);
    const listeners = both.map(countingListeners);
    expect(linkSignals(both).signal.reason).toBe(reason);
    expect(listeners.map((count) => count())).toEqual([0, 0]);
  });

  it('leaves nothing on its sources when it is unlinked, and hears of them no more', () => {
    const { one, both } = sources();
    const listeners = both.map(countingListeners);
    const { signal, unlink } = linkSignals(both);
    expect(listeners.map((count) => count())).toEqual([1, 1]);
    unlink();
    expect(listeners.map((count) => count())).toEqual([0, 0]);
    one.abort();
    expect(signal.aborted).toBe(false);
  });

  it('may be one of many without a warning', () => {
    const warnings: unknown[] = [];
    const warn = process.emitWarning;
    process.emitWarning = (warning: unknown) => void warnings.push(warning);
    try {
      const { both } = sources();
      for (let i = 0; i < 50; i++) linkSignals(both);
    } finally {
      process.emitWarning = warn;
    }
    expect(warnings).toEqual([]);
  });
});
