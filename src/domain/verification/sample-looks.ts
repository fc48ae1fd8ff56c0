/**
 * The looks at speech that is to be added to a voiceprint. An accept says nothing about what is said after it, and little
 * about a part of what it was made from: whoever is handed the phone would be enrolled along with its owner. So the sample
 * is made of stretches, each as short as may be decided on, and each has to be accepted by itself, like a verification of
 * its own: what is not is listened to on, as there.
 */
import type { CallerSpeech } from '../caller-speech/caller-speech.js';
import { SpeechEmbedding } from '../caller-speech/speech-embedding.js';
import type { HeardSpeech } from '../enrollment/enrollment.js';
import type { ReferenceScorer } from '../scoring/scorer.js';
import { type CallLooksOptions, judgeProbe } from './call-looks.js';
import { type LookVerdict, NEXT_LOOK_MS } from './decide.js';

export interface SampleLooksOptions
  extends Pick<CallLooksOptions, 'embedder' | 'scorer' | 'user' | 'voiceprint' | 'rule' | 'inference'> {
  /** Net speech wanted in the sample. */
  readonly wantedMs: number;
}

export class SampleLooks {
  private readonly options: SampleLooksOptions;
  private readonly reference: ReferenceScorer;
  private embedding: SpeechEmbedding;
  /** End of what was accepted, and so the beginning of the stretch that is looked at. */
  private acceptedMs = 0;
  private shortestMs: number;
  private lengthMs: number;
  private looksAtStretch = 0;
  private taken = 0;

  constructor(options: SampleLooksOptions) {
    this.options = options;
    this.reference = options.scorer.against(options.voiceprint.centroid);
    this.embedding = new SpeechEmbedding(options.embedder);
    this.shortestMs = options.rule.minSpeechMs;
    this.lengthMs = this.shortestMs;
  }

  get looks(): number {
    return this.taken;
  }

  /** The sample is as long as it has to be, and all of it was accepted. */
  get complete(): boolean {
    return this.acceptedMs >= this.options.wantedMs;
  }

  /** Net speech of the call that the next look takes. */
  get nextLookMs(): number {
    return this.acceptedMs + this.lengthMs;
  }

  /** Net speech of the call without which the stretch cannot be decided on, not even by a last look. */
  get leastMs(): number {
    return this.acceptedMs + this.shortestMs;
  }

  /**
   * Looks at the present stretch: to `nextLookMs`, or at all there is for the last look. What it accepts is part of the
   * sample, and the next stretch begins. Throws what inference throws.
   */
  async look(speech: CallerSpeech, final: boolean): Promise<LookVerdict> {
    const { embedder, inference } = this.options;
    const perMs = embedder.sampleRateHz / 1000;
    const netSpeechMs = final ? speech.netSpeechMs - this.acceptedMs : this.lengthMs;
    const [start, end] = [this.acceptedMs, this.acceptedMs + netSpeechMs].map((ms) => Math.round(ms * perMs));
    const probe = await this.embedding.embed(speech.samples().subarray(start, end), inference);
    this.taken += 1;
    this.looksAtStretch += 1;
    const quality = speech.qualityReport();
    const look = { netSpeechMs, quality, final, looks: this.looksAtStretch };
    const verdict = judgeProbe(probe, look, this.options, this.reference);
    if (verdict.kind === 'listen') this.lengthMs += NEXT_LOOK_MS;
    else if (verdict.decision === 'accept') this.beginAfter(this.acceptedMs + netSpeechMs);
    return verdict;
  }

  /** What was accepted of `speech`, and nothing else. */
  sampleOf(speech: CallerSpeech): HeardSpeech {
    const netSpeechMs = this.acceptedMs;
    const length = Math.round((netSpeechMs * this.options.embedder.sampleRateHz) / 1000);
    return {
      netSpeechMs,
      heardCaller: speech.heardCaller,
      samples: () => speech.samples().subarray(0, length),
      qualityReport: () => speech.qualityReport(),
    };
  }

  /** The last stretch is as long as the sample wants it to be, where that makes it less than two. */
  private beginAfter(acceptedMs: number): void {
    const { wantedMs, rule, embedder } = this.options;
    const leftMs = wantedMs - acceptedMs;
    this.acceptedMs = acceptedMs;
    this.shortestMs = leftMs < 2 * rule.minSpeechMs ? Math.max(rule.minSpeechMs, leftMs) : rule.minSpeechMs;
    this.lengthMs = this.shortestMs;
    this.looksAtStretch = 0;
    this.embedding = new SpeechEmbedding(embedder);
  }
}
