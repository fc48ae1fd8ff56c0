/**
 * Composition of several server processes on one machine: the embedded database, which only one may have, and the primary
 * that starts the workers. Each worker is a whole server as `server.ts` puts it together.
 */
import { Primary } from './cluster/primary.js';
import type { Config } from './config/config.js';
import { ClusterMetrics } from './observability/cluster-metrics.js';
import { createLogger } from './observability/logger.js';
import { type RunningServer, readApiKeys } from './server.js';
import { openEmbeddedOwner } from './storage/open-storage.js';

/** Beyond the grace period: what a worker may take to give up and to close its parts. */
const WORKER_CLOSE_MS = 15_000;

/** Starts the workers and resolves when all of them listen. Rejects with a clear error and nothing left open. */
export async function startCluster(config: Config): Promise<RunningServer> {
  const logger = createLogger(config.logLevel);
  const metrics = new ClusterMetrics();
  const onScrubPending = (tables: number) => metrics.scrubPending.set(tables);
  const owner = config.storage.supabase
    ? undefined
    : await openEmbeddedOwner(config.storage, { logger, onScrubPending });
  try {
    // Here, so that it is made once.
    const { developmentKey } = await readApiKeys(config);
    const primary = await Primary.start({
      workers: config.workers,
      database: owner?.database,
      drainTimeoutMs: config.shutdownGraceMs + WORKER_CLOSE_MS,
      metrics,
      logger,
    });
    const port = Number(new URL(primary.url).port) || 80;
    logger.info({ event: 'listening', port, workers: config.workers }, 'listening');
    let closing: Promise<void> | undefined;
    const close = async () => {
      logger.info({ event: 'draining' }, 'shutting down');
      await primary.close();
      await owner?.close();
      logger.info({ event: 'stopped' }, 'stopped');
    };
    return {
      url: primary.url,
      developmentKey,
      close: () => {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    await owner?.close();
    throw error;
  }
}
