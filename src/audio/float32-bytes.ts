/** Samples and embeddings as bytes: little-endian float32, whatever the machine. */

/** Four bytes per value. */
export function toFloat32Bytes(values: Float32Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (let i = 0; i < values.length; i++) view.setFloat32(i * 4, values[i]!, true);
  return new Uint8Array(view.buffer);
}

/** The values in `bytes`, which may begin anywhere in its buffer; what is left of a last value is ignored. */
export function fromFloat32Bytes(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.length >> 2 }, (_, i) => view.getFloat32(i * 4, true));
}
