import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { loadCohort, loadModelPackage, verifyModelPackage } from '../../../src/embedder/model-package.js';
import {
  FORMER_CALIBRATION,
  installCalibration,
  installCohort,
  requireWritable,
} from '../../../src/embedder/package-files.js';
import { type ModelFolder, TOY_NETWORK_ID, toyNetworkFolder } from '../../support/model-folder.js';
import { toyCalibration } from '../../support/toy-models.js';

const SIZE = 16;
const folders: ModelFolder[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) folder.remove();
});

function made(raw: boolean): ModelFolder {
  const folder = toyNetworkFolder('features', { raw });
  folders.push(folder);
  return folder;
}

/** Unit vectors along the axes, from `first` on. */
function cohort(count: number, first = 0) {
  const rows = new Float32Array(count * SIZE);
  for (let row = 0; row < count; row++) rows[row * SIZE + ((row + first) % SIZE)] = 1;
  return { rows, count, command: 'voice-auth cohort toys' };
}

describe('installCohort', () => {
  it('gives a raw package a cohort, of which the manifest says what it is', async () => {
    const { packageDir, modelsDir } = made(true);
    await expect(loadCohort(modelsDir, TOY_NETWORK_ID)).rejects.toThrow(/run `voice-auth cohort` for toy-network/);
    const { sha256, changed, setAside } = await installCohort(packageDir, cohort(12));
    expect([changed, setAside]).toEqual([true, undefined]);
    const manifest = JSON.parse(readFileSync(join(packageDir, 'manifest.json'), 'utf8')) as Record<string, unknown>;
    expect(manifest).toMatchObject({
      id: TOY_NETWORK_ID,
      cohort: { sha256, count: 12, command: 'voice-auth cohort toys' },
    });
    expect(await loadCohort(modelsDir, TOY_NETWORK_ID)).toEqual({ rows: cohort(12).rows, embeddingSize: SIZE, sha256 });
    expect(readdirSync(packageDir).sort()).toEqual(['cohort.f32', 'manifest.json', 'model.onnx']);
  });

  it('sets the calibration of the cohort before aside, but not for the same cohort again', async () => {
    const { packageDir, modelsDir } = made(false);
    const before = readFileSync(join(packageDir, 'calibration.json'), 'utf8');
    expect(await installCohort(packageDir, cohort(12))).toMatchObject({ changed: true, setAside: FORMER_CALIBRATION });
    expect(readFileSync(join(packageDir, FORMER_CALIBRATION), 'utf8')).toBe(before);
    await expect(loadModelPackage(modelsDir, TOY_NETWORK_ID)).rejects.toThrow(/run `voice-auth calibrate`/);
    await installCalibration(join(packageDir, 'calibration.json'), before);
    expect(await installCohort(packageDir, cohort(12))).toMatchObject({ changed: false, setAside: undefined });
    await expect(loadModelPackage(modelsDir, TOY_NETWORK_ID)).resolves.toMatchObject({
      manifest: { id: TOY_NETWORK_ID },
    });
  });

  it('leaves nothing behind when it cannot be done', async () => {
    const { packageDir } = made(true);
    const manifest = join(packageDir, 'manifest.json');
    writeFileSync(manifest, '{"id":"broken"}');
    await expect(installCohort(packageDir, cohort(12))).rejects.toThrow(/manifest\.json/);
    expect(readdirSync(packageDir).sort()).toEqual(['manifest.json', 'model.onnx']);
    rmSync(packageDir, { recursive: true });
    await expect(installCalibration(join(packageDir, 'calibration.json'), '{}')).rejects.toThrow(
      /cannot be written \(ENOENT\)/,
    );
    await expect(requireWritable(packageDir)).rejects.toThrow(/cannot be written/);
    expect(existsSync(packageDir)).toBe(false);
  });
});

describe('a calibration of another cohort', () => {
  it('is refused, and asked for anew', async () => {
    const { packageDir, modelsDir } = made(false);
    const { sha256 } = await loadCohort(modelsDir, TOY_NETWORK_ID);
    const check = async (cohortSha256: string) => {
      writeFileSync(
        join(packageDir, 'calibration.json'),
        JSON.stringify(toyCalibration({ modelId: TOY_NETWORK_ID, cohortSha256 })),
      );
      return (await verifyModelPackage(modelsDir, TOY_NETWORK_ID)).find(({ file }) => file === 'calibration.json');
    };
    expect(await check(sha256)).toEqual({ file: 'calibration.json', problem: undefined });
    expect(await check('0'.repeat(64))).toEqual({
      file: 'calibration.json',
      problem: expect.stringMatching(/fitted with another cohort: run `voice-auth calibrate` for toy-network/),
      notMade: true,
    });
  });
});
