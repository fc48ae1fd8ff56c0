/** Reads a body to its end or its limit, whichever comes first. */
import type { IncomingMessage } from 'node:http';
import { VoiceAuthError, validationError } from '../../domain/errors.js';
import { announcedBytes } from './body-headers.js';

const FIRST_BYTES = 4_096;

export interface ReadBodyOptions {
  /** Is told the length of every piece before it is kept. */
  readonly onBytes?: (length: number) => void;
  /** Aborted when the body is not waited for any longer. */
  readonly signal?: AbortSignal;
}

/**
 * The bytes of the body. Throws `PayloadTooLarge` as soon as there are more than `maxBytes`, `ValidationError` when the
 * body breaks off, whatever `onBytes` throws, and the reason of `signal`.
 */
export async function readBody(
  req: IncomingMessage,
  maxBytes: number,
  { onBytes, signal }: ReadBodyOptions = {},
): Promise<Buffer> {
  const tooLarge = () => new VoiceAuthError('PayloadTooLarge', `The body may have ${maxBytes} bytes at most`);
  if (announcedBytes(req) > maxBytes) throw tooLarge();
  return new Promise((resolve, reject) => {
    const body = new GrowingBuffer();
    const settle = (act: () => void) => {
      req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
      signal?.removeEventListener('abort', onAbort);
      act();
    };
    const onData = (chunk: Buffer) => {
      try {
        if (body.length + chunk.length > maxBytes) throw tooLarge();
        onBytes?.(chunk.length);
        body.append(chunk);
      } catch (error) {
        settle(() => reject(error));
      }
    };
    const onEnd = () => settle(() => resolve(body.bytes()));
    const onClose = () => settle(() => reject(validationError([{ path: '', message: 'the body ended too early' }])));
    const onAbort = () => settle(() => reject(signal?.reason));
    signal?.addEventListener('abort', onAbort);
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  });
}

/** Not a list of chunks: a body sent byte by byte would cost a hundred times its length. */
class GrowingBuffer {
  private buffer = Buffer.alloc(0);
  length = 0;

  append(chunk: Buffer): void {
    const needed = this.length + chunk.length;
    if (needed > this.buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.buffer.length, FIRST_BYTES));
      this.buffer.copy(larger, 0, 0, this.length);
      this.buffer = larger;
    }
    chunk.copy(this.buffer, this.length);
    this.length = needed;
  }

  bytes(): Buffer {
    return this.buffer.subarray(0, this.length);
  }
}
