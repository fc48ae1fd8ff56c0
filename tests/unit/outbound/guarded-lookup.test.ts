import type { LookupAddress, LookupOptions } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { describe, expect, it } from 'vitest';
import {
  createGuardedLookup,
  HostRefusedError,
  isHostRefused,
  type ResolvedAddress,
} from '../../../src/outbound/guarded-lookup.js';

const PUBLIC: ResolvedAddress = { address: '93.184.215.14', family: 4 };
const PUBLIC_V6: ResolvedAddress = { address: '2606:4700::1111', family: 6 };

interface Answer {
  readonly error: unknown;
  readonly address: string | LookupAddress[];
  readonly family: number | undefined;
}

function ask(lookup: LookupFunction, options: LookupOptions): Promise<Answer> {
  return new Promise((resolve) => {
    lookup('audio.example.com', options, (error, address, family) => resolve({ error, address, family }));
  });
}

function guarded(...addresses: ResolvedAddress[]): LookupFunction {
  return createGuardedLookup({ allowPrivateNetwork: false, resolve: async () => addresses });
}

describe('createGuardedLookup', () => {
  it('hands on every public address it has checked', async () => {
    const answer = await ask(guarded(PUBLIC, PUBLIC_V6), { all: true });
    expect(answer.error).toBeNull();
    expect(answer.address).toEqual([PUBLIC, PUBLIC_V6]);
  });

  it('answers with one address when one is asked for, of the family asked for', async () => {
    expect(await ask(guarded(PUBLIC, PUBLIC_V6), {})).toMatchObject({ address: PUBLIC.address, family: 4 });
    expect(await ask(guarded(PUBLIC, PUBLIC_V6), { family: 6 })).toMatchObject({
      address: PUBLIC_V6.address,
      family: 6,
    });
    expect((await ask(guarded(PUBLIC), { family: 6 })).error).toBeInstanceOf(HostRefusedError);
  });

  it.each([
    ['127.0.0.1', 4],
    ['10.1.2.3', 4],
    ['169.254.169.254', 4],
    ['100.100.100.200', 4],
    ['0.0.0.0', 4],
    ['::1', 6],
    ['::ffff:127.0.0.1', 6],
    ['64:ff9b::7f00:1', 6],
    ['fd00::1', 6],
    ['fe80::1%eth0', 6],
  ] as const)('refuses a name that answers %s, alone or hidden among public addresses', async (address, family) => {
    for (const addresses of [[{ address, family }], [PUBLIC, { address, family }], [{ address, family }, PUBLIC_V6]]) {
      for (const options of [{ all: true }, {}, { family: 4 }]) {
        expect((await ask(guarded(...addresses), options)).error).toBeInstanceOf(HostRefusedError);
      }
    }
  });

  it('asks once per connection, so that a second answer cannot replace the one checked', async () => {
    const answers = [[PUBLIC], [{ address: '127.0.0.1', family: 4 as const }]];
    let asked = 0;
    const lookup = createGuardedLookup({ allowPrivateNetwork: false, resolve: async () => answers[asked++] ?? [] });
    expect((await ask(lookup, { all: true })).address).toEqual([PUBLIC]);
    expect(asked).toBe(1);
    expect((await ask(lookup, { all: true })).error).toBeInstanceOf(HostRefusedError);
  });

  it('gives the same error for names that do not exist and names that point inside', async () => {
    const missing = createGuardedLookup({
      allowPrivateNetwork: false,
      resolve: () => Promise.reject(new Error('ENOTFOUND audio.example.com')),
    });
    const [gone, none, inside] = await Promise.all([
      ask(missing, { all: true }),
      ask(guarded(), { all: true }),
      ask(guarded({ address: '10.0.0.1', family: 4 }), { all: true }),
    ]);
    expect(gone.error).toEqual(inside.error);
    expect(none.error).toEqual(inside.error);
    expect(String(gone.error)).not.toContain('example');
  });

  it('lets private addresses through only when they are allowed', async () => {
    const lookup = createGuardedLookup({
      allowPrivateNetwork: true,
      resolve: async () => [{ address: '127.0.0.1', family: 4 }],
    });
    expect(await ask(lookup, {})).toMatchObject({ error: null, address: '127.0.0.1', family: 4 });
  });

  it('resolves localhost by the system when private networks are allowed', async () => {
    const local = await new Promise<unknown>((resolve) => {
      createGuardedLookup({ allowPrivateNetwork: true })('localhost', {}, (_, address) => resolve(address));
    });
    expect(['127.0.0.1', '::1']).toContain(local);
  });
});

describe('isHostRefused', () => {
  it('finds the refusal however libraries have wrapped it', () => {
    const refusal = new HostRefusedError();
    expect(isHostRefused(refusal)).toBe(true);
    expect(isHostRefused(new Error('fetch failed', { cause: new Error('connect', { cause: refusal }) }))).toBe(true);
    expect(isHostRefused(new AggregateError([new Error('x'), refusal]))).toBe(true);
    expect(isHostRefused(new Error('x'))).toBe(false);
    expect(isHostRefused(undefined)).toBe(false);
  });

  it('ends on a chain of causes that is a ring', () => {
    const first = new Error('first');
    first.cause = new Error('second', { cause: first });
    expect(isHostRefused(first)).toBe(false);
  });
});
