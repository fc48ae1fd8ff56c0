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

/** What each reason means to people and language models: to be continued, or made a sentence. */
export const REASON_MEANINGS: Readonly<Record<Reason, string>> = {
  match: 'the voice matches the enrolled speaker',
  no_match: 'the voice does not match the enrolled speaker',
  insufficient_speech: 'the caller has said too little to decide',
  no_caller_audio: 'nothing was heard from the caller',
  mixed_audio: 'caller and agent share one channel, so the caller cannot be told apart',
  low_quality: 'the audio is too poor to decide',
  caller_hung_up: 'the call ended before a decision',
  deadline: 'time ran out before a decision',
  challenge_failed: 'the caller did not say what was asked for',
  replayed_audio: 'the audio appears to be a copy of an earlier recording',
  locked_out: 'too many failed attempts, the user is locked for now',
  not_enrolled: 'the user has no enrolled voice',
};
