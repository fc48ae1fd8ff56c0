/** `voice-auth serve`: runs the server until SIGINT or SIGTERM. */
import type { Command } from 'commander';
import { isWorker, runWorker } from '../cluster/worker.js';
import { startCluster } from '../cluster-server.js';
import { loadConfig } from '../config/config.js';
import { createLogger, type Logger } from '../observability/logger.js';
import { startServer } from '../server.js';
import { banner } from './banner.js';
import { misspellings, requireUsable } from './config.js';
import { describeError } from './describe-error.js';
import { printResult } from './output.js';

export function registerServe(program: Command): void {
  program
    .command('serve')
    .description('run the server (settings: environment variables, see `voice-auth config`)')
    .option('--json', 'print where it listens as one line of JSON instead of the banner')
    .action(async (options: { json?: boolean }) => {
      const config = loadConfig();
      const logger = createLogger(config.logLevel);
      dieByTheLogger(logger);
      if (!isWorker()) {
        for (const sentence of misspellings()) logger.warn({ event: 'misspelled_setting' }, sentence);
        await requireUsable(config);
      }
      if (config.workers > 1 && isWorker()) {
        const databaseTimeoutMs = config.storage.timeoutMs;
        await runWorker((link) => startServer(config, link), { databaseTimeoutMs, logger, describe: describeError });
        return;
      }
      const server = config.workers > 1 ? await startCluster(config) : await startServer(config);
      if (options.json) printResult(true, { url: server.url, api_key: server.developmentKey ?? null }, '');
      else process.stderr.write(banner(server, { host: config.http.host, dataDir: config.storage.dataDir }));
      const stop = () => {
        server.close().catch(() => {
          process.exitCode = 1;
        });
      };
      // Every time, since platforms and wrappers like npm send it twice, and by itself it would end the process at once.
      process.on('SIGTERM', stop);
      process.once('SIGINT', () => {
        // The second one is for people who do not want to wait for the grace period.
        process.once('SIGINT', () => process.exit(130));
        stop();
      });
    });
}

/**
 * A fault that nobody caught ends the process, as it must, but through the logger: what Node prints by itself may quote
 * what was choked on, a URL for instance.
 */
function dieByTheLogger(logger: Logger): void {
  process.on('uncaughtException', (error) => {
    logger.fatal({ err: error, event: 'uncaught' }, 'uncaught fault, ending');
    process.exit(1);
  });
}
