/**
 * Calls of database functions through supabase-js, against a Supabase project or the embedded database alike: every call
 * has a deadline, is measured, has its answer validated, and fails with one of our own errors. The texts of PostgreSQL's
 * errors may quote rows, so they go no further than this file.
 */
import { createClient, type SupabaseClient, type WebSocketLikeConstructor } from '@supabase/supabase-js';
import WebSocket from 'ws';
import type { z } from 'zod';
import { asVoiceAuthError, type ErrorCode, VoiceAuthError } from '../domain/errors.js';
import type { Metrics } from '../observability/metrics.js';

/** What they come to is told by readiness: they may fail now and then without anybody having to be woken. */
const PROBES: ReadonlySet<string> = new Set(['va_ping', 'va_key_ids']);

export interface DatabaseClientOptions {
  readonly url: string;
  readonly key: string;
  /** Longest time from call to answer. */
  readonly timeoutMs: number;
  readonly metrics: Pick<Metrics, 'databaseSeconds' | 'databaseErrors'>;
  /** Replaces the network, for the embedded database. */
  readonly fetch?: typeof fetch;
}

/** What the database said, without its texts: SQLSTATE or PostgREST code, and HTTP status (0 = no answer). */
export class DatabaseFailure extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, status: number) {
    super('The database refused a call');
    this.name = 'DatabaseFailure';
    this.code = code;
    this.status = status;
  }
}

export class DatabaseClient {
  readonly #client: SupabaseClient;
  readonly #options: DatabaseClientOptions;

  constructor(options: DatabaseClientOptions) {
    this.#options = options;
    this.#client = createClient(options.url, options.key, {
      auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
      // Node 20 has no WebSocket of its own, and the client insists on one although nothing here subscribes. It fits;
      // only the declared overloads of the two packages differ.
      realtime: { transport: WebSocket as unknown as WebSocketLikeConstructor },
      ...(options.fetch ? { global: { fetch: options.fetch } } : {}),
    });
  }

  /**
   * Calls a function of the `public` schema and returns its validated answer. Throws `DatabaseUnavailable` when there was no
   * answer in time or the database is in trouble, otherwise what `FAILURES` says, else `InternalError`; the cause is a
   * `DatabaseFailure`.
   */
  async call<S extends z.ZodType>(
    name: string,
    args: Readonly<Record<string, unknown>>,
    answer: S,
  ): Promise<z.output<S>> {
    const startedAt = performance.now();
    let outcome: ErrorCode | 'ok' = 'ok';
    try {
      const { data, error, status } = await this.#client
        .rpc(name, args)
        .abortSignal(AbortSignal.timeout(this.#options.timeoutMs));
      if (error) throw translate(new DatabaseFailure(error.code ?? '', status));
      const parsed = answer.safeParse(data);
      if (!parsed.success) throw new VoiceAuthError('InternalError', 'The database answered in an unexpected shape');
      return parsed.data;
    } catch (error) {
      outcome = asVoiceAuthError(error).code;
      if (!PROBES.has(name)) this.#options.metrics.databaseErrors.inc({ outcome });
      throw error;
    } finally {
      this.#options.metrics.databaseSeconds.observe(
        { function: name, outcome },
        (performance.now() - startedAt) / 1000,
      );
    }
  }
}

/** SQLSTATEs raised by the migrations, and what they mean to the domain. */
const FAILURES: ReadonlyMap<string, readonly [ErrorCode, string]> = new Map([
  ['VA001', ['EnrollmentConflict', 'The voiceprint was changed by somebody else meanwhile; try again']],
  ['VA002', ['EnrollmentConflict', 'The user is registered with another phone number']],
  ['VA003', ['VoiceprintModelMismatch', 'The voiceprint was made with another model']],
  ['VA004', ['UserNotFoundError', 'There is no such user']],
  ['VA008', ['ValidationError', 'The request id was used for another question about this call']],
  ['VA007', ['CallConflict', 'The call id is in use']],
  ['VA010', ['AccountLockedError', 'Too many failed attempts: the user is locked']],
  ['VA009', ['EnrollmentConflict', "The caller's number belongs to another enrolled user"]],
  ['22P02', ['ValidationError', 'An identifier is not well-formed']],
  ['22008', ['ValidationError', 'A date is out of range']],
  ['22009', ['ValidationError', 'A time zone is out of range']],
]);

function translate(failure: DatabaseFailure): VoiceAuthError {
  const known = FAILURES.get(failure.code);
  if (known) return new VoiceAuthError(known[0], known[1], { cause: failure });
  const { status } = failure;
  if (status === 0 || status === 408 || status === 429 || status >= 500) {
    return unavailable('The database cannot be reached or does not answer in time', failure);
  }
  if (status === 401 || status === 403) return unavailable('The database refuses the configured key', failure);
  if (status === 404) return unavailable('The database lacks a function of the migrations', failure);
  return new VoiceAuthError('InternalError', 'The database refused a call', { cause: failure });
}

function unavailable(message: string, cause: DatabaseFailure): VoiceAuthError {
  return new VoiceAuthError('DatabaseUnavailable', message, { retryAfterSeconds: 1, cause });
}
