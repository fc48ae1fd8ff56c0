// Records attempts for the user given as fast as it can and prints the id of each that was acknowledged, until killed.
import { randomUUID } from 'node:crypto';
import { Metrics } from '../../dist/observability/metrics.js';
import { createLogger } from '../../dist/observability/logger.js';
import { openStorage } from '../../dist/storage/open-storage.js';

const [, , dataDir, userId] = process.argv;
const storage = await openStorage(
  { supabase: undefined, dataDir, timeoutMs: 20_000, encryptionKeys: undefined },
  { metrics: new Metrics(), logger: createLogger('silent') },
);

async function writeForever() {
  for (;;) {
    const { attemptId } = await storage.store.recordAttempt({
      attemptId: randomUUID(),
      userId,
      correlationId: `crash-${randomUUID()}`,
      callId: undefined,
      source: 'vapi_listen',
      decision: 'inconclusive',
      reason: 'deadline',
      score: undefined,
      threshold: 0.82,
      modelId: 'test-model',
      netSpeechMs: 1000,
      looks: 1,
      latencyMs: 1000,
      maxFailedAttempts: 5,
      lockoutMs: 1000,
      voiceprintVersion: 0,
    });
    process.stdout.write(`${attemptId}\n`);
  }
}

await Promise.all([writeForever(), writeForever(), writeForever()]);
