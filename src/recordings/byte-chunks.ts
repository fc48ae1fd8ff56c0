/** Bytes that arrive in pieces of unknown number and size. */

/**
 * All chunks in one array with a buffer of its own, so that the buffer can be handed to another thread (a `Buffer` may
 * share its with others).
 */
export function joinChunks(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.length;
  }
  return joined;
}
