/** What may be asked about a user, apart from enrolling and verifying: the shapes shared by the use case and the doors. */
import type { HistoryPage, UserStatus } from '../ports/auth-store.js';

export interface HistoryRequest {
  /** 1..200. */
  readonly limit: number;
  /** Cursor of a former page; undefined = newest first page. */
  readonly before: string | undefined;
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
  history(userId: string, page: HistoryRequest): Promise<HistoryPage>;
  /** Deletes user, voiceprint and samples, anonymises attempts, audits. */
  erase(userId: string, by: ErasureRequest): Promise<void>;
}
