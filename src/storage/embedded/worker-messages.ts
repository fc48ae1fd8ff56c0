/** What the main thread and the database worker say to each other. Structured-clone plain data only. */

export interface Statement {
  readonly sql: string;
  readonly params?: readonly (string | number | null)[];
}

export interface DatabaseWorkerData {
  /** Folder of the database files; created when missing. */
  readonly databaseDir: string;
  readonly migrationsDir: string;
  readonly snapshotFile: string | undefined;
}

export type WorkerRequest =
  | { readonly kind: 'transaction'; readonly id: number; readonly statements: readonly Statement[] }
  // Outside a transaction, where `vacuum` has to run.
  | { readonly kind: 'maintenance'; readonly id: number; readonly sql: string }
  | { readonly kind: 'close' };

export type WorkerReply =
  | { readonly kind: 'ready'; readonly origin: DatabaseOrigin; readonly migrationsApplied: number }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'result'; readonly id: number; readonly rows: readonly Record<string, unknown>[] }
  | { readonly kind: 'error'; readonly id: number; readonly error: SqlFailure };

/** How the database came about at this start. */
export type DatabaseOrigin = 'existing' | 'snapshot' | 'initdb';

/** The fields of a PostgreSQL error. May quote row contents: never logged. */
export interface SqlFailure {
  /** SQLSTATE. */
  readonly code: string;
  readonly message: string;
  readonly details: string | null;
  readonly hint: string | null;
}
