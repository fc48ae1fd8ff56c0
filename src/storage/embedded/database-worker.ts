/**
 * The worker thread that runs the embedded PostgreSQL: it blocks its thread while it works, which must not be the one
 * that serves calls. It runs one transaction, or one statement of upkeep, at a time, as the main thread hands them over.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { PGlite } from '@electric-sql/pglite';
import { VoiceAuthError } from '../../domain/errors.js';
import { openDatabase } from './open-database.js';
import type { DatabaseWorkerData, SqlFailure, Statement, WorkerReply, WorkerRequest } from './worker-messages.js';

const port = parentPort;
if (!port) throw new Error('database-worker runs as a worker thread only');

function reply(message: WorkerReply): void {
  port?.postMessage(message);
}

async function runTransaction(
  database: PGlite,
  statements: readonly Statement[],
): Promise<readonly Record<string, unknown>[]> {
  return database.transaction(async (transaction) => {
    let rows: readonly Record<string, unknown>[] = [];
    for (const { sql, params } of statements) {
      rows = (await transaction.query<Record<string, unknown>>(sql, params ? [...params] : [])).rows;
    }
    return rows;
  });
}

/** Undefined for anything that is not an error of PostgreSQL itself, such as a crash of the WASM machine. */
function sqlFailure(error: unknown): SqlFailure | undefined {
  const fields = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  const text = (value: unknown) => (typeof value === 'string' ? value : null);
  const code = text(fields.code);
  if (!code || !/^[0-9A-Z]{5}$/.test(code)) return undefined;
  return { code, message: text(fields.message) ?? '', details: text(fields.detail), hint: text(fields.hint) };
}

function startFailure(error: unknown): string {
  if (error instanceof VoiceAuthError) return error.message;
  return error instanceof Error ? `${error.name}: ${error.message}` : 'unknown error';
}

async function serve(database: PGlite, request: WorkerRequest): Promise<void> {
  if (request.kind === 'close') {
    await database.close();
    port?.close();
    return;
  }
  try {
    const rows =
      request.kind === 'transaction'
        ? await runTransaction(database, request.statements)
        : (await database.query<Record<string, unknown>>(request.sql)).rows;
    reply({ kind: 'result', id: request.id, rows });
  } catch (error) {
    const failure = sqlFailure(error);
    // Ends the thread: the main thread fails the call and opens the database anew.
    if (!failure) throw error;
    reply({ kind: 'error', id: request.id, error: failure });
  }
}

try {
  const { database, origin, migrationsApplied } = await openDatabase(workerData as DatabaseWorkerData);
  port.on('message', (request: WorkerRequest) => void serve(database, request));
  reply({ kind: 'ready', origin, migrationsApplied });
} catch (error) {
  reply({ kind: 'failed', message: startFailure(error) });
}
