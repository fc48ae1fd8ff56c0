/**
 * Does the calibration still hold on this deployment's calls? Every verified voice is also compared with voiceprints of a few
 * other people, which tells how impostors really score here. Nothing of it is kept but counts: references stay in memory,
 * the newest few and only for some minutes, so that nobody's voiceprint serves here long after it was erased, wherever that
 * was done; and who they are of goes no further.
 */
import type { Metrics } from '../../observability/metrics.js';
import type { Voiceprint } from '../ports/auth-store.js';
import type { ReferenceScorer, SpeakerScorer } from '../scoring/scorer.js';

export interface DriftMonitorDeps {
  readonly scorer: SpeakerScorer;
  readonly metrics: Pick<Metrics, 'impostorComparisons' | 'impostorExceedances' | 'impostorDrift'>;
  /** In [0, 1); default `Math.random`. */
  readonly random?: () => number;
}

/** One verified voice. */
export interface VerifiedVoice {
  readonly userId: string;
  readonly voiceprint: Voiceprint;
  readonly probe: Float32Array;
  readonly netSpeechMs: number;
}

/** False-match rates at which claim and observation are compared. */
export const DRIFT_LEVELS = [0.1, 0.01] as const;
const MAX_REFERENCES = 32;
/** From the verification that a reference comes from. */
const REFERENCE_LIFE_MS = 600_000;
const COMPARISONS_PER_VOICE = 4;
/** Comparisons that the gauge looks back on, and how many it takes before it says anything. */
const WINDOW = 5_000;
const MIN_COMPARISONS = 500;

interface Reference {
  readonly version: number;
  readonly scorer: ReferenceScorer;
  /** As `performance.now()` counts. */
  readonly endsAt: number;
}

export class DriftMonitor {
  private readonly deps: DriftMonitorDeps;
  /** By user, the one verified last at the end. */
  private readonly references = new Map<string, Reference>();
  private readonly rates = new Float64Array(WINDOW);
  private compared = 0;
  private expiry: NodeJS.Timeout | undefined;

  constructor(deps: DriftMonitorDeps) {
    this.deps = deps;
  }

  /** Compares the voice with other people's voiceprints and remembers its own user's for the voices to come. */
  observe({ userId, voiceprint, probe, netSpeechMs }: VerifiedVoice): void {
    this.expire();
    const others = [...this.references].filter(([other]) => other !== userId).map(([, { scorer }]) => scorer);
    for (let left = Math.min(COMPARISONS_PER_VOICE, others.length); left > 0; left--) {
      const index = Math.floor((this.deps.random ?? Math.random)() * others.length);
      const [other] = others.splice(index, 1);
      if (other) this.count(other.compare(probe, netSpeechMs).fmr);
    }
    this.remember(userId, voiceprint);
  }

  /** Whose voiceprints it holds. */
  people(): string[] {
    return [...this.references.keys()];
  }

  /** Drops the voiceprint of somebody who was erased. */
  forget(userId: string): void {
    this.references.delete(userId);
  }

  private count(fmr: number): void {
    const { impostorComparisons, impostorExceedances, impostorDrift } = this.deps.metrics;
    this.rates[this.compared++ % WINDOW] = fmr;
    impostorComparisons.inc();
    const window = this.rates.subarray(0, Math.min(this.compared, WINDOW));
    for (const level of DRIFT_LEVELS) {
      const claimed = String(level);
      if (fmr <= level) impostorExceedances.inc({ claimed });
      if (window.length < MIN_COMPARISONS) continue;
      const exceeding = window.reduce((total, rate) => total + (rate <= level ? 1 : 0), 0);
      impostorDrift.set({ claimed }, exceeding / window.length / level);
    }
  }

  private remember(userId: string, voiceprint: Voiceprint): void {
    const known = this.references.get(userId);
    this.references.delete(userId);
    const current = known?.version === voiceprint.version;
    const scorer = current ? known.scorer : this.deps.scorer.against(voiceprint.centroid);
    const endsAt = performance.now() + REFERENCE_LIFE_MS;
    this.references.set(userId, { version: voiceprint.version, scorer, endsAt });
    this.expireLater();
    if (this.references.size <= MAX_REFERENCES) return;
    const oldest = this.references.keys().next();
    if (!oldest.done) this.references.delete(oldest.value);
  }

  private expire(): void {
    const now = performance.now();
    for (const [userId, { endsAt }] of this.references) {
      // All live equally long, so the rest lives on.
      if (endsAt > now) return;
      this.references.delete(userId);
    }
  }

  /** Also when no voice comes any more. */
  private expireLater(): void {
    const oldest = this.references.values().next();
    if (this.expiry || oldest.done) return;
    const wake = () => {
      this.expiry = undefined;
      this.expire();
      this.expireLater();
    };
    this.expiry = setTimeout(wake, oldest.value.endsAt - performance.now()).unref();
  }
}
