/** Questions about users and erasure: thin over the store, which does each as one transaction. */
import { VoiceAuthError } from '../errors.js';
import type { AuthStore, HistoryPage, UserStatus } from '../ports/auth-store.js';
import type { ErasureRequest, OutdatedUsers, PageRequest, UsersUseCase } from './users.js';

export interface UserDirectoryOptions {
  readonly onErased?: (userId: string) => void;
}

export class UserDirectory implements UsersUseCase {
  private readonly store: AuthStore;

  private readonly modelId: string;

  private readonly onErased: (userId: string) => void;

  /** `modelId`: of the model in use. `onErased`: told who is gone, so that what memory holds of them goes, too. */
  constructor(store: AuthStore, modelId: string, { onErased }: UserDirectoryOptions = {}) {
    this.store = store;
    this.modelId = modelId;
    this.onErased = onErased ?? (() => undefined);
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
    const erased = await this.store.eraseUser(userId, by);
    this.onErased(userId);
    if (!erased) found(undefined);
  }
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new VoiceAuthError('UserNotFoundError', 'There is no such user');
  return value;
}
