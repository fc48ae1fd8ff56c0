/**
 * The service's recording decoder: recognises the format, admits a bounded number of recordings, decodes them in threads
 * of their own (or by ffmpeg), and gives up on those that take too long.
 */
import type { RecordingsConfig } from '../config/config.js';
import { VoiceAuthError } from '../domain/errors.js';
import type { DecodedRecording, RecordingDecoder } from '../domain/ports/recordings.js';
import { linkSignals } from '../domain/timing/linked-signal.js';
import { joinChunks } from './byte-chunks.js';
import { cancelled } from './cancelled.js';
import { DecodeThread, type ThreadJob, type ThreadOutcome } from './decode-thread.js';
import { unsupportedAudio } from './decoding-errors.js';
import { convertWithFfmpeg, findProgram } from './ffmpeg.js';
import { type BuiltInDecoder, type SniffedFormat, sniffFormat } from './sniff-format.js';
import { ThreadQueue } from './thread-queue.js';

export interface WorkerRecordingDecoderOptions {
  /** The compiled `decode-worker.js`; default: beside this module. */
  readonly workerModule?: URL;
  /** Recordings decoded at once. Default 1: a decode takes a fraction of a second and competes with inference. */
  readonly threads?: number;
  /** Recordings that may wait; more are `Busy`. Default 16. */
  readonly maxWaiting?: number;
  /** Longest wait, after which a recording is `Busy`. Default 10 s. */
  readonly queueTimeoutMs?: number;
  /** Longest decode, after which it is an `AudioProcessingError`. Default 5 s and 1/20 of the duration allowed. */
  readonly decodeTimeoutMs?: number;
}

export class WorkerRecordingDecoder implements RecordingDecoder {
  readonly #maxDurationMs: number;
  readonly #decodeTimeoutMs: number;
  readonly #ffmpeg: string | undefined;
  readonly #threads: ThreadQueue;
  readonly #closing = new AbortController();

  constructor(config: RecordingsConfig, options: WorkerRecordingDecoderOptions = {}) {
    const module = options.workerModule ?? new URL('./decode-worker.js', import.meta.url);
    this.#maxDurationMs = config.maxDurationMs;
    this.#decodeTimeoutMs = options.decodeTimeoutMs ?? 5000 + config.maxDurationMs / 20;
    this.#ffmpeg = findProgram('ffmpeg', config.programSearchPath);
    this.#threads = new ThreadQueue(
      Array.from({ length: options.threads ?? 1 }, () => new DecodeThread(module)),
      { maxWaiting: options.maxWaiting ?? 16, queueTimeoutMs: options.queueTimeoutMs ?? 10_000 },
    );
  }

  /**
   * Decodes a whole recording; `bytes` stays the caller's. What is whole of a damaged recording is decoded. Throws
   * `UnsupportedAudioError` (not audio, an unknown codec, more than two channels, a rate outside 8 to 48 kHz),
   * `AudioProcessingError` (nothing could be decoded, longer than allowed, took too long), `Busy` (too many wait) and, when
   * aborted, the abort reason if it is a `VoiceAuthError`, else `Timeout`.
   */
  async decode(bytes: Uint8Array, options: { readonly signal: AbortSignal }): Promise<DecodedRecording> {
    const { signal } = options;
    if (bytes.length === 0) throw new VoiceAuthError('AudioProcessingError', 'The recording is empty.');
    const format = sniffFormat(bytes);
    if (format === undefined) throw unsupportedAudio('The file is not audio in a format that is known here.');
    const thread = await this.#threads.acquire(signal);
    const work = this.#decodeOn(thread, { bytes, format, signal }).finally(() => this.#threads.release(thread));
    return await unlessAborted(work, signal);
  }

  /** Ends the threads; recordings that wait or are being decoded fail. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#threads.close();
  }

  async #decodeOn(thread: DecodeThread, recording: Recording): Promise<DecodedRecording> {
    const { bytes, format } = recording;
    const { name, decoder, offset } = format;
    const startedAt = performance.now();
    let unreadable = `${name} recordings`;
    if (decoder !== undefined) {
      // A copy in a buffer of its own, because that is handed over to the thread for good.
      const job = this.#job(decoder, name, await joinChunks([bytes.subarray(offset)]));
      const outcome = await thread.run(job, this.#decodeTimeoutMs);
      if (outcome.kind !== 'external') return recordingOf(outcome, name);
      unreadable = outcome.message;
    }
    if (this.#ffmpeg === undefined) {
      throw unsupportedAudio(
        `The recording cannot be read here without ffmpeg, which is not installed: ${unreadable}.`,
      );
    }
    const remainingMs = Math.max(1, this.#decodeTimeoutMs - (performance.now() - startedAt));
    const wav = await this.#convert(this.#ffmpeg, recording, remainingMs);
    return recordingOf(await thread.run(this.#job('wav', name, wav), this.#decodeTimeoutMs), name);
  }

  async #convert(program: string, recording: Recording, timeoutMs: number): Promise<Uint8Array<ArrayBuffer>> {
    const { bytes, format, signal } = recording;
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), timeoutMs);
    const either = linkSignals([signal, deadline.signal, this.#closing.signal]);
    try {
      return await convertWithFfmpeg({
        program,
        bytes: bytes.subarray(format.offset),
        format: format.name,
        demuxer: format.demuxer,
        maxDurationMs: this.#maxDurationMs,
        signal: either.signal,
      });
    } catch (error) {
      throw deadline.signal.aborted ? tookTooLong(format.name) : error;
    } finally {
      either.unlink();
      clearTimeout(timer);
    }
  }

  #job(decoder: BuiltInDecoder, format: string, bytes: Uint8Array<ArrayBuffer>): ThreadJob {
    return { decoder, format, bytes, maxDurationMs: this.#maxDurationMs };
  }
}

interface Recording {
  readonly bytes: Uint8Array;
  readonly format: SniffedFormat;
  readonly signal: AbortSignal;
}

function recordingOf(outcome: ThreadOutcome, format: string): DecodedRecording {
  switch (outcome.kind) {
    case 'decoded':
      return outcome.recording;
    case 'failed':
      throw new VoiceAuthError(outcome.code, outcome.message, { details: outcome.details });
    case 'external':
      throw unsupportedAudio(`The recording cannot be read here: ${outcome.message}.`);
    case 'timed_out':
      throw tookTooLong(format);
    case 'crashed':
      throw new VoiceAuthError('AudioProcessingError', `The recording (${format}) could not be decoded.`);
    case 'unavailable':
      throw new VoiceAuthError('InternalError', 'The decoder of recordings is not available.');
  }
}

function tookTooLong(format: string): VoiceAuthError {
  return new VoiceAuthError('AudioProcessingError', `The recording (${format}) took too long to decode.`);
}

/** The work's outcome, or a rejection as soon as the signal is aborted; the work itself goes on to its own end. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(cancelled(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
