/**
 * Decoding by an `ffmpeg` that the operator has installed, for formats this service cannot read itself. The recording goes
 * in and out through pipes; the program gets no environment, may open nothing else, and is told the format, so that no
 * file can make it read files or URLs of its choice.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { VoiceAuthError } from '../domain/errors.js';
import { joinChunks } from './byte-chunks.js';
import { checkAudioShape, recordingTooLong, undecodableAudio } from './decoding-errors.js';
import { moveIndexToFront } from './mp4-faststart.js';

export interface FfmpegJob {
  /** Path of the program. */
  readonly program: string;
  readonly bytes: Uint8Array;
  readonly format: string;
  /** ffmpeg's name for the container. */
  readonly demuxer: string;
  readonly maxDurationMs: number;
  /** Kills the program when aborted. */
  readonly signal: AbortSignal;
}

/** What is decoded beyond the duration allowed, so that too long can be told from just long enough. */
const EXTRA_MS = 1000;
const WAV_HEADER_BYTES = 44;
const SAMPLE_BYTES = 2;

/** Absolute path of an executable in a search path like `PATH`, or undefined. Relative entries are ignored. */
export function findProgram(name: string, searchPath: string): string | undefined {
  for (const folder of searchPath.split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder: go on with the next.
    }
  }
  return undefined;
}

/**
 * The first audio track as a WAV file (16 bit) with a header of unknown length. Throws `UnsupportedAudioError` for a shape that
 * is not supported and `AudioProcessingError` when nothing could be decoded, for too much audio and when aborted.
 */
export async function convertWithFfmpeg(job: FfmpegJob): Promise<Uint8Array<ArrayBuffer>> {
  const input = job.demuxer === 'mov' ? moveIndexToFront(job.bytes) : job.bytes;
  const child = spawn(job.program, ffmpegArguments(job), { stdio: ['pipe', 'pipe', 'ignore'], env: {} });
  const closed = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', () => resolve());
  });
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  job.signal.addEventListener('abort', kill, { once: true });
  if (job.signal.aborted) kill();
  // The program may end before it has read everything: that is its right, and no fault.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  try {
    const output = await collect(child.stdout, job);
    await closed;
    if (output.length <= WAV_HEADER_BYTES || job.signal.aborted) throw undecodableAudio(job.format);
    return output;
  } catch (error) {
    throw error instanceof VoiceAuthError ? error : undecodableAudio(job.format);
  } finally {
    kill();
    job.signal.removeEventListener('abort', kill);
  }
}

function ffmpegArguments(job: FfmpegJob): string[] {
  const seconds = (job.maxDurationMs + EXTRA_MS) / 1000;
  return [
    ...['-nostdin', '-hide_banner', '-loglevel', 'quiet'],
    ...['-protocol_whitelist', 'pipe', '-threads', '1', '-f', job.demuxer, '-i', 'pipe:0'],
    ...['-map', '0:a:0', '-map_metadata', '-1', '-bitexact', '-t', String(seconds)],
    ...['-c:a', 'pcm_s16le', '-f', 'wav', 'pipe:1'],
  ];
}

/** Reads the output, refusing a bad shape at the header and too much audio as soon as it is too much. */
async function collect(stdout: AsyncIterable<Buffer>, job: FfmpegJob): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  let length = 0;
  let bytesPerMs: number | undefined;
  for await (const chunk of stdout) {
    chunks.push(chunk);
    length += chunk.length;
    if (bytesPerMs === undefined && length >= WAV_HEADER_BYTES) {
      const header = Buffer.concat(chunks);
      const channels = header.readUInt16LE(22);
      const sampleRateHz = header.readUInt32LE(24);
      checkAudioShape(channels, sampleRateHz);
      bytesPerMs = (channels * SAMPLE_BYTES * sampleRateHz) / 1000;
    }
    const foundMs = bytesPerMs === undefined ? 0 : (length - WAV_HEADER_BYTES) / bytesPerMs;
    if (foundMs > job.maxDurationMs) throw recordingTooLong(foundMs, job.maxDurationMs);
  }
  return await joinChunks(chunks);
}
