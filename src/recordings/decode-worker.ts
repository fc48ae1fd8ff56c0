/**
 * Thread that decodes recordings, so that neither the time nor a crash of a decoder reaches the server's event loop. It
 * knows nothing but the bytes it is given.
 */
import { parentPort } from 'node:worker_threads';
import { type ErrorCode, VoiceAuthError } from '../domain/errors.js';
import type { DecodedRecording } from '../domain/ports/recordings.js';
import { type DecodingJob, decodeRecording } from './decode-recording.js';
import { ExternalDecoderNeeded } from './decoding-errors.js';

/** What the thread says: once `ready`, then one reply per job. */
export type WorkerMessage = { readonly kind: 'ready' } | DecodeReply;

export type DecodeReply =
  | { readonly kind: 'decoded'; readonly recording: DecodedRecording }
  | { readonly kind: 'external'; readonly message: string }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string; readonly details: unknown };

const port = parentPort;
if (port === null) throw new Error('this module runs in a worker thread');

// The decoder libraries report every damaged frame on the console: thousands of lines for one bad file.
for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const) console[method] = () => undefined;

port.on('message', (job: DecodingJob) => {
  void answer(job).then((reply) => {
    // Arrays may share a buffer (views of one piece); a buffer can be handed over only once.
    const buffers =
      reply.kind === 'decoded' ? new Set(reply.recording.channels.map(({ buffer }) => buffer as ArrayBuffer)) : [];
    port.postMessage(reply, [...buffers]);
  });
});
port.postMessage({ kind: 'ready' } satisfies WorkerMessage);

async function answer(job: DecodingJob): Promise<DecodeReply> {
  try {
    return { kind: 'decoded', recording: await decodeRecording(job) };
  } catch (error) {
    if (error instanceof ExternalDecoderNeeded) return { kind: 'external', message: error.message };
    if (error instanceof VoiceAuthError) {
      return { kind: 'failed', code: error.code, message: error.message, details: error.details };
    }
    return {
      kind: 'failed',
      code: 'AudioProcessingError',
      message: `The recording (${job.format}) could not be decoded.`,
      details: { format: job.format },
    };
  }
}
