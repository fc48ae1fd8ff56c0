/** Questions about one user and erasure: thin over the store, which does each as one transaction. */
import { VoiceAuthError } from '../errors.js';
import type { AuthStore, HistoryPage, UserStatus } from '../ports/auth-store.js';
import type { ErasureRequest, HistoryRequest, UsersUseCase } from './users.js';

export class UserDirectory implements UsersUseCase {
  private readonly store: AuthStore;

  constructor(store: AuthStore) {
    this.store = store;
  }

  async status(userId: string): Promise<UserStatus> {
    return found(await this.store.userStatus(userId));
  }

  async history(userId: string, page: HistoryRequest): Promise<HistoryPage> {
    return found(await this.store.authHistory(userId, page));
  }

  async erase(userId: string, by: ErasureRequest): Promise<void> {
    if (!(await this.store.eraseUser(userId, by))) found(undefined);
  }
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new VoiceAuthError('UserNotFoundError', 'There is no such user');
  return value;
}
