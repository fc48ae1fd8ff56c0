/** Files that somebody names on the command line. */
import { readFile } from 'node:fs/promises';
import { CommandError } from './command-error.js';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file',
  EISDIR: 'a folder',
  EACCES: 'not allowed to',
};

/** The content of a file. Throws `CommandError` that says why it cannot be read. */
export async function readInput(file: string): Promise<Buffer> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`Cannot read ${file} (${REASONS[error.code ?? ''] ?? error.code ?? 'unknown reason'})`);
  });
}
