/** Both use cases with every part real: voices, decoder, inference children, calibration and database. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { calibrationSchema } from '../../src/domain/scoring/calibration.js';
import { SpeakerScorer } from '../../src/domain/scoring/scorer.js';
import { type OpenEmbedder, openEmbedder } from '../../src/embedder/open-embedder.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import { WorkerRecordingDecoder } from '../../src/recordings/worker-recording-decoder.js';
import { openStorage, type Storage } from '../../src/storage/open-storage.js';
import { builtModule } from '../support/built.js';
import { storageOptions, temporaryFolder } from '../support/embedded-storage.js';
import { CHILD_MODULE, eventually } from '../support/inference.js';
import { SHIPPED_MODEL_ID, SHIPPED_PACKAGE } from '../support/model-folder.js';
import { ToyService } from '../support/toy-service.js';
import { VOICE_RATE_HZ, type VoiceFile, voicePath, voiceSamples } from '../support/voices.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let storage: Storage;
let model: OpenEmbedder;
let decoder: WorkerRecordingDecoder;
let service: ToyService;
const alice = randomUUID();

beforeAll(async () => {
  folder = await temporaryFolder();
  const dataDir = join(folder.path, 'data');
  [storage, model] = await Promise.all([
    openStorage({ supabase: undefined, dataDir, timeoutMs: 20_000, encryptionKeys: undefined }, storageOptions()),
    openEmbedder(
      {
        modelsDir: dirname(SHIPPED_PACKAGE),
        modelId: SHIPPED_MODEL_ID,
        children: 1,
        maxWaiting: 32,
        queueTimeoutMs: 20_000,
        speechDetector: 'auto' as const,
      },
      { metrics: new Metrics(), logger: createLogger('silent'), childModule: CHILD_MODULE },
    ),
  ]);
  decoder = new WorkerRecordingDecoder(
    { maxDurationMs: 60_000, programSearchPath: '' },
    { workerModule: builtModule('recordings/decode-worker.js') },
  );
  service = newService();
});
afterAll(async () => {
  await decoder?.close();
  await model?.drain(5000);
  await storage?.close();
  await folder?.remove();
});

function newService(): ToyService {
  const { cohort, manifest, calibration } = model.package;
  const scorer = new SpeakerScorer(cohort, manifest.embeddingSize, {
    calibration: calibrationSchema.parse(calibration),
  });
  return new ToyService(storage.store, {
    parts: { embedder: model.embedder, detector: model.detector, scorer, decoder },
    enrollment: { minSpeechMs: 5000, maxSpeechMs: 30_000 },
    verification: { maxSpeechMs: 30_000, maxFailedAttempts: 10 },
  });
}

const upload = (name: VoiceFile) => ({
  kind: 'upload' as const,
  bytes: new Uint8Array(readFileSync(voicePath(name))),
  channel: undefined,
});
const enroll = (name: VoiceFile, by = service, userId = alice) =>
  by.enroll(userId, new Float32Array(0), { source: upload(name) });
const verifyUpload = (name: VoiceFile) => service.verifyUpload(alice, new Float32Array(0), { source: upload(name) });

/** A call with this voice, 20 ms at a time. */
async function verifyCall(name: VoiceFile) {
  const { call, result } = await service.verifyCall(alice);
  const samples = voiceSamples(name);
  for (let at = 0; at < samples.length; at += VOICE_RATE_HZ / 50) {
    call.say(samples.subarray(at, at + VOICE_RATE_HZ / 50), 'caller', VOICE_RATE_HZ);
    await new Promise((resolve) => setImmediate(resolve));
  }
  call.end();
  return result;
}

describe('real voices', () => {
  it('are enrolled and recognised on a call and in a recording; others are not', async () => {
    expect(await enroll('alice-enroll')).toMatchObject({ samples: 1, score: 1, modelId: SHIPPED_MODEL_ID });
    expect(await verifyCall('alice-call-1')).toMatchObject({ decision: 'accept', reason: 'match' });
    expect(await verifyUpload('alice-call-2')).toMatchObject({ decision: 'accept', reason: 'match', looks: 1 });
    expect(await verifyCall('bob-call-1')).toMatchObject({ decision: 'reject', reason: 'no_match' });
    expect(await verifyUpload('carol-call-1')).toMatchObject({ decision: 'reject', reason: 'no_match' });
  });

  it('that were enrolled are known when the very recording comes back', async () => {
    expect(await verifyUpload('alice-enroll')).toMatchObject({ decision: 'reject', reason: 'replayed_audio' });
  });

  it('add a sample to their own voiceprint only', async () => {
    const second = await enroll('alice-call-2');
    expect(second.samples).toBe(2);
    expect(second.score).toBeGreaterThan(0.55);
    await expect(enroll('bob-enroll')).rejects.toMatchObject({ code: 'EnrollmentConflict' });
    expect((await storage.store.findUser(alice))?.samples).toHaveLength(2);
  });
});

describe('real inference', () => {
  const running = () => Number(model.health().find(({ name }) => name === 'inference')?.detail.running ?? 0);

  it('that is given up is no fault of the service, and leaves nothing behind', async () => {
    const stopping = newService();
    const userId = randomUUID();
    const result = enroll('carol-enroll', stopping, userId);
    result.catch(() => undefined);
    await eventually(() => running() > 0);
    stopping.shutdown.abort();
    await expect(result).rejects.toMatchObject({ code: 'Timeout' });
    expect(await storage.store.findUser(userId)).toBeUndefined();
    await eventually(() => running() === 0);
  });

  it('that is gone accepts nobody', async () => {
    const before = await storage.store.authHistory(alice, { limit: 50, before: undefined });
    await model.drain(5000);
    await expect(verifyCall('alice-call-1')).rejects.toMatchObject({ code: 'InferenceUnavailable' });
    await expect(verifyUpload('alice-call-1')).rejects.toMatchObject({ code: 'InferenceUnavailable' });
    await expect(enroll('alice-call-1')).rejects.toMatchObject({ code: 'InferenceUnavailable' });
    expect(await storage.store.authHistory(alice, { limit: 50, before: undefined })).toEqual(before);
  });
});
