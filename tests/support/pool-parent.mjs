/**
 * A server in miniature, to be killed by a test: opens a pool of the built modules, keeps its children busy for ever and
 * prints one JSON log line for each child that is ready. Argument: the load request as JSON.
 */
import { InferencePool } from '../../dist/embedder/inference-pool.js';
import { createLogger } from '../../dist/observability/logger.js';
import { Metrics } from '../../dist/observability/metrics.js';

const pool = new InferencePool(
  { children: 2, maxWaiting: 8, queueTimeoutMs: 60_000, load: JSON.parse(process.argv[2]) },
  { metrics: new Metrics(), logger: createLogger('info') },
);
const keepBusy = async () => {
  for (;;) await pool.run({ kind: 'embed', waveform: new Float32Array(160_000).fill(0.1) }, { priority: 'live' });
};
await pool.start();
for (let i = 0; i < 4; i++) void keepBusy();
