/** The life of a worker process: start, tell the primary, serve, end when told to, or at once when the primary is gone. */
import cluster from 'node:cluster';
import type { Logger } from '../observability/logger.js';
import type { WorkerMessage } from './messages.js';
import { PrimaryLink, type WorkerLink } from './worker-link.js';

export interface WorkerServer {
  readonly url: string;
  close(): Promise<void>;
}

export interface RunWorkerOptions {
  readonly databaseTimeoutMs: number;
  readonly logger: Logger;
  /** An error in words for the terminal. */
  readonly describe: (error: unknown) => string;
}

/** Whether this process was forked by a primary. */
export function isWorker(): boolean {
  return cluster.isWorker;
}

/** Runs the server that `start` makes until the primary ends it. A start that fails ends the process. */
export async function runWorker(
  start: (link: WorkerLink) => Promise<WorkerServer>,
  options: RunWorkerOptions,
): Promise<void> {
  const { logger } = options;
  const { worker } = cluster;
  if (!worker) throw new Error('not a worker process');
  // The primary decides when this process ends: it drains it. A signal to the whole process group must not get ahead.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => undefined);
  let server: WorkerServer | undefined;
  const drain = () => {
    void server
      ?.close()
      .catch(() => {
        process.exitCode = 1;
      })
      .finally(() => worker.disconnect());
  };
  const link = new PrimaryLink({ id: worker.id, databaseTimeoutMs: options.databaseTimeoutMs, logger, send }, drain);
  process.on('message', (message: unknown) => link.receive(message));
  worker.once('disconnect', () => {
    link.lose();
    if (worker.exitedAfterDisconnect) return;
    // Without the primary there is neither port nor database, and another primary may take both over at any moment.
    logger.fatal({ event: 'primary_lost' }, 'the primary process is gone, ending');
    process.exit(1);
  });
  try {
    server = await start(link);
    send({ kind: 'ready', url: server.url }, () => undefined);
  } catch (error) {
    logger.fatal({ err: error, event: 'start_failed' }, 'the worker cannot start');
    send(
      { kind: 'failed', message: options.describe(error) },
      () => process.exit(1),
      () => process.exit(1),
    );
  }
}

function send(message: WorkerMessage, onFailure: () => void, onSent: () => void = () => undefined): void {
  process.send?.(message, undefined, undefined, (error: Error | null) => (error ? onFailure() : onSent()));
}
