/** Throw-away models folders: with the shipped model in it, or a toy network, so that tests can change any of their files. */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { toyCalibration } from './toy-models.js';

export const SHIPPED_MODEL_ID = 'phone-resnet-192-v4';
export const SHIPPED_PACKAGE = fileURLToPath(new URL(`../../models/${SHIPPED_MODEL_ID}/`, import.meta.url));

export interface ModelFolder {
  readonly modelsDir: string;
  /** Folder of the one package in it, of id `SHIPPED_MODEL_ID`. */
  readonly packageDir: string;
  remove(): void;
}

/** The shipped manifest and cohort as copies, the shipped networks as links, and a small calibration file. */
export function modelFolder(): ModelFolder {
  const modelsDir = mkdtempSync(join(tmpdir(), 'voice-auth-models-'));
  const packageDir = join(modelsDir, SHIPPED_MODEL_ID);
  mkdirSync(packageDir);
  for (const file of ['manifest.json', 'cohort.f32']) copyFileSync(join(SHIPPED_PACKAGE, file), join(packageDir, file));
  for (const file of ['model.onnx', 'speech.onnx']) symlinkSync(join(SHIPPED_PACKAGE, file), join(packageDir, file));
  writeCalibration(packageDir, SHIPPED_MODEL_ID);
  return { modelsDir, packageDir, remove: () => rmSync(modelsDir, { recursive: true, force: true }) };
}

/** Networks of tests/fixtures/fbank. */
export const toyNetwork = (name: 'features' | 'waveform') =>
  fileURLToPath(new URL(`../fixtures/fbank/${name}.onnx`, import.meta.url));

export const TOY_NETWORK_ID = 'toy-network';

/** Manifest of a toy network without cohort; the front end of `features` is WeSpeaker's. */
export function toyManifest(name: 'features' | 'waveform'): Record<string, unknown> {
  const bytes = readFileSync(toyNetwork(name));
  return {
    formatVersion: 1,
    id: TOY_NETWORK_ID,
    embeddingSize: name === 'features' ? 16 : 192,
    sampleRateHz: 16_000,
    input: name === 'features' ? WESPEAKER_INPUT : { kind: 'waveform', tensor: null },
    output: name === 'features' ? { tensor: 'embs', unitLength: false } : { tensor: null },
    window: { minMs: 100, preferredMs: 3000 },
    model: { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length },
    cohort: null,
    licence: 'MIT',
    trainingData: [{ name: 'none', licence: 'MIT' }],
    errorRates: [],
  };
}

export const WESPEAKER_INPUT = {
  kind: 'fbank',
  tensor: 'feats',
  numMelBins: 80,
  frameLengthMs: 25,
  frameShiftMs: 10,
  snipEdges: true,
  dither: 0,
  window: 'hamming',
  removeDcOffset: true,
  preemphasis: 0.97,
  lowFreqHz: 20,
  highFreqHz: 8000,
  usePower: true,
  useEnergy: false,
  rawEnergy: true,
  energyFloor: 0,
  htkCompat: true,
  inputScale: 'int16',
  meanNormalisation: 'window',
} as const;

/** A folder with the package of a toy network: raw, or with a cohort of two and a calibration. */
export function toyNetworkFolder(
  name: 'features' | 'waveform',
  options: { readonly raw?: boolean; readonly changes?: Record<string, unknown> } = {},
): ModelFolder {
  const modelsDir = mkdtempSync(join(tmpdir(), 'voice-auth-models-'));
  const packageDir = join(modelsDir, TOY_NETWORK_ID);
  mkdirSync(packageDir);
  const manifest = { ...toyManifest(name), ...options.changes };
  copyFileSync(toyNetwork(name), join(packageDir, 'model.onnx'));
  if (!options.raw) {
    const size = Number(manifest.embeddingSize);
    const cohort = new Float32Array(2 * size);
    cohort[0] = 1;
    cohort[size + 1] = 1;
    const bytes = Buffer.from(cohort.buffer);
    writeFileSync(join(packageDir, 'cohort.f32'), bytes);
    writeCalibration(packageDir, TOY_NETWORK_ID);
    manifest.cohort = { sha256: createHash('sha256').update(bytes).digest('hex'), count: 2 };
  }
  writeFileSync(join(packageDir, 'manifest.json'), JSON.stringify(manifest));
  return { modelsDir, packageDir, remove: () => rmSync(modelsDir, { recursive: true, force: true }) };
}

function writeCalibration(packageDir: string, modelId: string): void {
  writeFileSync(join(packageDir, 'calibration.json'), JSON.stringify(toyCalibration({ modelId })));
}
