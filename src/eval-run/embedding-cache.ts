/**
 * Embeddings on disk, one file per recording and condition, named by a hash of everything they depend on: the bytes of
 * the recording and the stretches of it, the condition and what is drawn at random in it, the model's weights and front end, and the pipeline version. An evaluation that
 * was interrupted goes on where it was. Embeddings are biometric data: the folder is readable by its owner only.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fromFloat32Bytes, toFloat32Bytes } from '../audio/float32-bytes.js';

export interface EmbeddedSegment {
  /** Net speech the embedding was made from. */
  readonly netSpeechMs: number;
  readonly embedding: Float32Array;
}

export interface EmbeddedRecording {
  /** All net speech that was heard. */
  readonly netSpeechMs: number;
  /** By name of the segment; empty when there was too little speech. */
  readonly segments: ReadonlyMap<string, EmbeddedSegment>;
}

const fileSchema = z.object({
  netSpeechMs: z.number().nonnegative(),
  segments: z.record(z.string(), z.object({ netSpeechMs: z.number().positive(), embedding: z.base64() })),
});

export class EmbeddingCache {
  constructor(private readonly folder: string) {}

  /** Name of a file that depends on all the parts, and on where one ends and the next begins. */
  static key(parts: readonly (string | Uint8Array)[]): string {
    const hash = createHash('sha256');
    for (const part of parts) {
      const bytes = typeof part === 'string' ? Buffer.from(part) : part;
      hash.update(`${bytes.length}:`).update(bytes);
    }
    return hash.digest('hex');
  }

  /** Undefined when there is no such file or it is damaged: then it is made again. */
  async read(key: string): Promise<EmbeddedRecording | undefined> {
    try {
      const file = fileSchema.parse(JSON.parse(await readFile(this.path(key), 'utf8')));
      const segments = Object.entries(file.segments).map(
        ([name, segment]) =>
          [
            name,
            { netSpeechMs: segment.netSpeechMs, embedding: fromFloat32Bytes(Buffer.from(segment.embedding, 'base64')) },
          ] as const,
      );
      return { netSpeechMs: file.netSpeechMs, segments: new Map(segments) };
    } catch {
      return undefined;
    }
  }

  /** Replaces the file as a whole, so that an interruption leaves the old one or none. */
  async write(key: string, recording: EmbeddedRecording): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const segments = [...recording.segments].map(([name, { netSpeechMs, embedding }]) => [
      name,
      { netSpeechMs, embedding: Buffer.from(toFloat32Bytes(embedding)).toString('base64') },
    ]);
    const text = JSON.stringify({ netSpeechMs: recording.netSpeechMs, segments: Object.fromEntries(segments) });
    const temporary = join(this.folder, `${key}.${randomUUID()}.tmp`);
    try {
      await writeFile(temporary, text, { mode: 0o600 });
      await rename(temporary, this.path(key));
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  private path(key: string): string {
    return join(this.folder, `${key}.json`);
  }
}
