/**
 * Unpacks the database snapshot straight onto the disk: letting the database load it would start and stop PostgreSQL once
 * more. Reads the plain ustar that the build step packs (files and folders, short names) and nothing beyond.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const BLOCK_BYTES = 512;
const REGULAR_FILE = new Set(['0', '\0']);
const FOLDER = '5';

/**
 * Writes the entries of a tar archive below `folder` (created), files with mode 600 and folders with 700. Synchronous:
 * runs in the database's own thread. Throws for a malformed archive, another kind of entry, or a name that would lead
 * out of the folder.
 */
export function unpackTar(archive: Uint8Array, folder: string): void {
  const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  let offset = 0;
  while (offset + BLOCK_BYTES <= bytes.length && bytes[offset] !== 0) {
    const header = bytes.subarray(offset, offset + BLOCK_BYTES);
    checkSum(header);
    const path = join(folder, safeName(text(header, 0, 100)));
    const sizeText = text(header, 124, 12).trim();
    const size = Number.parseInt(sizeText, 8);
    const end = offset + BLOCK_BYTES + size;
    if (!/^[0-7]+$/.test(sizeText) || end > bytes.length) throw new Error('tar: an entry is cut short');
    const kind = String.fromCharCode(header[156] ?? 0);
    if (kind === FOLDER) mkdirSync(path, { recursive: true, mode: 0o700 });
    else if (REGULAR_FILE.has(kind)) writeFileSync(path, bytes.subarray(offset + BLOCK_BYTES, end), { mode: 0o600 });
    else throw new Error('tar: an entry is neither file nor folder');
    offset = Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES;
  }
}

function safeName(name: string): string {
  const parts = name.split('/').filter((part) => part !== '');
  if (parts.length === 0 || parts.some((part) => part === '..' || part === '.')) throw new Error('tar: unusable name');
  return parts.join('/');
}

/** Sum of the header's bytes with the checksum field read as spaces (POSIX.1-1988 ustar). */
function checkSum(header: Buffer): void {
  let sum = 0;
  for (const [index, byte] of header.entries()) sum += index >= 148 && index < 156 ? 0x20 : byte;
  if (Number.parseInt(text(header, 148, 8), 8) !== sum) throw new Error('tar: damaged header');
}

function text(header: Buffer, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end < 0 ? length : end);
}
