/** Arithmetic on embeddings: unit vectors of one model. Pure numbers. */

/** Dot product of two vectors of equal length; the cosine similarity, in [-1, 1], when both are unit length. */
export function cosine(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) throw new RangeError(`embeddings of different sizes: ${a.length} and ${b.length}`);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

export interface WeightedEmbedding {
  readonly embedding: Float32Array;
  /** Net speech it was made from; any positive unit, the same for all. */
  readonly weight: number;
}

/**
 * Weighted mean of unit embeddings, scaled to unit length again: how windows become one probe and samples one centroid.
 * Throws `RangeError` when there is nothing to pool, sizes differ, or the vectors cancel out.
 */
export function poolEmbeddings(parts: readonly WeightedEmbedding[]): Float32Array {
  const first = parts[0];
  if (!first) throw new RangeError('no embeddings to pool');
  const sum = new Float64Array(first.embedding.length);
  for (const { embedding, weight } of parts) {
    if (embedding.length !== sum.length) throw new RangeError('embeddings of different sizes');
    for (let i = 0; i < sum.length; i++) sum[i]! += weight * embedding[i]!;
  }
  const norm = Math.hypot(...sum);
  if (!(norm > 1e-9) || !Number.isFinite(norm)) throw new RangeError('embeddings cancel out');
  return Float32Array.from(sum, (value) => value / norm);
}
