/** Whom a call is asked about, over all its chapters: more than a few people, or thresholds for one of them, is a guesser. */
import { VoiceAuthError } from '../errors.js';

const MAX_PEOPLE = 4;
const MAX_THRESHOLDS = 4;

export class ClaimLimit {
  private readonly people = new Map<string, Set<number>>();

  /** Counts a claim, unless it was made before. Throws `CallConflict` when there were too many, for as long as the call lasts. */
  count(userId: string, threshold: number): void {
    const thresholds = this.people.get(userId) ?? new Set<number>();
    if (this.people.size >= MAX_PEOPLE && thresholds.size === 0) throw tooMany('people were');
    if (thresholds.size >= MAX_THRESHOLDS && !thresholds.has(threshold)) throw tooMany('thresholds were');
    this.people.set(userId, thresholds.add(threshold));
  }

  /** For a person who is gone: nobody can be taken for them, and nothing is to be kept of them. */
  forget(userId: string): void {
    this.people.delete(userId);
  }
}

function tooMany(what: string): VoiceAuthError {
  return new VoiceAuthError('CallConflict', `Too many ${what} claimed on this call`);
}
