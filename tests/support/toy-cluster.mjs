// A primary with workers that are no voice servers: each answers what it is asked over HTTP. The primary's standard input
// ends it. Usage: toy-cluster.mjs <plain|broken|stuck> [data folder]
import { once } from 'node:events';
import { createServer } from 'node:http';
import { inspect } from 'node:util';
import { Primary } from '../../dist/cluster/primary.js';
import { isWorker, runWorker } from '../../dist/cluster/worker.js';
import { ClusterMetrics } from '../../dist/observability/cluster-metrics.js';
import { createLogger } from '../../dist/observability/logger.js';
import { openEmbeddedOwner } from '../../dist/storage/open-storage.js';

const [, , mode, dataDir] = process.argv;
const logger = createLogger('silent');

async function startToy(link) {
  if (mode === 'broken') throw new Error('the toy is broken');
  const heard = [];
  link.onRing('bell', (payload) => heard.push(payload));
  const actions = {
    '/id': () => link.id,
    '/pid': () => process.pid,
    // Answers, and hears nothing for longer than any test.
    '/block': () => {
      setImmediate(() => {
        for (const endMs = performance.now() + 60_000; performance.now() < endMs; );
      });
    },
    '/workers': () => link.workers(),
    '/heard': () => heard,
    '/ring': (text) => link.ring('bell', text),
    '/count': () => link.metrics.lockouts.inc(),
    '/metrics': () => link.metricsPage(),
    '/die': () => process.kill(process.pid, 'SIGKILL'),
    '/sql': async (sql) =>
      inspect(await link.transactionRunner.transaction([{ sql }]).catch((error) => [error.name, error.failure])),
  };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://toy');
    const value = await actions[url.pathname](url.searchParams.get('q'));
    response.setHeader('connection', 'close').end(JSON.stringify({ id: link.id, value }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => (mode === 'stuck' ? new Promise(() => undefined) : new Promise((resolve) => server.close(resolve))),
  };
}

async function main() {
  const owner = dataDir
    ? await openEmbeddedOwner(
        { supabase: undefined, dataDir, timeoutMs: 20_000, encryptionKeys: undefined },
        { logger },
      )
    : undefined;
  const primary = await Primary.start({
    workers: 3,
    database: owner?.database,
    drainTimeoutMs: 300,
    metrics: new ClusterMetrics(),
    logger,
  });
  process.stdout.write(`${primary.url}\n`);
  process.stdin.resume();
  await once(process.stdin, 'end');
  await primary.close();
  await owner?.close();
  process.stdout.write('closed\n');
}

if (isWorker()) {
  await runWorker(startToy, { databaseTimeoutMs: 20_000, logger, describe: (error) => error.message });
} else {
  await main().catch((error) => {
    process.stdout.write(`${error.name}: ${error.message}\n`);
    process.exitCode = 1;
  });
}
