/**
 * A file that is on its way: its bytes, and beside them what they are the beginning of, so that a later process can go on
 * where this one stops. Bytes of which that is not known are worth nothing and are dropped.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { constants, type FileHandle, open, readFile, rm, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { diskError } from './model-pull-error.js';

const originSchema = z.strictObject({ url: z.string(), etag: z.string() });

/** What the bytes are the beginning of: a URL and the strong ETag it had. */
export type PartOrigin = z.output<typeof originSchema>;

export class PartFile {
  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    private length: number,
    private known: PartOrigin | undefined,
  ) {}

  /** Opens or creates the file. Throws `ModelPullError` when the folder cannot be written. */
  static async open(path: string): Promise<PartFile> {
    try {
      const handle = await open(path, constants.O_RDWR | constants.O_CREAT, 0o644);
      const { size } = await handle.stat();
      const part = new PartFile(path, handle, size, await readOrigin(path));
      if (size > 0 && !part.known) await part.restart(undefined);
      return part;
    } catch (error) {
      throw diskError(error, path);
    }
  }

  get size(): number {
    return this.length;
  }

  get origin(): PartOrigin | undefined {
    return this.known;
  }

  /** Drops all bytes; those that follow are of `origin`, or, if undefined, cannot be continued by another request. */
  async restart(origin: PartOrigin | undefined): Promise<void> {
    await this.onDisk(async () => {
      // In this order: bytes never lie beside the origin of others.
      await rm(originPath(this.path), { force: true });
      if (this.length > 0) await this.handle.truncate(0);
      this.length = 0;
      this.known = origin;
      if (origin) await writeFile(originPath(this.path), JSON.stringify(origin));
    });
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.onDisk(async () => {
      for (let written = 0; written < bytes.length; ) {
        const rest = bytes.subarray(written);
        const { bytesWritten } = await this.handle.write(rest, 0, rest.length, this.length);
        written += bytesWritten;
        this.length += bytesWritten;
      }
    });
  }

  /** Of what lies on the disk. */
  async sha256(): Promise<string> {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(this.path)) hash.update(chunk);
    return hash.digest('hex');
  }

  /** Makes sure that the bytes survive a loss of power. */
  async sync(): Promise<void> {
    await this.onDisk(() => this.handle.sync());
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  private async onDisk(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw diskError(error, this.path);
    }
  }
}

/** Where the origin of a part is noted. */
export function originPath(path: string): string {
  return `${path}.origin`;
}

async function readOrigin(path: string): Promise<PartOrigin | undefined> {
  try {
    return originSchema.parse(JSON.parse(await readFile(originPath(path), 'utf8')));
  } catch {
    return undefined;
  }
}
