/** Bytes that arrive in pieces of unknown number and size. */

import { setImmediate as nextTurn } from 'node:timers/promises';

/** Copied without a break: a few milliseconds, most of them for memory that is touched for the first time. */
const TURN_BYTES = 2 * 1024 * 1024;

/**
 * All chunks in one array with a buffer of its own, so that the buffer can be handed to another thread (a `Buffer` may
 * share its with others). Lets other work go on in between: there can be hundreds of megabytes.
 */
export async function joinChunks(chunks: readonly Uint8Array[]): Promise<Uint8Array<ArrayBuffer>> {
  const joined = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  let turnEnd = TURN_BYTES;
  for (const chunk of chunks) {
    for (let from = 0; from < chunk.length; ) {
      if (at >= turnEnd) {
        await nextTurn();
        turnEnd = at + TURN_BYTES;
      }
      const piece = chunk.subarray(from, from + turnEnd - at);
      joined.set(piece, at);
      at += piece.length;
      from += piece.length;
    }
  }
  return joined;
}
