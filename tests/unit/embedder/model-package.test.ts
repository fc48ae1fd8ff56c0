import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  listModelPackages,
  loadCohort,
  loadModelFiles,
  loadModelPackage,
  ModelPackageError,
  verifyModelPackage,
} from '../../../src/embedder/model-package.js';
import {
  type ModelFolder,
  modelFolder,
  SHIPPED_MODEL_ID,
  TOY_NETWORK_ID,
  toyNetworkFolder,
} from '../../support/model-folder.js';
import { toyCalibration } from '../../support/toy-models.js';

let folder: ModelFolder;
beforeEach(() => {
  folder = modelFolder();
});
afterEach(() => folder.remove());

const path = (file: string) => join(folder.packageDir, file);
const load = () => loadModelPackage(folder.modelsDir, SHIPPED_MODEL_ID);

function changeManifest(change: (manifest: Record<string, unknown>) => void): void {
  const manifest = JSON.parse(readFileSync(path('manifest.json'), 'utf8')) as Record<string, unknown>;
  change(manifest);
  writeFileSync(path('manifest.json'), JSON.stringify(manifest));
}

/** Replaces the cohort and makes the manifest agree with the new file. */
function replaceCohort(rows: Float32Array): void {
  const bytes = Buffer.from(rows.buffer);
  writeFileSync(path('cohort.f32'), bytes);
  changeManifest((manifest) => {
    manifest.cohort = { sha256: createHash('sha256').update(bytes).digest('hex'), count: rows.length / 192 };
  });
}

describe('loadModelPackage', () => {
  it('gives manifest, model, cohort and calibration of the shipped model', async () => {
    const loaded = await load();
    expect(loaded.manifest.id).toBe(SHIPPED_MODEL_ID);
    expect(loaded.modelPath).toBe(path('model.onnx'));
    expect(loaded.cohort.length).toBe(readFileSync(path('cohort.f32')).length / 4);
    expect(Math.hypot(...loaded.cohort.subarray(-192))).toBeCloseTo(1, 5);
    expect(loaded.calibration).toEqual(toyCalibration({ modelId: SHIPPED_MODEL_ID }));
  });

  it('refuses a model file whose bytes were changed but not its size', async () => {
    const bytes = readFileSync(path('model.onnx'));
    const said = createHash('sha256').update(bytes).digest('hex');
    bytes[1_000_000] = (bytes[1_000_000] ?? 0) ^ 1;
    rmSync(path('model.onnx'));
    writeFileSync(path('model.onnx'), bytes);
    await expect(load()).rejects.toThrow(
      new RegExp(`model\\.onnx: has SHA-256 [0-9a-f]{64}, the manifest says ${said}`),
    );
    await expect(load()).rejects.toBeInstanceOf(ModelPackageError);
  });

  it('refuses a truncated model file by its size', async () => {
    writeFileSync(`${path('model.onnx')}.new`, readFileSync(path('model.onnx')));
    rmSync(path('model.onnx'));
    writeFileSync(path('model.onnx'), readFileSync(`${path('model.onnx')}.new`));
    const { size } = statSync(path('model.onnx'));
    truncateSync(path('model.onnx'), 1000);
    await expect(load()).rejects.toThrow(`model.onnx: has 1000 bytes, the manifest says ${size}`);
  });

  it('refuses a speech detector that is not the one of the manifest, and does without when the manifest has none', async () => {
    rmSync(path('speech.onnx'));
    await expect(load()).rejects.toThrow('speech.onnx: cannot be read');
    await expect(loadModelFiles(folder.modelsDir, SHIPPED_MODEL_ID)).rejects.toThrow('speech.onnx: cannot be read');
    writeFileSync(path('speech.onnx'), 'another');
    await expect(load()).rejects.toThrow('speech.onnx: has 7 bytes');
    changeManifest((manifest) => {
      delete manifest.speechDetector;
    });
    expect(await load()).toMatchObject({ speechDetectorPath: undefined });
  });

  it('refuses a model of another sample rate than speech comes at', async () => {
    changeManifest((manifest) => {
      manifest.sampleRateHz = 8000;
    });
    const problem = 'sampleRateHz: must be 16000, the rate at which speech is detected and embedded';
    await expect(load()).rejects.toThrow(problem);
    await expect(loadModelFiles(folder.modelsDir, SHIPPED_MODEL_ID)).rejects.toThrow(problem);
    expect(await verifyModelPackage(folder.modelsDir, SHIPPED_MODEL_ID)).toEqual([
      { file: 'manifest.json', problem: expect.stringContaining(problem) },
    ]);
  });

  it('reports every bad file at once, and what to do', async () => {
    rmSync(path('model.onnx'));
    truncateSync(path('cohort.f32'), 768);
    writeFileSync(path('calibration.json'), 'no json');
    mkdirSync(join(folder.modelsDir, 'another'));
    writeFileSync(join(folder.modelsDir, 'another', 'manifest.json'), '{}');
    const error = await load().catch((caught: unknown) => caught);
    expect(String(error)).toMatch(/model\.onnx: cannot be read/);
    expect(String(error)).toMatch(/cohort\.f32: has 768 bytes/);
    expect(String(error)).toMatch(/calibration\.json: is not JSON/);
    expect(String(error)).toMatch(/set MODEL_ID .*found: another/);
  });

  it('refuses a cohort with a row that is not of unit length, even when its checksum is right', async () => {
    const rows = new Float32Array(2 * 192);
    rows[0] = 1;
    rows[192] = 0.9;
    replaceCohort(rows);
    await expect(load()).rejects.toThrow('cohort.f32: embedding 1 is not of unit length');
    rows[192] = Number.NaN;
    replaceCohort(rows);
    await expect(load()).rejects.toThrow('cohort.f32: embedding 1 is not of unit length');
  });

  it('refuses a cohort that is not the one of the manifest, be it of the same size and of unit length', async () => {
    const bytes = readFileSync(path('cohort.f32'));
    const [first, second] = [bytes.subarray(0, 192 * 4), bytes.subarray(192 * 4, 2 * 192 * 4)];
    writeFileSync(path('cohort.f32'), Buffer.concat([second, first, bytes.subarray(2 * 192 * 4)]));
    await expect(load()).rejects.toThrow('cohort.f32: has SHA-256');
  });

  it.each([
    ['of another model', { modelId: 'somebody-else' }, 'belongs to another model, "somebody-else"'],
    ['of no model', { modelId: undefined }, 'is no calibration: modelId: '],
    ['without tails', { tails: [] }, 'is no calibration: tails: '],
    ['of another cohort', { cohortSha256: '0'.repeat(64) }, 'was fitted with another cohort'],
  ])('refuses a calibration %s', async (_, changes, problem) => {
    const calibration = { ...toyCalibration({ modelId: SHIPPED_MODEL_ID }), ...changes };
    writeFileSync(path('calibration.json'), JSON.stringify(calibration));
    await expect(load()).rejects.toThrow(`calibration.json: ${problem}`);
    expect(await verifyModelPackage(folder.modelsDir, SHIPPED_MODEL_ID)).toContainEqual(
      expect.objectContaining({ file: 'calibration.json', problem: expect.stringContaining(problem) }),
    );
  });

  it('says of a package that was only downloaded what is still to be made', async () => {
    const raw = toyNetworkFolder('features', { raw: true });
    try {
      const error = await loadModelPackage(raw.modelsDir, TOY_NETWORK_ID).catch((caught: unknown) => String(caught));
      expect(error).toMatch(/cohort\.f32: has not been made yet: run `voice-auth cohort` for toy-network/);
      expect(error).toMatch(/calibration\.json: has not been made yet: run `voice-auth calibrate` for toy-network/);
      expect(error).not.toMatch(/model\.onnx/);
    } finally {
      raw.remove();
    }
  });

  it('refuses a package in a folder of another name', async () => {
    changeManifest((manifest) => {
      manifest.id = 'somebody-else';
    });
    await expect(load()).rejects.toThrow('is of model "somebody-else"');
  });

  it('says of a package that is not here which ones are', async () => {
    const message = `There is no model package "ecapa" in ${folder.modelsDir}; there are ${SHIPPED_MODEL_ID}`;
    await expect(loadModelPackage(folder.modelsDir, 'ecapa')).rejects.toThrow(message);
    await expect(loadModelFiles(folder.modelsDir, 'ecapa')).rejects.toThrow(message);
    await expect(loadCohort(folder.modelsDir, 'ecapa')).rejects.toThrow(message);
    await expect(load()).resolves.toBeDefined();
    await expect(loadModelPackage(folder.packageDir, 'ecapa')).rejects.toThrow(/; there are none$/);
  });

  it.each(['../outside', '', 'UPPER'])('refuses the id %j', async (id) => {
    await expect(loadModelPackage(folder.modelsDir, id)).rejects.toThrow(/is not usable:\n {2}- manifest\.json/);
  });
});

describe('loadModelFiles', () => {
  it('gives manifest and model of a package without cohort and calibration', async () => {
    const raw = toyNetworkFolder('features', { raw: true });
    try {
      const { manifest, modelPath } = await loadModelFiles(raw.modelsDir, TOY_NETWORK_ID);
      expect(manifest).toMatchObject({ id: TOY_NETWORK_ID, cohort: null, output: { unitLength: false } });
      expect(modelPath).toBe(join(raw.packageDir, 'model.onnx'));
      writeFileSync(modelPath, 'something else');
      await expect(loadModelFiles(raw.modelsDir, TOY_NETWORK_ID)).rejects.toThrow(/model\.onnx: has 14 bytes/);
    } finally {
      raw.remove();
    }
  });

  it.each(['missing', '../outside'])('refuses the id %j', async (id) => {
    await expect(loadModelFiles(folder.modelsDir, id)).rejects.toBeInstanceOf(ModelPackageError);
  });
});

describe('listModelPackages and verifyModelPackage', () => {
  it('list what is there, usable or not, and nothing where there is no folder', async () => {
    mkdirSync(join(folder.modelsDir, 'broken'));
    writeFileSync(join(folder.modelsDir, 'broken', 'manifest.json'), '{}');
    mkdirSync(join(folder.modelsDir, 'no-manifest'));
    writeFileSync(join(folder.modelsDir, 'a-file'), '');
    const listings = await listModelPackages(folder.modelsDir);
    expect(listings.map(({ id, kind }) => [id, kind])).toEqual([
      ['broken', 'unusable'],
      [SHIPPED_MODEL_ID, 'listed'],
    ]);
    expect(await listModelPackages(join(folder.modelsDir, 'nowhere'))).toEqual([]);
  });

  it('check file by file', async () => {
    rmSync(path('calibration.json'));
    expect(await verifyModelPackage(folder.modelsDir, SHIPPED_MODEL_ID)).toEqual([
      { file: 'manifest.json', problem: undefined },
      { file: 'model.onnx', problem: undefined },
      { file: 'speech.onnx', problem: undefined },
      { file: 'cohort.f32', problem: undefined },
      {
        file: 'calibration.json',
        problem: expect.stringMatching(/^has not been made yet: .*calibrate/),
        notMade: true,
      },
    ]);
  });
});
