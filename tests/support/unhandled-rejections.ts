/** Promises that are rejected and heard by nobody end the service: tests of asynchronous parts fail on them. */
import { afterEach, beforeEach, expect } from 'vitest';
import { settled } from './toy-models.js';

/** Fails the test in which a rejected promise has no one to hear of it: in the service that ends the process. */
export function failOnUnhandledRejections(): void {
  let unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  beforeEach(() => {
    unhandled = [];
    process.on('unhandledRejection', note);
  });
  afterEach(async () => {
    await settled();
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });
}
