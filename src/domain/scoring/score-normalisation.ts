/**
 * Adaptive symmetric score normalisation (AS-norm): a raw cosine is judged by how the same two embeddings score against
 * the cohort speakers most like them. Matejka et al., "Analysis of Score Normalization in Multilingual Speaker
 * Recognition", Interspeech 2017, eq. 4.
 */

export interface CohortStatistics {
  readonly mean: number;
  readonly deviation: number;
}

export class Cohort {
  readonly size: number;
  private readonly rows: Float32Array;
  private readonly dimensions: number;
  private readonly top: number;

  /** `rows`: unit embeddings of other speakers, row after row. `top`: how many of the closest make the statistics. */
  constructor(rows: Float32Array, dimensions: number, options: { readonly top: number }) {
    if (dimensions < 1 || rows.length % dimensions !== 0) throw new RangeError('cohort is not a whole number of rows');
    this.rows = rows;
    this.dimensions = dimensions;
    this.size = rows.length / dimensions;
    this.top = Math.min(options.top, this.size);
    if (this.top < 2) throw new RangeError('a cohort needs at least two speakers');
  }

  /** Mean and standard deviation of the cosines between `embedding` and its `top` closest cohort speakers. */
  statistics(embedding: Float32Array): CohortStatistics {
    if (embedding.length !== this.dimensions) throw new RangeError('embedding and cohort differ in size');
    const cosines = new Float64Array(this.size);
    for (let row = 0, offset = 0; row < this.size; row++, offset += this.dimensions) {
      let sum = 0;
      for (let i = 0; i < this.dimensions; i++) sum += embedding[i]! * this.rows[offset + i]!;
      cosines[row] = sum;
    }
    cosines.sort();
    const closest = cosines.subarray(this.size - this.top);
    const mean = closest.reduce((total, value) => total + value, 0) / this.top;
    const variance = closest.reduce((total, value) => total + (value - mean) ** 2, 0) / this.top;
    // A floor, so that a degenerate cohort cannot make every score infinite.
    return { mean, deviation: Math.max(Math.sqrt(variance), 1e-4) };
  }
}

/** `normScore`: mean of the two z-normalised cosines. Unitless; larger means more alike than other speakers are. */
export function normaliseScore(rawCosine: number, reference: CohortStatistics, probe: CohortStatistics): number {
  return 0.5 * ((rawCosine - reference.mean) / reference.deviation + (rawCosine - probe.mean) / probe.deviation);
}
