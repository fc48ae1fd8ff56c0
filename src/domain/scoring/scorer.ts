/** From two embeddings to a false-match probability: cosine -> normScore -> fmr, for one model. */
import { type Calibration, impostorFmr } from './calibration.js';
import { cosine } from './embedding.js';
import { Cohort, normaliseScore } from './score-normalisation.js';

export interface ComparisonScore {
  readonly cosine: number;
  readonly normScore: number;
  /** Probability that a random other speaker with this much speech scores at least this high, in (0, 1]. */
  readonly fmr: number;
}

/** Compares probes with one reference (the centroid of a voiceprint), whose cohort statistics are computed once. */
export interface ReferenceScorer {
  /** `probe`: pooled unit embedding made from `netSpeechMs` of speech. */
  compare(probe: Float32Array, netSpeechMs: number): ComparisonScore;
}

export class SpeakerScorer {
  readonly calibration: Calibration;
  private readonly cohort: Cohort;

  /** `cohortRows`: unit embeddings of other speakers, row after row, of `dimensions` values each. */
  constructor(cohortRows: Float32Array, dimensions: number, options: { readonly calibration: Calibration }) {
    this.calibration = options.calibration;
    this.cohort = new Cohort(cohortRows, dimensions, { top: options.calibration.cohortTop });
  }

  /** A scorer for probes against `reference` (unit length). */
  against(reference: Float32Array): ReferenceScorer {
    const referenceStatistics = this.cohort.statistics(reference);
    return {
      compare: (probe, netSpeechMs) => {
        const raw = cosine(reference, probe);
        const normScore = normaliseScore(raw, referenceStatistics, this.cohort.statistics(probe));
        return { cosine: raw, normScore, fmr: impostorFmr(this.calibration, normScore, netSpeechMs) };
      },
    };
  }
}
