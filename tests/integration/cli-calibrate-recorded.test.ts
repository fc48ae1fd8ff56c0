/** `voice-auth calibrate --recorded` on a real embedded database, in its own process. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inheritedEnvironment } from '../../src/config/client-environment.js';
import { calibrationSchema } from '../../src/domain/scoring/calibration.js';
import { randomGenerator } from '../../src/evaluation/random.js';
import { openStorage, type Storage } from '../../src/storage/open-storage.js';
import type { StoredVoice } from '../../src/storage/recorded-voices.js';
import { createEncryptionKeyEntry } from '../../src/storage/template-cipher.js';
import { builtModule } from '../support/built.js';
import { enrollmentOf, storageOptions, temporaryFolder } from '../support/embedded-storage.js';
import { type ModelFolder, TOY_NETWORK_ID, toyNetworkFolder } from '../support/model-folder.js';
import { privacyLeaks } from '../support/privacy.js';
import { knots, toyCalibration } from '../support/toy-models.js';

const MAIN = fileURLToPath(builtModule('cli/main.js'));
const SIZE = 16;
/** Enough for the rate of one in ten, not for one in a hundred; more than one page of the database. */
const PEOPLE = 55;
const PHONE = '+14155550111';
const key = createEncryptionKeyEntry();
const random = randomGenerator(11);

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let models: ModelFolder;
const userIds: string[] = [];

beforeAll(async () => {
  folder = await temporaryFolder();
  models = toyNetworkFolder('features');
  const calibration = toyCalibration({
    modelId: TOY_NETWORK_ID,
    tails: [{ netSpeechMs: 2000, knots: knots(0, 0.5, 2, 0.05, 4, 0.001) }],
  });
  writeFileSync(
    join(models.packageDir, 'calibration.json'),
    JSON.stringify({ ...calibration, fittedOn: '9 calls of 3 people' }),
  );
  await withStorage(async ({ store }) => {
    for (let person = 0; person < PEOPLE; person++) {
      const userId = randomUUID();
      userIds.push(userId);
      await store.saveEnrollment(enrollmentIn(TOY_NETWORK_ID, userId));
    }
    await store.saveEnrollment(enrollmentIn('another-model', randomUUID()));
  });
});
afterAll(async () => {
  models.remove();
  await folder.remove();
});

const dataDir = (name = 'data') => join(folder.path, name);

async function withStorage<T>(use: (storage: Storage) => Promise<T>, name?: string): Promise<T> {
  const config = { supabase: undefined, dataDir: dataDir(name), timeoutMs: 20_000, encryptionKeys: [key] };
  const storage = await openStorage(config, storageOptions());
  try {
    return await use(storage);
  } finally {
    await storage.close();
  }
}

function enrollmentIn(modelId: string, userId: string) {
  const embedding = unitVector();
  return enrollmentOf(userId, {
    modelId,
    phone: PHONE,
    centroid: embedding,
    newSample: { id: randomUUID(), embedding, netSpeechMs: 9000 },
  });
}

function unitVector(): Float32Array {
  const values = Float32Array.from({ length: SIZE }, () => random() - 0.5);
  const length = Math.hypot(...values);
  return values.map((value) => value / length);
}

const fittedOn = (text: string): unknown => (JSON.parse(text) as { readonly fittedOn?: unknown }).fittedOn;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function calibrate(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const env = {
    ...inheritedEnvironment(),
    MODELS_DIR: models.modelsDir,
    MODEL_ID: TOY_NETWORK_ID,
    DATA_DIR: dataDir(),
    EMBEDDING_ENCRYPTION_KEYS: key,
    // A busy machine may need long for the first call.
    DATABASE_TIMEOUT: '60',
    ...environment,
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, 'calibrate', '--recorded', ...args], { env }, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, out, err });
    });
  });
}

describe('recorded voices', () => {
  it('are those of the model asked for, page after page, and carry no names', async () => {
    const voices = await withStorage(async ({ store }) => {
      const found: StoredVoice[] = [];
      for await (const voice of store.recordedVoices(TOY_NETWORK_ID)) found.push(voice);
      return found;
    });
    expect(voices).toHaveLength(PEOPLE);
    for (const voice of voices) {
      expect(Object.keys(voice).sort()).toEqual(['samples', 'voiceprint']);
      expect(voice.samples).toEqual([{ embedding: voice.voiceprint, netSpeechMs: 9000 }]);
    }
  });
});

describe('calibrate --recorded', { timeout: 120_000 }, () => {
  it('fits what the people support, keeps the rest, and says nothing about anybody', async () => {
    const path = join(models.packageDir, 'calibration.json');
    const before = calibrationSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
    const dry = await calibrate(['--check', '--dry-run']);
    expect(dry).toMatchObject({ code: 0 });
    expect(dry.out).toMatch(/55 people are enrolled with toy-network; 55 compared, 2970 comparisons/);
    expect(dry.out).toMatch(/10 s +1485 +fitted down to 2 %, as before beyond/);
    expect(dry.out).toMatch(/2 s +0 +as before/);
    expect(dry.out).toMatch(/fitted on half 1, observed on half 2/);
    expect(dry.out).toMatch(/Nothing was written/);
    expect(calibrationSchema.parse(JSON.parse(readFileSync(path, 'utf8')))).toEqual(before);

    const run = await calibrate(['--json']);
    expect(run).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(run.out)).toMatchObject({ people: PEOPLE, enrolled: PEOPLE, written: path });
    const text = readFileSync(path, 'utf8');
    const after = calibrationSchema.parse(JSON.parse(text));
    expect(after.tails.map(({ netSpeechMs }) => netSpeechMs)).toEqual([2000, 10_000]);
    expect(after.tails[0]).toEqual(before.tails[0]);
    const { cohortSha256, ...kept } = after;
    expect({ ...kept, fittedOn: before.fittedOn, tails: [] }).toEqual({ ...before, tails: [] });
    expect(cohortSha256).toMatch(/^[0-9a-f]{64}$/);
    const own = "voice samples of 55 people of this deployment, against one another's voiceprints; the rest: ";
    expect(fittedOn(text)).toBe(`${own}9 calls of 3 people`);
    // Again and again it does not grow.
    for (const _ of ['second', 'third']) {
      expect(await calibrate([])).toMatchObject({ code: 0 });
      expect(fittedOn(readFileSync(path, 'utf8'))).toBe(`${own}earlier samples, 9 calls of 3 people`);
    }
    for (const said of [dry.out, run.out, text]) {
      expect(privacyLeaks(said, [...userIds, PHONE, key])).toEqual([]);
    }
  });

  it('leaves the calibration alone when there are too few people', async () => {
    await withStorage(({ store }) => store.saveEnrollment(enrollmentIn(TOY_NETWORK_ID, randomUUID())), 'few');
    const path = join(models.packageDir, 'calibration.json');
    const before = readFileSync(path, 'utf8');
    const { code, err } = await calibrate([], { DATA_DIR: dataDir('few') });
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/^1 person is enrolled .* a calibration needs 25 \(.*\)\. Nothing was changed\.$/m),
    ]);
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  it('reads nothing with another key, and makes no database', async () => {
    const wrong = await calibrate([], { EMBEDDING_ENCRYPTION_KEYS: createEncryptionKeyEntry() });
    expect([wrong.code, wrong.err]).toEqual([
      1,
      expect.stringMatching(/encrypted with key k[0-9a-f]{8}, which EMBEDDING_ENCRYPTION_KEYS lacks/),
    ]);
    const nowhere = await calibrate([], { DATA_DIR: dataDir('nowhere') });
    expect([nowhere.code, nowhere.err]).toEqual([1, expect.stringMatching(/There is no database in/)]);
    expect(existsSync(dataDir('nowhere'))).toBe(false);
  });
});
