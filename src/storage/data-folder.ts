/**
 * The data folder and the small secrets in it (encryption key, development API key): only their owner may read them, and
 * they are never half-written.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The data folder cannot be used as it is; the message says what to do. */
export class DataFolderError extends Error {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.name = 'DataFolderError';
  }
}

const MAX_SECRET_BYTES = 64 * 1024;

/**
 * Creates the folder (mode 700) if it is missing. One that exists keeps its mode (a mounted volume often cannot change
 * it), but must not be writable by everyone. Throws `DataFolderError`.
 */
export async function prepareDataFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { mode } = await stat(folder);
    if ((mode & 0o002) !== 0) {
      throw new DataFolderError(`${folder} can be written to by everyone; run: chmod 700 ${quoted(folder)}`);
    }
  } catch (error) {
    if (error instanceof DataFolderError) throw error;
    const problem =
      codeOf(error) === 'EEXIST' ? 'is a file, not a folder' : `cannot be used as data folder (${codeOf(error)})`;
    throw new DataFolderError(`${folder} ${problem}; set DATA_DIR`, { cause: error });
  }
}

/**
 * The secret in the file at `path`; made with `make` and written (mode 600, folder created) when there is none. When two
 * processes make one at once, both return the one that was written first. Throws `DataFolderError` for a file that others
 * may read, that is empty, or that cannot be read or written.
 */
export async function readOrCreateSecret(path: string, make: () => string): Promise<string> {
  const present = await readSecret(path);
  if (present !== undefined) return present;
  await prepareDataFolder(dirname(path));
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await writeDurably(temporary, `${make()}\n`);
    await link(temporary, path).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
    await unlink(temporary);
    await syncFolder(dirname(path));
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw new DataFolderError(`${path} cannot be written (${codeOf(error)})`, { cause: error });
  }
  const written = await readSecret(path);
  if (written === undefined) throw new DataFolderError(`${path} vanished while it was being created`);
  return written;
}

/** The secret in the file at `path`, or undefined when there is no such file. Throws like `readOrCreateSecret`. */
export async function readSecret(path: string): Promise<string | undefined> {
  let content: string;
  try {
    const file = await open(path, 'r');
    try {
      const { mode, size } = await file.stat();
      if ((mode & 0o077) !== 0) {
        throw new DataFolderError(`${path} can be read by other users; run: chmod 600 ${quoted(path)}`);
      }
      if (size > MAX_SECRET_BYTES) throw new DataFolderError(`${path} is too large to be a secret`);
      content = (await file.readFile('utf8')).trim();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof DataFolderError) throw error;
    if (codeOf(error) === 'ENOENT') return undefined;
    throw new DataFolderError(`${path} cannot be read (${codeOf(error)})`, { cause: error });
  }
  if (content === '') throw new DataFolderError(`${path} is empty; restore it, or delete it to have a new one made`);
  return content;
}

async function writeDurably(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function codeOf(error: unknown): string {
  const code = (error as { readonly code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'unknown error';
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`;
}
