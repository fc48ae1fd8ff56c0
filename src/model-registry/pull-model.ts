/**
 * Brings a published model into the models folder: downloads or copies its file beside the packages, checks and tries it,
 * and only then renames a complete folder into place. A package is there with all its files, or it is not there.
 */
import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type ModelManifest, manifestSchema } from '../embedder/manifest.js';
import { type ModelFileCheck, type ModelFiles, verifyModelPackage } from '../embedder/model-package.js';
import type { ModelUrlPolicy } from '../outbound/address-policy.js';
import { createGuardedAgent } from '../outbound/guarded-agent.js';
import { downloadFile } from './download-file.js';
import { diskError, ModelPullError } from './model-pull-error.js';
import { originPath, PartFile } from './part-file.js';
import { lockPull } from './pull-lock.js';
import { packageManifest, type RegistryEntry } from './registry-entry.js';

/** Where the file comes from, if not from where the entry says. */
export type PullSource =
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'file'; readonly path: string };

export interface PullOptions {
  readonly modelsDir: string;
  readonly from?: PullSource | undefined;
  /** Wanted by the person; beside the entry's own. */
  readonly sha256?: string | undefined;
  /** Development only: private addresses and http. */
  readonly allowPrivateNetwork: boolean;
  readonly onProgress: (received: number, total: number | undefined) => void;
  readonly onNote: (note: string) => void;
  /** Whether the model runs: throws when it does not. What came is not installed then. */
  readonly tryModel: (model: ModelFiles) => Promise<void>;
  /** A server may be silent so long. Default 30 s. */
  readonly silenceMs?: number;
  /** Default one hour. */
  readonly timeoutMs?: number;
  /** Attempts in a row without progress, after the first. Default 4. */
  readonly retries?: number;
  /** Default: 1 s, and twice as long every time. */
  readonly backOff?: (fruitless: number, signal: AbortSignal) => Promise<void>;
}

export interface PulledModel {
  /** `present`: the package was there and its model file is right. `repaired`: its model file was not. */
  readonly outcome: 'present' | 'installed' | 'repaired';
  readonly folder: string;
  readonly sha256: string;
  readonly bytes: number;
  /** No checksum is published: the one of what came is now in the manifest. */
  readonly pinned: boolean;
}

const SILENCE_MS = 30_000;
const TIMEOUT_MS = 3_600_000;
const RETRIES = 4;

/** Throws `ModelPullError`, and what `tryModel` throws; then no package was changed. */
export async function pullModel(entry: RegistryEntry, options: PullOptions): Promise<PulledModel> {
  const { modelsDir } = options;
  const folder = join(modelsDir, entry.id);
  const work = join(modelsDir, `.pull-${entry.id}`);
  const wanted = wantedChecksum(entry, options.sha256);
  try {
    await mkdir(work, { recursive: true });
  } catch (error) {
    throw diskError(error, modelsDir);
  }
  const unlock = await lockPull(`${work}.lock`);
  try {
    const before = await packageBefore(modelsDir, entry, wanted);
    if (before.kind === 'right') {
      await rm(work, { recursive: true, force: true });
      await options.tryModel(filesOf(before.manifest, folder, folder));
      return { outcome: 'present', folder, sha256: before.sha256, bytes: before.bytes, pinned: false };
    }
    const checksum = before.kind === 'damaged' ? before.sha256 : wanted;
    const file = await fetchFile(entry, join(work, 'model.onnx'), checksum, options);
    const manifest = before.kind === 'damaged' ? before.manifest : packageManifest(entry, file);
    try {
      await options.tryModel(filesOf(manifest, work, folder));
    } catch (error) {
      // Kept, it would be what the next pull finds complete.
      await rm(work, { recursive: true, force: true });
      throw error;
    }
    if (before.kind === 'damaged') {
      await rename(join(work, 'model.onnx'), join(folder, 'model.onnx'));
      await syncFolder(folder);
      await rm(work, { recursive: true, force: true });
      return { outcome: 'repaired', folder, ...file, pinned: false };
    }
    await install(manifest, { work, folder, modelsDir });
    return { outcome: 'installed', folder, ...file, pinned: wanted === undefined };
  } catch (error) {
    throw diskError(error, work);
  } finally {
    await unlock();
  }
}

function wantedChecksum(entry: RegistryEntry, asked: string | undefined): string | undefined {
  const published = entry.file.sha256 ?? undefined;
  if (asked !== undefined && published !== undefined && asked !== published) {
    throw new ModelPullError('wrong_checksum', `The registry has another SHA-256 for ${entry.id}: ${published}`);
  }
  return asked ?? published;
}

type Before =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'right' | 'damaged';
      readonly manifest: ModelManifest;
      readonly sha256: string;
      readonly bytes: number;
    };

/** What lies in the models folder under this id. A package whose manifest pins another file is not touched. */
async function packageBefore(modelsDir: string, entry: RegistryEntry, wanted: string | undefined): Promise<Before> {
  const folder = join(modelsDir, entry.id);
  if (!(await exists(folder))) return { kind: 'none' };
  const checks = await verifyModelPackage(modelsDir, entry.id);
  const problemOf = (file: ModelFileCheck['file']) => checks.find((check) => check.file === file)?.problem;
  const problem = problemOf('manifest.json');
  if (problem) throw occupied(folder, `its manifest.json ${problem}`);
  const manifest = manifestSchema.parse(JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')));
  const { sha256, bytes } = manifest.model;
  if (wanted !== undefined && sha256 !== wanted) throw occupied(folder, `it is of the file with SHA-256 ${sha256}`);
  return { kind: problemOf('model.onnx') ? 'damaged' : 'right', manifest, sha256, bytes };
}

/** The model file in `folder`, with what belongs to it in the package. */
function filesOf(manifest: ModelManifest, folder: string, packageFolder: string): ModelFiles {
  return {
    manifest,
    modelPath: join(folder, 'model.onnx'),
    speechDetectorPath: manifest.speechDetector && join(packageFolder, 'speech.onnx'),
  };
}

function occupied(folder: string, why: string): ModelPullError {
  return new ModelPullError('occupied', `${folder} exists, but ${why}. Move it away and pull again`);
}

async function fetchFile(
  entry: RegistryEntry,
  path: string,
  checksum: string | undefined,
  options: PullOptions,
): Promise<{ sha256: string; bytes: number }> {
  const part = await PartFile.open(path);
  try {
    await requireFreeSpace(entry, part, options.modelsDir);
    if (options.from?.kind === 'file') await copyFile(options.from.path, part, entry, options);
    else await download(entry, part, options);
    await part.sync();
    const { size } = part;
    const { bytes } = entry.file;
    if (size === 0 || (bytes !== null && size !== bytes)) {
      await part.restart(undefined);
      throw new ModelPullError('wrong_size', `The file has ${size} bytes, the registry says ${bytes ?? 'at least 1'}`);
    }
    const sha256 = await part.sha256();
    if (checksum !== undefined && sha256 !== checksum) {
      await part.restart(undefined);
      throw new ModelPullError(
        'wrong_checksum',
        `The file that came is not the one that is wanted: SHA-256 ${sha256} instead of ${checksum}. It was thrown away`,
      );
    }
    return { sha256, bytes: size };
  } finally {
    await part.close();
  }
}

async function requireFreeSpace(entry: RegistryEntry, part: PartFile, modelsDir: string): Promise<void> {
  const { bavail, bsize } = await statfs(modelsDir);
  const needed = (entry.file.bytes ?? 0) - part.size;
  if (needed > bavail * bsize) {
    throw new ModelPullError(
      'disk_full',
      `${entry.id} needs ${needed} bytes, ${modelsDir} has room for ${bavail * bsize}`,
    );
  }
}

async function download(entry: RegistryEntry, part: PartFile, options: PullOptions): Promise<void> {
  const { from, allowPrivateNetwork } = options;
  const url = from?.kind === 'url' ? from.url : entry.file.url;
  const policy: ModelUrlPolicy = {
    hosts: from?.kind === 'url' ? [hostOf(url), ...entry.file.hosts] : entry.file.hosts,
    // Who names a mirror on the command line knows where it lies.
    allowPrivateNetwork: allowPrivateNetwork || from?.kind === 'url',
    allowPlainHttp: allowPrivateNetwork,
  };
  const dispatcher = createGuardedAgent({
    allowPrivateNetwork: policy.allowPrivateNetwork,
    timeoutMs: options.silenceMs ?? SILENCE_MS,
    resolve: undefined,
  });
  try {
    await downloadFile(part, {
      url,
      policy,
      dispatcher,
      expectedBytes: entry.file.bytes,
      maxBytes: entry.file.maxBytes,
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      retries: options.retries ?? RETRIES,
      backOff: options.backOff ?? exponentialBackOff,
      onProgress: options.onProgress,
      onNote: options.onNote,
    });
  } finally {
    await dispatcher.destroy();
  }
}

async function copyFile(path: string, part: PartFile, entry: RegistryEntry, options: PullOptions): Promise<void> {
  const size = await stat(path).then(
    (found) => (found.isFile() ? found.size : undefined),
    () => undefined,
  );
  if (size === undefined) throw new ModelPullError('unreadable', `${path} is not a file that can be read`);
  if (size > entry.file.maxBytes) {
    throw new ModelPullError('too_large', `${path} is larger than the ${entry.file.maxBytes} bytes that are taken`);
  }
  await part.restart(undefined);
  for await (const chunk of createReadStream(path)) {
    await part.append(chunk as Uint8Array);
    options.onProgress(part.size, size);
  }
}

async function install(
  manifest: ModelManifest,
  { work, folder, modelsDir }: { readonly work: string; readonly folder: string; readonly modelsDir: string },
): Promise<void> {
  const file = await open(join(work, 'manifest.json'), 'w', 0o644);
  try {
    await writeFile(file, `${JSON.stringify(manifest, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rm(originPath(join(work, 'model.onnx')), { force: true });
  await syncFolder(work);
  await rename(work, folder);
  await syncFolder(modelsDir);
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function hostOf(url: string): string {
  try {
    return new URL(url).hostname;
  } catch {
    throw new ModelPullError('refused_url', 'The address of the mirror is not a URL');
  }
}

async function exponentialBackOff(fruitless: number, signal: AbortSignal): Promise<void> {
  await delay(1000 * 2 ** (fruitless - 1), undefined, { signal });
}
