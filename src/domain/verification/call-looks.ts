/**
 * The looks at one call: when enough new speech has come, one window is embedded, compared and judged. Never more than one
 * look in flight; speech that arrives meanwhile goes into the next one.
 */
import type { QualityReport } from '../../audio/quality.js';
import type { CallerSpeech } from '../caller-speech/caller-speech.js';
import type { ListeningEnd } from '../caller-speech/listen-to-call.js';
import { SpeechEmbedding } from '../caller-speech/speech-embedding.js';
import { isBusy } from '../errors.js';
import type { EnrolledUser, Voiceprint } from '../ports/auth-store.js';
import type { InferenceOptions, SpeakerEmbedder } from '../ports/speaker-model.js';
import { cosine } from '../scoring/embedding.js';
import type { ReferenceScorer, SpeakerScorer } from '../scoring/scorer.js';
import type { Finding } from './attempt-recorder.js';
import {
  decideLook,
  inconclusiveReason,
  LAST_EARLY_LOOK_MS,
  type Look,
  type LookRule,
  type LookVerdict,
  NEXT_LOOK_MS,
} from './decide.js';
import type { DriftMonitor } from './drift-monitor.js';

/** First look after this much net speech, or the minimum for a decision, if that is more. */
const FIRST_LOOK_MS = 1_500;
/** Below these the caller is not to blame for a low score. */
const LOW_SNR_DB = 3;
const MUCH_CLIPPED = 0.1;

export interface CallLooksOptions {
  readonly embedder: SpeakerEmbedder;
  readonly scorer: SpeakerScorer;
  readonly user: EnrolledUser;
  readonly voiceprint: Voiceprint;
  readonly rule: LookRule;
  readonly inference: InferenceOptions;
  /** Told about every voice that is decided on. */
  readonly drift?: DriftMonitor | undefined;
  /** Embeddings of this call's speech that others may have made already; default: its own. */
  readonly embedding?: SpeechEmbedding;
  /** Looks that were taken before of some of the same audio. */
  readonly looksBefore?: number;
}

export class CallLooks {
  private readonly options: CallLooksOptions;
  private readonly embedding: SpeechEmbedding;
  private readonly reference: ReferenceScorer;
  private running: Promise<void> | undefined;
  private last: Promise<void> | undefined;
  private nextLookMs: number;
  private lookedAtMs = 0;
  private audioMs: number | undefined;
  private verdict: LookVerdict | undefined;
  private verdictIfLast: LookVerdict | undefined;
  private taken: number;
  private error: unknown;

  constructor(options: CallLooksOptions) {
    this.options = options;
    this.embedding = options.embedding ?? new SpeechEmbedding(options.embedder);
    this.reference = options.scorer.against(options.voiceprint.centroid);
    this.taken = options.looksBefore ?? 0;
    this.nextLookMs = Math.max(FIRST_LOOK_MS, options.rule.minSpeechMs);
  }

  get looks(): number {
    return this.taken;
  }

  /** What the latest look said; undefined before the first. */
  get latest(): LookVerdict | undefined {
    return this.verdict;
  }

  /** What the latest look says if none comes after it; undefined before the first. */
  get ifLast(): LookVerdict | undefined {
    return this.verdictIfLast;
  }

  get decided(): boolean {
    return this.verdict?.kind === 'decided';
  }

  /** A look has failed by a fault, which `finalLook` will throw. */
  get failed(): boolean {
    return this.error !== undefined;
  }

  /** Net speech that the latest look was made from. */
  get decidedFromMs(): number {
    return this.lookedAtMs;
  }

  /** Where in the call's audio the speech ended that the latest look was made from; undefined when it was the last one. */
  get decidedAtAudioMs(): number | undefined {
    return this.audioMs;
  }

  /**
   * Starts an early look if one is due; `onLook` is told when it is done. A look that finds the pool busy is skipped: the
   * next speech starts another. Other faults are kept for `finalLook` and reported through `onLook` as well.
   */
  lookIfDue(speech: CallerSpeech, onLook: () => void): void {
    if (this.running || this.last || this.decided || this.error || speech.netSpeechMs < this.nextLookMs) return;
    if (this.nextLookMs > LAST_EARLY_LOOK_MS) return;
    this.running = this.take(speech, false)
      .then(
        () => {
          this.nextLookMs = speech.netSpeechMs + NEXT_LOOK_MS;
        },
        (error: unknown) => {
          if (!isBusy(error)) this.error = error;
        },
      )
      .then(() => {
        this.running = undefined;
        onLook();
      })
      .catch((error: unknown) => {
        this.error ??= error;
      });
  }

  /**
   * Waits for a look in flight, then judges all speech as the last look, unless a decision is there. Who asks for it at the
   * same time shares it. Throws faults.
   */
  async finalLook(speech: CallerSpeech): Promise<void> {
    this.last ??= this.takeLast(speech).finally(() => {
      this.last = undefined;
    });
    await this.last;
  }

  private async takeLast(speech: CallerSpeech): Promise<void> {
    await this.running;
    if (this.error) throw this.error;
    if (this.decided || speech.netSpeechMs < this.options.rule.minSpeechMs) return;
    await this.take(speech, true);
  }

  private async take(speech: CallerSpeech, final: boolean): Promise<void> {
    const { netSpeechMs } = speech;
    const audioMs = final ? undefined : speech.positionOf(netSpeechMs);
    const probe = await this.embedding.embed(speech.samples(), this.options.inference);
    this.taken += 1;
    this.lookedAtMs = netSpeechMs;
    this.audioMs = audioMs;
    const quality = speech.qualityReport();
    const look = { netSpeechMs, quality, final, looks: this.taken };
    ({ verdict: this.verdict, ifLast: this.verdictIfLast } = judgeProbe(probe, look, this.options, this.reference));
    if (this.decided) {
      const { user, voiceprint, drift } = this.options;
      drift?.observe({ userId: user.userId, voiceprint, probe, netSpeechMs });
    }
  }
}

/** What a look says, and what it says if none comes after it: the same, once it decides. */
export interface JudgedLook {
  readonly verdict: LookVerdict;
  readonly ifLast: LookVerdict;
}

/** What one embedding of the caller's speech says about the claim. `reference`: the scorer against its voiceprint. */
export function judgeProbe(
  probe: Float32Array,
  { quality, ...facts }: Pick<Look, 'netSpeechMs' | 'final' | 'looks'> & { readonly quality: QualityReport },
  { user, scorer, rule }: Pick<CallLooksOptions, 'user' | 'scorer' | 'rule'>,
  reference: ReferenceScorer,
): JudgedLook {
  const look: Look = {
    ...facts,
    fmr: reference.compare(probe, facts.netSpeechMs).fmr,
    sampleCosine: Math.max(-1, ...user.samples.map((sample) => cosine(sample.embedding, probe))),
    replayCosine: scorer.calibration.replayCosine,
    lowQuality: quality.clippedRatio > MUCH_CLIPPED || (quality.snrDb !== undefined && quality.snrDb < LOW_SNR_DB),
  };
  const verdict = decideLook(look, rule);
  return { verdict, ifLast: verdict.kind === 'decided' ? verdict : decideLook({ ...look, final: true }, rule) };
}

/** What a call came to, once nothing more is judged: the decision of its looks, or why there is none. */
export function summariseLooks(
  end: ListeningEnd,
  speech: Pick<CallerSpeech, 'netSpeechMs' | 'heardCaller'>,
  looks: CallLooks,
): Finding {
  const verdict = looks.latest;
  if (verdict?.kind === 'decided') {
    const { decision, reason, score } = verdict;
    return {
      decision,
      reason,
      score,
      netSpeechMs: looks.decidedFromMs,
      looks: looks.looks,
      audioMs: looks.decidedAtAudioMs,
    };
  }
  return {
    decision: 'inconclusive',
    reason: inconclusiveReason({ end, heardCaller: speech.heardCaller }),
    score: verdict?.score,
    netSpeechMs: speech.netSpeechMs,
    looks: looks.looks,
  };
}

/**
 * Nothing more can be told to anybody, so nothing is accepted. But whoever leaves is not spared what they would have been
 * told, or they could try for ever: the latest look counts as if it had been the last one, unless the service itself gives
 * up (`shutdown`). `looks` are those of a verification or of a sample.
 */
export function givenUp(
  { netSpeechMs }: Pick<CallerSpeech, 'netSpeechMs'>,
  { latest, ifLast, looks, decidedFromMs }: Pick<CallLooks, 'latest' | 'ifLast' | 'looks' | 'decidedFromMs'>,
  shutdown: AbortSignal,
): Finding {
  if (!shutdown.aborted && ifLast?.kind === 'decided' && ifLast.decision !== 'accept') {
    const { decision, reason, score } = ifLast;
    return { decision, reason, score, netSpeechMs: decidedFromMs, looks };
  }
  return { decision: 'inconclusive', reason: 'deadline', score: latest?.score, netSpeechMs, looks };
}
