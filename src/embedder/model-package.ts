/**
 * A model package on disk, checked before anything is computed with it: a wrong file would give embeddings that compare
 * with nothing and still look like embeddings.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fromFloat32Bytes } from '../audio/float32-bytes.js';
import { VoiceAuthError } from '../domain/errors.js';
import { type Calibration, calibrationSchema } from '../domain/scoring/calibration.js';
import { MODEL_ID_PATTERN, type ModelManifest, parseManifest } from './manifest.js';

export interface ModelPackage {
  readonly manifest: ModelManifest;
  /** Path of `model.onnx`. */
  readonly modelPath: string;
  /** Path of `speech.onnx`; undefined = the package has none. */
  readonly speechDetectorPath: string | undefined;
  /** `manifest.cohort.count` x `manifest.embeddingSize`, row after row, every row of unit length. */
  readonly cohort: Float32Array;
  /** Of this model, and fitted with this cohort where it says with which. */
  readonly calibration: Calibration;
}

/** What a model needs to run. */
export type ModelFiles = Pick<ModelPackage, 'manifest' | 'modelPath' | 'speechDetectorPath'>;

/** One line of `voice-auth models list`: the manifest was read, no checksum was made. */
export type ModelListing =
  | { readonly kind: 'listed'; readonly id: string; readonly manifest: ModelManifest }
  | { readonly kind: 'unusable'; readonly id: string; readonly problem: string };

export interface ModelFileCheck {
  readonly file: 'manifest.json' | 'model.onnx' | 'speech.onnx' | 'cohort.f32' | 'calibration.json';
  /** Undefined = as it should be. */
  readonly problem: string | undefined;
  /** Nothing is wrong with the package: this part of it is still to be made. */
  readonly notMade?: true;
}

/** The model package is missing or not what its manifest says. Raised at start, before anybody is served. */
export class ModelPackageError extends VoiceAuthError {
  constructor(message: string) {
    super('InferenceUnavailable', message);
    this.name = 'ModelPackageError';
  }
}

/** How far from 1 the length of a stored embedding may be: float32 rounding over some thousand values, with room. */
const UNIT_TOLERANCE = 1e-3;

type FileProblem = Pick<ModelFileCheck, 'notMade'> & { readonly problem: string };

interface Inspection {
  readonly checks: readonly ModelFileCheck[];
  readonly modelPackage: ModelPackage | undefined;
}

/** Loads and verifies `<modelsDir>/<id>`. Throws `ModelPackageError` that names every bad file and what to do. */
export async function loadModelPackage(modelsDir: string, id: string): Promise<ModelPackage> {
  await requireFolder(modelsDir, id);
  const { checks, modelPackage } = await inspect(modelsDir, id);
  if (modelPackage) return modelPackage;
  const problems = checks.filter((check) => check.problem).map((check) => `  - ${check.file}: ${check.problem}`);
  const others = (await listModelPackages(modelsDir)).map((listing) => listing.id).filter((other) => other !== id);
  throw new ModelPackageError(
    [
      `Model package "${id}" is not usable:`,
      ...problems,
      'Restore the folder from the release it came with, or set MODEL_ID (and MODELS_DIR) to another model package' +
        `${others.length > 0 ? ` (found: ${others.join(', ')})` : ''}. "voice-auth models verify" checks again.`,
    ].join('\n'),
  );
}

/** Every folder of `modelsDir` that has a manifest.json, in the order of their ids; none when the folder is missing. */
export async function listModelPackages(modelsDir: string): Promise<readonly ModelListing[]> {
  const entries = await readdir(modelsDir, { withFileTypes: true }).catch(() => []);
  const ids = entries.map((entry) => entry.name).filter((name) => MODEL_ID_PATTERN.test(name));
  const listings = await Promise.all(ids.sort().map((id) => listing(modelsDir, id)));
  return listings.filter((entry) => entry !== undefined);
}

/**
 * Manifest and verified networks of a package, usable or not yet: what making a cohort and a calibration starts from.
 * Throws `ModelPackageError`.
 */
export async function loadModelFiles(modelsDir: string, id: string): Promise<ModelFiles> {
  await requireFolder(modelsDir, id);
  const found = await readPackageManifest(modelsDir, id);
  if ('problem' in found)
    throw new ModelPackageError(`Model package "${id}" is not usable: manifest.json: ${found.problem}`);
  const { networks, problems } = await checkNetworks(join(modelsDir, id), found.manifest);
  for (const { file, problem } of problems) {
    if (problem) throw new ModelPackageError(`Model package "${id}" is not usable: ${file}: ${problem}`);
  }
  return { manifest: found.manifest, ...networks };
}

/**
 * Manifest and verified cohort of a package, with or without a calibration: what a calibration is fitted with. Throws
 * `ModelPackageError`, which names `voice-auth cohort` when the cohort has not been made.
 */
export async function loadCohort(
  modelsDir: string,
  id: string,
): Promise<{ readonly rows: Float32Array; readonly embeddingSize: number; readonly sha256: string }> {
  const { manifest } = await loadModelFiles(modelsDir, id);
  const cohort = await readCohort(join(modelsDir, id, 'cohort.f32'), manifest);
  if (!('rows' in cohort))
    throw new ModelPackageError(`Model package "${id}" cannot be calibrated: cohort.f32 ${cohort.problem}`);
  return { rows: cohort.rows, embeddingSize: manifest.embeddingSize, sha256: cohort.sha256 };
}

/** Checks every file of a package against its manifest. Never throws for what it finds. */
export async function verifyModelPackage(modelsDir: string, id: string): Promise<readonly ModelFileCheck[]> {
  return (await inspect(modelsDir, id)).checks;
}

/** What is not here at all needs no restoring: the name is another one, or it is still to be fetched. */
async function requireFolder(modelsDir: string, id: string): Promise<void> {
  if (!MODEL_ID_PATTERN.test(id)) return;
  const isFolder = await stat(join(modelsDir, id)).then(
    (entry) => entry.isDirectory(),
    (error: unknown) => !isMissing(error),
  );
  if (isFolder) return;
  const others = (await listModelPackages(modelsDir)).map((listing) => listing.id);
  const found = others.length > 0 ? `there are ${others.join(', ')}` : 'there are none';
  throw new ModelPackageError(`There is no model package "${id}" in ${modelsDir}; ${found}`);
}

async function listing(modelsDir: string, id: string): Promise<ModelListing | undefined> {
  const text = await readFile(join(modelsDir, id, 'manifest.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const result = readManifest(text, id);
  return 'problem' in result ? { kind: 'unusable', id, ...result } : { kind: 'listed', id, ...result };
}

function readManifest(text: string, id: string): { manifest: ModelManifest } | { problem: string } {
  const parsed = parseManifest(text);
  if (parsed.kind === 'invalid') return { problem: parsed.problem };
  const { manifest } = parsed;
  if (manifest.id !== id) return { problem: `is of model "${manifest.id}", but its folder is named "${id}"` };
  return { manifest };
}

async function readPackageManifest(
  modelsDir: string,
  id: string,
): Promise<{ manifest: ModelManifest } | { problem: string }> {
  if (!MODEL_ID_PATTERN.test(id)) return { problem: `"${id}" is not a model id` };
  const folder = join(modelsDir, id);
  const text = await readFile(join(folder, 'manifest.json'), 'utf8').catch(() => undefined);
  return text === undefined ? { problem: `cannot be read in ${folder}` } : readManifest(text, id);
}

async function inspect(modelsDir: string, id: string): Promise<Inspection> {
  const found = await readPackageManifest(modelsDir, id);
  if ('problem' in found) {
    return { checks: [{ file: 'manifest.json', problem: found.problem }], modelPackage: undefined };
  }
  const folder = join(modelsDir, id);
  const { manifest } = found;
  const [{ networks, problems }, cohort, calibration] = await Promise.all([
    checkNetworks(folder, manifest),
    readCohort(join(folder, 'cohort.f32'), manifest),
    readCalibration(join(folder, 'calibration.json'), manifest),
  ]);
  const checks: ModelFileCheck[] = [
    { file: 'manifest.json', problem: undefined },
    ...problems,
    'rows' in cohort ? { file: 'cohort.f32', problem: undefined } : { file: 'cohort.f32', ...cohort },
    'value' in calibration
      ? { file: 'calibration.json', problem: undefined }
      : { file: 'calibration.json', ...calibration },
  ];
  const sound = problems.every(({ problem }) => problem === undefined);
  const usable = sound && 'rows' in cohort && 'value' in calibration;
  return {
    checks,
    modelPackage: usable ? { manifest, ...networks, cohort: cohort.rows, calibration: calibration.value } : undefined,
  };
}

/** `model.onnx`, and `speech.onnx` where the manifest names one. */
async function checkNetworks(
  folder: string,
  { model, speechDetector }: ModelManifest,
): Promise<{ networks: Omit<ModelFiles, 'manifest'>; problems: readonly ModelFileCheck[] }> {
  const modelPath = join(folder, 'model.onnx');
  const problems: ModelFileCheck[] = [{ file: 'model.onnx', problem: await checkFile(modelPath, model) }];
  if (!speechDetector) return { networks: { modelPath, speechDetectorPath: undefined }, problems };
  const speechDetectorPath = join(folder, 'speech.onnx');
  problems.push({ file: 'speech.onnx', problem: await checkFile(speechDetectorPath, speechDetector) });
  return { networks: { modelPath, speechDetectorPath }, problems };
}

async function checkFile(path: string, expected: ModelManifest['model']): Promise<string | undefined> {
  const size = await stat(path).then(
    (entry) => entry.size,
    () => undefined,
  );
  if (size === undefined) return 'cannot be read';
  if (size !== expected.bytes) return `has ${size} bytes, the manifest says ${expected.bytes}`;
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk);
  } catch {
    return 'cannot be read';
  }
  return compareDigest(hash.digest('hex'), expected.sha256);
}

async function readCohort(
  path: string,
  manifest: ModelManifest,
): Promise<{ rows: Float32Array; sha256: string } | FileProblem> {
  if (!manifest.cohort) return notMade('cohort', manifest.id);
  const bytes = await readFile(path).catch(() => undefined);
  if (!bytes) return { problem: 'cannot be read' };
  const size = manifest.embeddingSize;
  const expected = manifest.cohort.count * size * 4;
  if (bytes.length !== expected) {
    return {
      problem: `has ${bytes.length} bytes; ${manifest.cohort.count} embeddings of ${size} values are ${expected}`,
    };
  }
  const problem = compareDigest(createHash('sha256').update(bytes).digest('hex'), manifest.cohort.sha256);
  if (problem) return { problem };
  const rows = fromFloat32Bytes(bytes);
  for (let row = 0; row < manifest.cohort.count; row++) {
    const length = Math.hypot(...rows.subarray(row * size, (row + 1) * size));
    if (!(Math.abs(length - 1) <= UNIT_TOLERANCE)) return { problem: `embedding ${row} is not of unit length` };
  }
  return { rows, sha256: manifest.cohort.sha256 };
}

async function readCalibration(
  path: string,
  { id, cohort }: ModelManifest,
): Promise<{ value: Calibration } | FileProblem> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => (isMissing(error) ? undefined : ''));
  if (text === undefined) return notMade('calibrate', id);
  if (text === '') return { problem: 'cannot be read' };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { problem: 'is not JSON' };
  }
  const parsed = calibrationSchema.safeParse(json);
  if (!parsed.success) {
    const { path: at, message } = parsed.error.issues[0]!;
    return { problem: `is no calibration: ${at.length > 0 ? `${at.join('.')}: ` : ''}${message}` };
  }
  const { modelId, cohortSha256 } = parsed.data;
  // What a score is worth depends on model and cohort: of others every claim would be wrong, and nobody would notice.
  if (modelId !== id) return { problem: `belongs to another model, "${modelId}"` };
  if (cohort && cohortSha256 !== undefined && cohortSha256 !== cohort.sha256) {
    return { problem: `was fitted with another cohort: run \`voice-auth calibrate\` for ${id}`, notMade: true };
  }
  return { value: parsed.data };
}

function notMade(verb: 'cohort' | 'calibrate', id: string): FileProblem {
  return { problem: `has not been made yet: run \`voice-auth ${verb}\` for ${id}`, notMade: true };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function compareDigest(found: string, expected: string): string | undefined {
  return found === expected ? undefined : `has SHA-256 ${found}, the manifest says ${expected}`;
}
