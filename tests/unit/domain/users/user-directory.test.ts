/** Who is told that a person is gone: memory may still hold what the store has erased. */
import { describe, expect, it, vi } from 'vitest';
import type { AuthStore } from '../../../../src/domain/ports/auth-store.js';
import { UserDirectory } from '../../../../src/domain/users/user-directory.js';
import { databaseDown } from '../../../support/toy-world.js';

const BY = { correlationId: 'erase-0001', actor: 'test' };

function directory(eraseUser: AuthStore['eraseUser']) {
  const onErased = vi.fn();
  return { onErased, users: new UserDirectory({ eraseUser } as AuthStore, 'toy-2d', { onErased }) };
}

describe('erasing a user', () => {
  it('is told to memory', async () => {
    const { onErased, users } = directory(async () => true);
    await users.erase('a', BY);
    expect(onErased.mock.calls).toEqual([['a']]);
  });

  it('is told to memory also when the store has nobody of that name: the first time had no answer, perhaps', async () => {
    const { onErased, users } = directory(async () => false);
    await expect(users.erase('a', BY)).rejects.toMatchObject({ code: 'UserNotFoundError' });
    expect(onErased.mock.calls).toEqual([['a']]);
  });

  it('is told to nobody when the store could not do it', async () => {
    const { onErased, users } = directory(databaseDown);
    await expect(users.erase('a', BY)).rejects.toMatchObject({ code: 'DatabaseUnavailable' });
    expect(onErased).not.toHaveBeenCalled();
  });
});
