/**
 * The decision rule: pure, all facts passed in. A look is one comparison of all caller speech so far with the voiceprint.
 *
 * A live call is looked at many times, and every look gives an impostor another chance. So each look may spend only a
 * share of the false-match budget: its fmr counts as `fmr / share`, and `score` is made from that. An accepted score thus
 * keeps the claim `fmr = (1 - score)^3` for the whole procedure (shares: see the model's calibration).
 */
import type { ListeningEnd } from '../caller-speech/listen-to-call.js';
import { fmrFromScore, scoreFromFmr } from '../scoring/calibration.js';
import type { Decision, Reason } from './decision.js';

/** Net speech that has to come after a look before the next one is due. */
export const NEXT_LOOK_MS = 1_000;
/**
 * Net speech after which only the last look is taken, however much may be used (`MAX_AUDIO_DURATION`): the budget of the
 * looks is fitted for those up to here, and every further one would be a chance that the claim does not count.
 */
export const LAST_EARLY_LOOK_MS = 29_500;

export interface LookRule {
  readonly threshold: number;
  readonly minSpeechMs: number;
  /** Share of the false-match budget for looks before the last, and for the last one. */
  readonly earlyShare: number;
  readonly finalShare: number;
  readonly futility: { readonly minNetSpeechMs: number; readonly fmr: number };
}

export interface Look {
  /** Net caller speech this look is made from. */
  readonly netSpeechMs: number;
  readonly fmr: number;
  /** Largest cosine to a stored sample of the voiceprint: a copy of a recording gives itself away. */
  readonly sampleCosine: number;
  readonly replayCosine: number;
  /** No more audio will come. */
  readonly final: boolean;
  /**
   * Too noisy or clipped to blame the caller for a low score. It excuses from the reject, not from the lock-out: the noise
   * may be the caller's own, so `low_quality` is recorded as a failed attempt.
   */
  readonly lowQuality: boolean;
  /** Looks taken of this audio, this one included; a final look that is the only one spends the whole budget. */
  readonly looks: number;
}

export type LookVerdict =
  | { readonly kind: 'decided'; readonly decision: Decision; readonly reason: Reason; readonly score: number }
  | { readonly kind: 'listen'; readonly score: number };

/** What one look says: accept, reject, or listen on (never for a final look with enough speech). */
export function decideLook(look: Look, rule: LookRule): LookVerdict {
  const share = !look.final ? rule.earlyShare : look.looks === 1 ? 1 : rule.finalShare;
  const score = scoreFromFmr(look.fmr / share);
  // Every comparison on the way to an accept must be true, so that a NaN anywhere accepts nobody.
  if (!(look.netSpeechMs >= rule.minSpeechMs)) return { kind: 'listen', score };
  if (score >= rule.threshold) {
    return look.sampleCosine < look.replayCosine
      ? { kind: 'decided', decision: 'accept', reason: 'match', score }
      : { kind: 'decided', decision: 'reject', reason: 'replayed_audio', score };
  }
  if (look.final) {
    return look.lowQuality
      ? { kind: 'decided', decision: 'inconclusive', reason: 'low_quality', score }
      : { kind: 'decided', decision: 'reject', reason: 'no_match', score };
  }
  const hopeless = look.netSpeechMs >= rule.futility.minNetSpeechMs && look.fmr > rule.futility.fmr;
  // A lax threshold may accept what futility was measured to be hopeless for: then there is no early reject.
  const futilityApplies = rule.futility.fmr > fmrFromScore(rule.threshold);
  if (hopeless && futilityApplies && !look.lowQuality) {
    return { kind: 'decided', decision: 'reject', reason: 'no_match', score };
  }
  return { kind: 'listen', score };
}

/** How listening ended without a look that decided. */
export interface ListeningSummary {
  readonly end: ListeningEnd;
  /** Any caller audio above digital silence was heard. */
  readonly heardCaller: boolean;
}

/** The reason for `inconclusive` when there was not enough to decide on. */
export function inconclusiveReason(summary: ListeningSummary): Reason {
  if (summary.end === 'mixed') return 'mixed_audio';
  if (summary.end === 'aborted') return 'deadline';
  if (!summary.heardCaller) return 'no_caller_audio';
  return summary.end === 'closed' ? 'caller_hung_up' : 'insufficient_speech';
}
