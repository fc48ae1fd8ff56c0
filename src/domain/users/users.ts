/** What may be asked about users, apart from enrolling and verifying: the shapes shared by the use case and the doors. */
import type { HistoryPage, OutdatedPage, UserStatus } from '../ports/auth-store.js';

export interface PageRequest {
  /** 1..200. */
  readonly limit: number;
  /** Cursor of a former page; undefined = newest first page. */
  readonly before: string | undefined;
}

export interface OutdatedUsers extends OutdatedPage {
  /** The model in use, which is not theirs. */
  readonly modelId: string;
}

export interface ErasureRequest {
  /** Id of the API key that asks. */
  readonly actor: string;
  readonly correlationId: string;
}

/** Each method throws `UserNotFoundError` or `DatabaseUnavailable`. */
export interface UsersUseCase {
  status(userId: string): Promise<UserStatus>;
  /** Also throws `ValidationError` for a malformed cursor. */
  history(userId: string, page: PageRequest): Promise<HistoryPage>;
  /** Who is to be enrolled anew. Throws `ValidationError` for a malformed cursor, never `UserNotFoundError`. */
  outdated(page: PageRequest): Promise<OutdatedUsers>;
  /** Deletes user, voiceprint and samples, anonymises attempts, audits. */
  erase(userId: string, by: ErasureRequest): Promise<void>;
}
