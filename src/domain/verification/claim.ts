/** What must hold before anybody is listened to for a claimed identity: one set of checks for every kind of verification. */
import { VoiceAuthError, validationError } from '../errors.js';
import type { EnrolledUser, Voiceprint } from '../ports/auth-store.js';
import type { SpeakerScorer } from '../scoring/scorer.js';
import { type Finding, nothingHeard } from './attempt-recorder.js';
import type { LookRule } from './decide.js';

/** A claim that can be checked by listening, or what is to be recorded without listening. */
export type Claim =
  | { readonly kind: 'listen'; readonly voiceprint: Voiceprint }
  | { readonly kind: 'settled'; readonly finding: Finding };

/** Throws `VoiceprintModelMismatch` for a voiceprint of another model. */
export function examineClaim(user: EnrolledUser, modelId: string): Claim {
  if (lockOf(user)) return { kind: 'settled', finding: nothingHeard('reject', 'locked_out') };
  if (!user.voiceprint) return { kind: 'settled', finding: nothingHeard('inconclusive', 'not_enrolled') };
  if (user.voiceprint.modelId !== modelId) {
    throw modelMismatch(user.voiceprint.modelId, modelId);
  }
  return { kind: 'listen', voiceprint: user.voiceprint };
}

/** Until when somebody is locked out; undefined = they are not. */
export function lockOf(user: EnrolledUser | undefined): Date | undefined {
  return user?.lockedUntil && user.lockedUntil.getTime() > Date.now() ? user.lockedUntil : undefined;
}

/** `VoiceprintModelMismatch` with both model ids. */
export function modelMismatch(voiceprint: string, service: string): VoiceAuthError {
  return new VoiceAuthError(
    'VoiceprintModelMismatch',
    'The voiceprint was made by another model: enroll the person anew with replaceModel',
    { details: { voiceprint, service } },
  );
}

/** The threshold asked for, or the configured one. Throws `ValidationError` for a laxer one than configured. */
export function thresholdOf(asked: number | undefined, configured: number): number {
  const threshold = asked ?? configured;
  if (threshold >= configured) return threshold;
  throw validationError([{ path: 'threshold', message: `must not be below the configured ${configured}` }]);
}

/** The decision rule for a threshold, with what the model's calibration says. */
export function lookRule(
  threshold: number,
  minSpeechMs: number,
  { calibration }: Pick<SpeakerScorer, 'calibration'>,
): LookRule {
  return { threshold, minSpeechMs, ...calibration.sequential, futility: calibration.futility };
}
