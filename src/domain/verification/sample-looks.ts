/**
 * The looks at speech that is to be added to a voiceprint. An accept says nothing about what is said after it, and little
 * about a part of what it was made from: whoever is handed the phone would be enrolled along with its owner. So the sample
 * is made of stretches, each as short as may be decided on, and each has to be accepted by itself, like a verification of
 * its own: what is not is listened to on, as there. A rest that is too short for that is looked at along with speech before it.
 */
import type { CallerSpeech, HeardSpeech } from '../caller-speech/caller-speech.js';
import { SpeechEmbedding } from '../caller-speech/speech-embedding.js';
import type { ReferenceScorer } from '../scoring/scorer.js';
import { type CallLooksOptions, type JudgedLook, judgeProbe } from './call-looks.js';
import { LAST_EARLY_LOOK_MS, type LookVerdict, NEXT_LOOK_MS } from './decide.js';

export interface SampleLooksOptions
  extends Pick<CallLooksOptions, 'embedder' | 'scorer' | 'user' | 'voiceprint' | 'rule' | 'inference'> {
  /** Net speech wanted in the sample. */
  readonly wantedMs: number;
}

export class SampleLooks {
  private readonly options: SampleLooksOptions;
  private readonly reference: ReferenceScorer;
  private embedding: SpeechEmbedding;
  /** End of what was accepted. */
  private acceptedMs = 0;
  /** The stretch that is looked at, as net speech of the call; the end moves on while more speech is wanted of it. */
  private startMs = 0;
  private shortestEndMs: number;
  private endMs: number;
  private looksAtStretch = 0;
  private taken = 0;
  private lookedAtMs = 0;
  private judged: JudgedLook | undefined;

  constructor(options: SampleLooksOptions) {
    this.options = options;
    this.reference = options.scorer.against(options.voiceprint.centroid);
    this.embedding = new SpeechEmbedding(options.embedder);
    this.shortestEndMs = options.rule.minSpeechMs;
    this.endMs = this.shortestEndMs;
  }

  get looks(): number {
    return this.taken;
  }

  /** What the latest look said about its stretch; undefined before the first. */
  get latest(): LookVerdict | undefined {
    return this.judged?.verdict;
  }

  /** What the latest look says if none comes after it; undefined before the first. */
  get ifLast(): LookVerdict | undefined {
    return this.judged?.ifLast;
  }

  /** Net speech of the call that had come when the latest look was taken. */
  get decidedFromMs(): number {
    return this.lookedAtMs;
  }

  /** The sample is as long as it has to be, and all of it was accepted. */
  get complete(): boolean {
    return this.acceptedMs >= this.options.wantedMs;
  }

  /** Net speech of the call that the next look takes; infinite when only the last look is left for this stretch. */
  get nextLookMs(): number {
    return this.endMs;
  }

  /** Net speech of the call without which the stretch cannot be decided on, not even by a last look. */
  get leastMs(): number {
    return this.shortestEndMs;
  }

  /**
   * Looks at the present stretch: to `nextLookMs`, or at all there is for the last look. What it accepts is part of the
   * sample, and the next stretch begins. Throws what inference throws.
   */
  async look(speech: CallerSpeech, final: boolean): Promise<LookVerdict> {
    const { embedder, inference } = this.options;
    const perMs = embedder.sampleRateHz / 1000;
    const endMs = final ? speech.netSpeechMs : this.endMs;
    const netSpeechMs = endMs - this.startMs;
    const [start, end] = [this.startMs, endMs].map((ms) => Math.round(ms * perMs));
    const probe = await this.embedding.embed(speech.samples().subarray(start, end), inference);
    this.taken += 1;
    this.looksAtStretch += 1;
    const quality = speech.qualityReport();
    const look = { netSpeechMs, quality, final, looks: this.looksAtStretch };
    this.judged = judgeProbe(probe, look, this.options, this.reference);
    this.lookedAtMs = endMs;
    const { verdict } = this.judged;
    if (verdict.kind === 'listen') this.endMs = this.laterThan(endMs);
    else if (verdict.decision === 'accept') this.beginAfter(endMs);
    return verdict;
  }

  /** What was accepted of `speech`, and nothing else. */
  sampleOf(speech: CallerSpeech): HeardSpeech {
    return speech.excerpt(this.acceptedMs);
  }

  /** Where the next look at the stretch ends, after one that ended at `endMs`. */
  private laterThan(endMs: number): number {
    const nextMs = endMs + NEXT_LOOK_MS;
    return nextMs - this.startMs > LAST_EARLY_LOOK_MS ? Number.POSITIVE_INFINITY : nextMs;
  }

  /**
   * The last stretch ends where the sample does: it is longer than the others, but not twice as long, or begins before the
   * end of the one before it.
   */
  private beginAfter(acceptedMs: number): void {
    const { wantedMs, rule, embedder } = this.options;
    const { minSpeechMs } = rule;
    const leftMs = wantedMs - acceptedMs;
    this.acceptedMs = acceptedMs;
    // Whole milliseconds, so that it is not the shortest that is allowed less a rounding error.
    this.startMs = leftMs < minSpeechMs ? Math.max(0, Math.floor(wantedMs - minSpeechMs)) : acceptedMs;
    this.shortestEndMs = leftMs < 2 * minSpeechMs ? wantedMs : acceptedMs + minSpeechMs;
    this.endMs = this.shortestEndMs;
    this.looksAtStretch = 0;
    this.embedding = new SpeechEmbedding(embedder);
  }
}
