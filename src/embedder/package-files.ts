/**
 * Puts what was made for a model into its package: the cohort, the calibration. Every file is written beside its place and
 * renamed into it, and in an order in which a package that was left halfway is refused, never believed.
 */
import { createHash, randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import { access, constants, open, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { toFloat32Bytes } from '../audio/float32-bytes.js';
import { parseManifest } from './manifest.js';
import { ModelPackageError } from './model-package.js';

export interface MadeCohort {
  /** Unit embeddings, row after row. */
  readonly rows: Float32Array;
  readonly count: number;
  /** What to run to get it again. */
  readonly command: string;
}

export interface InstalledCohort {
  readonly sha256: string;
  /** Whether it is another one than before. */
  readonly changed: boolean;
  /** Name that a calibration of the former cohort was set aside under; undefined when there was none, or nothing changed. */
  readonly setAside: string | undefined;
}

/** Where `installCohort` keeps the calibration that belonged to the cohort before. */
export const FORMER_CALIBRATION = 'calibration.former.json';

/** Throws `ModelPackageError` when files cannot be made in the folder: better before hours of work than after them. */
export async function requireWritable(folder: string): Promise<void> {
  await access(folder, constants.W_OK).catch((error: unknown) => {
    throw cannotWrite(folder, error);
  });
}

/**
 * Writes `cohort.f32` and says so in `manifest.json`. A calibration that is there was fitted with the cohort before and goes
 * out of the way first; a cohort that is the same as before leaves it. Throws `ModelPackageError`.
 */
export async function installCohort(folder: string, { rows, count, command }: MadeCohort): Promise<InstalledCohort> {
  const bytes = toFloat32Bytes(rows);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const manifestPath = join(folder, 'manifest.json');
  const text = await readFile(manifestPath, 'utf8').catch(() => '');
  const parsed = parseManifest(text);
  if (parsed.kind === 'invalid') throw new ModelPackageError(`manifest.json ${parsed.problem}`);
  const changed = parsed.manifest.cohort?.sha256 !== sha256;
  // The text as it was, not as it was parsed: defaults that its author left out stay left out.
  const manifest = { ...(JSON.parse(text) as object), cohort: { sha256, count, command } };
  const calibrationPath = join(folder, 'calibration.json');
  const hasCalibration = await access(calibrationPath).then(
    () => true,
    () => false,
  );
  const setAside = hasCalibration && changed;
  await writeBeside(
    [
      { path: join(folder, 'cohort.f32'), content: bytes },
      { path: manifestPath, content: `${JSON.stringify(manifest, null, 2)}\n` },
    ],
    () => {
      if (setAside) renameSync(calibrationPath, join(folder, FORMER_CALIBRATION));
    },
  );
  return { sha256, changed, setAside: setAside ? FORMER_CALIBRATION : undefined };
}

/** Writes a `calibration.json`, whole or not at all. Throws `ModelPackageError`. */
export async function installCalibration(path: string, text: string): Promise<void> {
  await writeBeside([{ path, content: text }], () => undefined);
}

/** All files are there, on disk, before the first takes its place; then nothing but a crash comes between the renames. */
async function writeBeside(
  files: readonly { readonly path: string; readonly content: string | Uint8Array }[],
  before: () => void,
): Promise<void> {
  const parts = files.map(({ path, content }) => ({ path, content, part: `${path}.${randomUUID()}.tmp` }));
  try {
    for (const { part, content } of parts) {
      const file = await open(part, 'wx', 0o644);
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    before();
    for (const { part, path } of parts) renameSync(part, path);
  } catch (error) {
    for (const { part } of parts) await rm(part, { force: true });
    throw cannotWrite(dirname(files[0]!.path), error);
  }
}

function cannotWrite(folder: string, error: unknown): ModelPackageError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  return new ModelPackageError(`The model package ${basename(folder)} cannot be written (${code})`);
}
