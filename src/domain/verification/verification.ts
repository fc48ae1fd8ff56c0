/** What a verification is asked with and answers: the shapes shared by the use case and the doors (HTTP, CLI). */
import type { ListeningSource } from '../caller-speech/listen.js';
import type { Decision, Reason } from './decision.js';

export type VerificationSource = ListeningSource;

export interface VerificationRequest {
  readonly userId: string;
  readonly source: VerificationSource;
  /** Stricter than configured; undefined = as configured. */
  readonly threshold: number | undefined;
  readonly correlationId: string;
  readonly callId: string | undefined;
  /** Aborted when the asker has gone away: listening stops, nothing is accepted, and the latest look is judged as the last. */
  readonly signal: AbortSignal;
  /** Told after every look and about twice a second while listening. */
  readonly onProgress?: (progress: VerificationProgress) => void;
}

export interface VerificationProgress {
  readonly elapsedMs: number;
  readonly netSpeechMs: number;
  readonly looks: number;
  /** Of the latest look; undefined before the first. */
  readonly score: number | undefined;
}

export interface VerificationResult {
  readonly attemptId: string;
  readonly decision: Decision;
  readonly reason: Reason;
  readonly score: number | undefined;
  readonly threshold: number;
  readonly netSpeechMs: number;
  readonly looks: number;
  /** Where in the call's audio the speech ended that this decision was made from; undefined when it took the end. */
  readonly audioMs?: number | undefined;
}

export interface VerificationUseCase {
  /**
   * Verifies a claimed identity and records the attempt; the result is what was recorded. Throws `UserNotFoundError`,
   * `AccountLockedError`, `VoiceprintModelMismatch`, `ValidationError` (threshold below the configured one, URL),
   * `ListenConnectionError`, `AudioDownloadError`, `PayloadTooLarge` (recording), `UnsupportedAudioError`,
   * `AudioProcessingError`, `Busy`, `InferenceUnavailable`, `DatabaseUnavailable` or `Timeout` (the answer is overdue); then
   * nothing was accepted.
   */
  verify(request: VerificationRequest): Promise<VerificationResult>;
}
