/** Templates in memory end with the person, whichever process has erased them. */
import { describe, expect, it } from 'vitest';
import type { UserStatus } from '../../../../src/domain/ports/auth-store.js';
import { NO_DOORBELL } from '../../../../src/domain/ports/doorbell.js';
import { PeopleInMemory } from '../../../../src/domain/users/people-in-memory.js';

class Memory {
  readonly held: Set<string>;

  constructor(...held: string[]) {
    this.held = new Set(held);
  }

  people(): string[] {
    return [...this.held];
  }

  forget(userId: string): void {
    this.held.delete(userId);
  }
}

function storeOf(...users: string[]) {
  const asked: string[] = [];
  const userStatus = async (userId: string) => {
    asked.push(userId);
    return users.includes(userId) ? ({ userId } as UserStatus) : undefined;
  };
  return { asked, userStatus };
}

const going = new AbortController().signal;

describe('people in memory', () => {
  it('are forgotten by all processes of a machine when one erases them', () => {
    const here = new Memory('a', 'b');
    const there = new Memory('a', 'b');
    const others: ((userId: string) => void)[] = [];
    const bell = {
      ring: (userId: string) => {
        for (const hear of others) hear(userId);
      },
      onRing: (hear: (userId: string) => void) => void others.push(hear),
    };
    new PeopleInMemory({ store: storeOf(), holders: [there], bell });
    const one = new PeopleInMemory({ store: storeOf(), holders: [here], bell: { ...bell, onRing: () => undefined } });
    one.erased('a');
    expect([here.people(), there.people()]).toEqual([['b'], ['b']]);
  });

  it('are forgotten when they are missed in the store, each looked up once', async () => {
    const [calls, drift] = [new Memory('a', 'b'), new Memory('b', 'c')];
    const store = storeOf('a', 'c');
    const people = new PeopleInMemory({ store, holders: [calls, drift], bell: NO_DOORBELL });
    await people.forgetTheErased(going);
    expect([calls.people(), drift.people()]).toEqual([['a'], ['c']]);
    expect(store.asked).toEqual(['a', 'b', 'c']);
  });

  it('are not looked up any more once the server closes', async () => {
    const store = storeOf('a');
    const people = new PeopleInMemory({ store, holders: [new Memory('a')], bell: NO_DOORBELL });
    await people.forgetTheErased(AbortSignal.abort());
    expect(store.asked).toEqual([]);
  });
});
