/** The words of a decision. Stable: they are stored, counted and returned by the API. */

export const DECISIONS = ['accept', 'reject', 'inconclusive'] as const;
export type Decision = (typeof DECISIONS)[number];

export const REASONS = [
  'match',
  'no_match',
  'insufficient_speech',
  'no_caller_audio',
  'mixed_audio',
  'low_quality',
  'caller_hung_up',
  'deadline',
  'challenge_failed',
  'replayed_audio',
  'locked_out',
  'not_enrolled',
] as const;
export type Reason = (typeof REASONS)[number];
