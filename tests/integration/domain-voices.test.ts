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
import { openCall, questionOf, ToyProcess } from '../support/toy-calls-service.js';
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

function newScorer(): SpeakerScorer {
  const { cohort, manifest, calibration } = model.package;
  return new SpeakerScorer(cohort, manifest.embeddingSize, { calibration: calibrationSchema.parse(calibration) });
}

function newService(): ToyService {
  const { embedder, detector } = model;
  return new ToyService(storage.store, {
    parts: { embedder, detector, scorer: newScorer(), decoder },
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

const running = () => Number(model.health().find(({ name }) => name === 'inference')?.detail.running ?? 0);

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

describe('a sample from a call', () => {
  /** A call session with all parts real, which looks for `userId`, and what can be said and asked on it. */
  async function callOf(userId: string) {
    const { enrollment, verificationConfig: config, metrics, logger } = newService();
    const { embedder, detector } = model;
    const parts = { embedder, detector, scorer: newScorer(), enrollment, config, metrics, logger };
    const here = new ToyProcess(storage.store, storage.calls, { parts });
    const { call, audio } = await openCall(here);
    const { threshold, ...question } = questionOf(call, { userId });
    await here.service.verify({ ...question, threshold, deadlineMs: 50 });
    return {
      close: () => here.service.close(),
      looks: async () => (await here.service.status('vapi', call.callId))?.looks,
      /** Says a part of a recording, 20 ms at a time. */
      say: async (name: VoiceFile, seconds: number) => {
        const samples = voiceSamples(name).subarray(0, seconds * VOICE_RATE_HZ);
        for (let at = 0; at < samples.length; at += VOICE_RATE_HZ / 50) {
          audio.say(samples.subarray(at, at + VOICE_RATE_HZ / 50), 'caller', VOICE_RATE_HZ);
          await new Promise((resolve) => setImmediate(resolve));
        }
        await eventually(() => running() === 0);
      },
      enroll: () =>
        here.service.enroll({
          ...question,
          requestId: 'enroll-1',
          consentReference: 'form 7',
          phone: undefined,
          identityProven: false,
          actor: 'vapi',
        }),
    };
  }

  it.each([
    ['alice', 'bob'],
    ['dave', 'alice'],
    ['carol', 'bob'],
  ] as const)('that %s has begun is not ended by %s', async (owner, stranger) => {
    const userId = randomUUID();
    await enroll(`${owner}-enroll`, service, userId);
    const call = await callOf(userId);
    await call.say(`${owner}-call-1`, 3);
    await expect.poll(() => call.looks()).toBe(1);
    let asked = true;
    const refused = expect(call.enroll())
      .rejects.toMatchObject({ code: 'EnrollmentConflict', message: /not verified/ })
      .finally(() => {
        asked = false;
      });
    while (asked) await call.say(`${stranger}-call-1`, 5);
    await refused;
    const { samples } = (await storage.store.findUser(userId)) ?? {};
    expect(samples).toHaveLength(1);
    expect((await storage.store.userStatus(userId))?.failedAttempts).toBe(1);
    await call.close();
  });

  it.each(['alice', 'bob', 'carol', 'dave'] as const)('is taken from what %s says', async (owner) => {
    const userId = randomUUID();
    await enroll(`${owner}-enroll`, service, userId);
    const call = await callOf(userId);
    const asking = call.enroll();
    await call.say(`${owner}-call-1`, 20);
    expect(await asking).toMatchObject({ kind: 'enrolled', result: { samples: 2, netSpeechMs: 5000 } });
    await call.close();
  });
});

describe('real inference', () => {
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
