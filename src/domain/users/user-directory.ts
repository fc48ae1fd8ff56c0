/** Questions about users and erasure: thin over the store, which does each as one transaction. */
import { VoiceAuthError } from '../errors.js';
import type { AuthStore, HistoryPage, UserStatus } from '../ports/auth-store.js';
import type { ErasureRequest, OutdatedUsers, PageRequest, UsersUseCase } from './users.js';

export class UserDirectory implements UsersUseCase {
  private readonly store: AuthStore;

  private readonly modelId: string;

  /** `modelId`: of the model in use. */
  constructor(store: AuthStore, modelId: string) {
    this.store = store;
    this.modelId = modelId;
  }

  async status(userId: string): Promise<UserStatus> {
    return found(await this.store.userStatus(userId));
  }

  async history(userId: string, page: PageRequest): Promise<HistoryPage> {
    return found(await this.store.authHistory(userId, page));
  }

  async outdated(page: PageRequest): Promise<OutdatedUsers> {
    const { modelId } = this;
    return { modelId, ...(await this.store.outdatedUsers(modelId, page)) };
  }

  async erase(userId: string, by: ErasureRequest): Promise<void> {
    if (!(await this.store.eraseUser(userId, by))) found(undefined);
  }
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new VoiceAuthError('UserNotFoundError', 'There is no such user');
  return value;
}
