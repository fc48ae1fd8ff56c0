/**
 * Everything the domain remembers. Each method is one database transaction, on either backend. Embeddings are plain
 * here and encrypted inside the adapter (`storage`). Every method throws `DatabaseUnavailable` when the database cannot
 * be reached or answers too late: then nothing was written, or it is unknown, and nothing may be accepted.
 */
import { CALL_PLATFORMS } from '../calls/calls.js';
import type { Decision, Reason } from '../verification/decision.js';

export interface Voiceprint {
  readonly modelId: string;
  readonly centroid: Float32Array;
  readonly sampleCount: number;
  readonly netSpeechMs: number;
  /** Counts up with every change; enrollment saves against the version it has read. */
  readonly version: number;
}

export interface VoiceSample {
  readonly id: string;
  readonly embedding: Float32Array;
  readonly netSpeechMs: number;
}

export interface EnrolledUser {
  readonly userId: string;
  readonly phone: string | undefined;
  readonly lockedUntil: Date | undefined;
  readonly voiceprint: Voiceprint | undefined;
  /** Kept samples of the voiceprint, oldest first; empty when there is no voiceprint. */
  readonly samples: readonly VoiceSample[];
}

export interface EnrollmentRecord {
  readonly userId: string;
  /** E.164; undefined keeps what is registered. */
  readonly phone: string | undefined;
  /** Nobody else who is enrolled may have the number. */
  readonly phoneMustBeFree?: boolean | undefined;
  readonly consentReference: string | undefined;
  readonly modelId: string;
  /** Version read before; 0 when there was no voiceprint. */
  readonly expectedVersion: number;
  readonly centroid: Float32Array;
  readonly newSample: VoiceSample;
  /** Ids of older samples to keep; others of this user are deleted. */
  readonly keptSampleIds: readonly string[];
  /** Model of the voiceprint that this one takes the place of; undefined = none, or one of the same model. */
  readonly replacesModelId?: string | undefined;
  /** Net speech of all kept samples and the new one. */
  readonly netSpeechMs: number;
  readonly correlationId: string;
  /** Id of the API key that asked, for the audit trail. */
  readonly actor: string;
}

export interface AttemptRecord {
  readonly attemptId: string;
  readonly userId: string;
  readonly correlationId: string;
  readonly callId: string | undefined;
  readonly source: AttemptSource;
  readonly decision: Decision;
  readonly reason: Reason;
  readonly score: number | undefined;
  readonly threshold: number;
  readonly modelId: string;
  readonly netSpeechMs: number;
  readonly looks: number;
  readonly latencyMs: number;
  readonly maxFailedAttempts: number;
  readonly lockoutMs: number;
  /** Version of the voiceprint that was compared with; 0 when none. */
  readonly voiceprintVersion: number;
}

/** Asked with a listen URL, a recording, or about a call that a session listens to. */
export const ATTEMPT_SOURCES = ['vapi_listen', 'upload', 'audio_url', ...CALL_PLATFORMS] as const;
export type AttemptSource = (typeof ATTEMPT_SOURCES)[number];

/** What was written, which is what counts: a user locked, changed or erased in the meantime is never accepted. */
export interface RecordedAttempt {
  /** False when the attempt id was used before: nothing was written now. */
  readonly isNew: boolean;
  readonly attemptId: string;
  readonly decision: Decision;
  readonly reason: Reason;
  readonly failedAttempts: number;
  readonly lockedUntil: Date | undefined;
  /** As recorded, which for an attempt id that was used before is what was found then. */
  readonly score: number | undefined;
  readonly threshold: number;
  readonly netSpeechMs: number;
  readonly looks: number;
}

export interface UserStatus {
  readonly userId: string;
  readonly enrolled: boolean;
  readonly samples: number;
  readonly netSpeechMs: number;
  readonly modelId: string | undefined;
  readonly lockedUntil: Date | undefined;
  readonly failedAttempts: number;
  readonly enrolledAt: Date | undefined;
  readonly lastAttempt: AttemptSummary | undefined;
}

export interface AttemptSummary {
  readonly id: string;
  readonly decision: Decision;
  readonly reason: Reason;
  readonly score: number | undefined;
  readonly threshold: number;
  readonly modelId: string;
  readonly netSpeechMs: number;
  readonly looks: number;
  readonly latencyMs: number;
  readonly source: AttemptSource;
  readonly callId: string | undefined;
  readonly correlationId: string;
  readonly createdAt: Date;
}

export interface HistoryPage {
  /** Newest first. */
  readonly attempts: readonly AttemptSummary[];
  /** Cursor for the next (older) page, opaque; undefined at the end. */
  readonly next: string | undefined;
}

/** Somebody whose voiceprint is of another model than the one in use: to be enrolled anew. */
export interface OutdatedUser {
  readonly userId: string;
  /** Model of the voiceprint. */
  readonly modelId: string;
  readonly samples: number;
  readonly enrolledAt: Date;
}

export interface OutdatedPage {
  /** Last enrolled first. */
  readonly users: readonly OutdatedUser[];
  /** On all pages together. */
  readonly total: number;
  /** Cursor for the next page, opaque; undefined at the end. */
  readonly next: string | undefined;
}

export interface AuthStore {
  /** Cheapest round trip, for readiness. Also rejects when the database answers but is not one to serve from. */
  ping(): Promise<void>;
  /** Undefined when there is no such user. */
  findUser(userId: string): Promise<EnrolledUser | undefined>;
  /**
   * Writes user, voiceprint, samples and audit event. Throws `EnrollmentConflict` when the voiceprint has changed since
   * `expectedVersion` was read, the user is registered with another phone number, or the number is not free and must be.
   */
  saveEnrollment(record: EnrollmentRecord): Promise<{ readonly samples: number; readonly version: number }>;
  /**
   * Writes attempt, lock-out counter and lock: a reject fails, and so does `low_quality` with a score. Throws `UserNotFoundError` when
   * the user is gone.
   */
  recordAttempt(record: AttemptRecord): Promise<RecordedAttempt>;
  userStatus(userId: string): Promise<UserStatus | undefined>;
  /** Undefined when there is no such user. `limit` is 1..200. Throws `ValidationError` for a malformed cursor. */
  authHistory(
    userId: string,
    page: { readonly limit: number; readonly before: string | undefined },
  ): Promise<HistoryPage | undefined>;
  /** Users with a voiceprint of another model. `limit` is 1..200. Throws `ValidationError` for a malformed cursor. */
  outdatedUsers(
    modelId: string,
    page: { readonly limit: number; readonly before: string | undefined },
  ): Promise<OutdatedPage>;
  /** Deletes user, voiceprint and samples, anonymises attempts, audits. False when there was no such user. */
  eraseUser(userId: string, by: { readonly correlationId: string; readonly actor: string }): Promise<boolean>;
}

export interface RateLimitStore {
  /** Counts one hit on `key` in its current fixed window and says how many there are and when the window ends. */
  hit(key: string, windowMs: number): Promise<{ readonly hits: number; readonly resetAt: Date }>;
}
