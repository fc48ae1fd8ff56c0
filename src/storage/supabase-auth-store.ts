/**
 * The domain's memory on PostgreSQL: every method is one call of a database function, hence one transaction. Embeddings
 * are encrypted on the way out and decrypted on the way in; rate-limit keys leave only as keyed digests.
 */
import { createHmac, randomInt } from 'node:crypto';
import { z } from 'zod';
import { validationError } from '../domain/errors.js';
import type {
  AttemptRecord,
  AuthStore,
  EnrolledUser,
  EnrollmentRecord,
  HistoryPage,
  OutdatedPage,
  RateLimitStore,
  RecordedAttempt,
  UserStatus,
} from '../domain/ports/auth-store.js';
import {
  auditChainRow,
  historyRow,
  outdatedRow,
  pingRow,
  purgedRow,
  rateLimitRow,
  recordedAttemptRow,
  savedEnrollmentRow,
  toAttemptSummary,
  toEnrolledUser,
  toOutdatedUser,
  toRecordedAttempt,
  toUserStatus,
  userRow,
  userStatusRow,
} from './auth-rows.js';
import { toBytea } from './bytea.js';
import type { DatabaseClient } from './database-client.js';
import { decodeCursor, encodeCursor } from './history-cursor.js';
import { type KeyRotation, type KeyRotationOptions, readKeyUse, reencryptTemplates } from './key-rotation.js';
import { readRecordedVoices, type StoredVoice } from './recorded-voices.js';
import type { StorageCheck } from './storage-check.js';
import type { TemplateCipher } from './template-cipher.js';

/** Housekeeping beyond what the domain asks for. */
export interface StoreMaintenance {
  /** Number of the schema the database has. */
  schemaVersion(): Promise<number>;
  /**
   * Removes attempts of more than the given age (undefined = none), users whose retention has ended, old calls and expired
   * rate limits, all by the database's clock.
   */
  purge(attemptRetentionMs: number | undefined): Promise<Purged>;
  /** Clears what questions about calls hold whose time is up: callers' numbers, when the process that asked has died. */
  forgetOldCalls(): Promise<void>;
  /** Recomputes the hash chain of the audit trail. */
  verifyAuditChain(): Promise<AuditChain>;
  /** Everybody's voiceprint and samples of a model, without names (`readRecordedVoices`). */
  recordedVoices(modelId: string): AsyncIterable<StoredVoice>;
  /** Keys that stored templates are encrypted with and the key ring lacks: nobody they belong to can be verified. */
  missingKeys(): Promise<readonly string[]>;
  /** Encrypts templates of older keys with the first of the ring (`reencryptTemplates`). */
  reencrypt(options: KeyRotationOptions): Promise<KeyRotation>;
}

/** How many of each one step has removed. */
export interface Purged {
  readonly users: number;
  readonly attempts: number;
  readonly rateLimits: number;
  /** There may be some left: another step is needed. */
  readonly more: boolean;
}

export type AuditChain =
  | { readonly intact: true; readonly events: number; readonly head: string }
  | { readonly intact: false; readonly brokenAt: number };

const MAX_PAGE = 200;
/** First versions are random, so that a voiceprint made after an erasure never has the version of the erased one. */
const FIRST_VERSION_LIMIT = 2 ** 47;

export class SupabaseAuthStore implements AuthStore, RateLimitStore, StoreMaintenance {
  readonly #database: DatabaseClient;
  readonly #cipher: TemplateCipher;
  readonly #check: StorageCheck;
  readonly #rateLimitKey: Uint8Array;

  constructor(database: DatabaseClient, cipher: TemplateCipher, check: StorageCheck) {
    this.#database = database;
    this.#cipher = cipher;
    this.#check = check;
    this.#rateLimitKey = cipher.deriveKey('rate-limit-keys');
  }

  /** Throws `StorageError` when the database answers, but is not one to serve from. */
  ping(): Promise<void> {
    return this.#check.run(this);
  }

  async schemaVersion(): Promise<number> {
    return (await this.#database.call('va_ping', {}, pingRow)).schema_version;
  }

  async findUser(userId: string): Promise<EnrolledUser | undefined> {
    const row = await this.#database.call('va_find_user', { p_user_id: userId }, userRow);
    return row ? toEnrolledUser(row, this.#cipher) : undefined;
  }

  async saveEnrollment(record: EnrollmentRecord): Promise<{ readonly samples: number; readonly version: number }> {
    const { userId, modelId, newSample } = record;
    const version = nextVersion(record);
    const template = this.#cipher.encrypt(record.centroid, { kind: 'voiceprint', userId, modelId, version });
    const sample = this.#cipher.encrypt(newSample.embedding, {
      kind: 'sample',
      userId,
      modelId,
      sampleId: newSample.id,
    });
    return this.#database.call(
      'va_save_enrollment',
      {
        p_user_id: userId,
        p_phone: record.phone ?? null,
        p_consent_reference: record.consentReference ?? null,
        p_model_id: modelId,
        p_expected_version: record.expectedVersion,
        p_version: version,
        p_key_id: this.#cipher.keyId,
        p_template: toBytea(template),
        p_net_speech_ms: Math.round(record.netSpeechMs),
        p_sample_id: newSample.id,
        p_sample_template: toBytea(sample),
        p_sample_net_speech_ms: Math.round(newSample.netSpeechMs),
        p_kept_sample_ids: record.keptSampleIds,
        p_correlation_id: record.correlationId,
        p_actor: record.actor,
        ...(record.replacesModelId === undefined ? {} : { p_replaces_model: record.replacesModelId }),
        ...(record.phoneMustBeFree ? { p_phone_must_be_free: true } : {}),
      },
      savedEnrollmentRow,
    );
  }

  async recordAttempt(record: AttemptRecord): Promise<RecordedAttempt> {
    const row = await this.#database.call(
      'va_record_attempt',
      {
        p_attempt_id: record.attemptId,
        p_user_id: record.userId,
        p_correlation_id: record.correlationId,
        p_call_id: record.callId ?? null,
        p_source: record.source,
        p_decision: record.decision,
        p_reason: record.reason,
        p_score: record.score ?? null,
        p_threshold: record.threshold,
        p_model_id: record.modelId,
        p_net_speech_ms: Math.round(record.netSpeechMs),
        p_looks: record.looks,
        p_latency_ms: Math.round(record.latencyMs),
        p_max_failed_attempts: record.maxFailedAttempts,
        p_lockout_ms: Math.round(record.lockoutMs),
        p_voiceprint_version: record.voiceprintVersion,
      },
      recordedAttemptRow,
    );
    return toRecordedAttempt(row);
  }

  async userStatus(userId: string): Promise<UserStatus | undefined> {
    const row = await this.#database.call('va_user_status', { p_user_id: userId }, userStatusRow);
    return row ? toUserStatus(row) : undefined;
  }

  async authHistory(
    userId: string,
    page: { readonly limit: number; readonly before: string | undefined },
  ): Promise<HistoryPage | undefined> {
    const args = { p_user_id: userId, ...pageArguments(page) };
    const row = await this.#database.call('va_auth_history', args, historyRow);
    if (!row) return undefined;
    const last = row.attempts.at(-1);
    return {
      attempts: row.attempts.map(toAttemptSummary),
      next: row.more && last ? encodeCursor({ createdAt: last.created_at, id: last.id }) : undefined,
    };
  }

  async outdatedUsers(
    modelId: string,
    page: { readonly limit: number; readonly before: string | undefined },
  ): Promise<OutdatedPage> {
    const args = { p_model_id: modelId, ...pageArguments(page) };
    const { users, total, more } = await this.#database.call('va_outdated_voiceprints', args, outdatedRow);
    const last = users.at(-1);
    return {
      users: users.map(toOutdatedUser),
      total,
      next: more && last ? encodeCursor({ createdAt: last.enrolled_at, id: last.user_id }) : undefined,
    };
  }

  eraseUser(userId: string, by: { readonly correlationId: string; readonly actor: string }): Promise<boolean> {
    const args = { p_user_id: userId, p_correlation_id: by.correlationId, p_actor: by.actor };
    return this.#database.call('va_erase_user', args, z.boolean());
  }

  async hit(key: string, windowMs: number): Promise<{ readonly hits: number; readonly resetAt: Date }> {
    const digest = createHmac('sha256', this.#rateLimitKey).update(key).digest('base64url');
    const args = { p_key: digest, p_window_ms: Math.round(windowMs) };
    const row = await this.#database.call('va_rate_limit_hit', args, rateLimitRow);
    return { hits: row.hits, resetAt: new Date(row.resets_at) };
  }

  async purge(attemptRetentionMs: number | undefined): Promise<Purged> {
    const args = { p_attempt_retention_ms: attemptRetentionMs === undefined ? null : Math.round(attemptRetentionMs) };
    const row = await this.#database.call('va_purge', args, purgedRow);
    return { users: row.users, attempts: row.attempts, rateLimits: row.rate_limits, more: row.more };
  }

  async forgetOldCalls(): Promise<void> {
    await this.#database.call('va_forget_old_calls', {}, z.boolean());
  }

  async verifyAuditChain(): Promise<AuditChain> {
    const row = await this.#database.call('va_verify_audit_chain', {}, auditChainRow);
    return row.ok ? { intact: true, events: row.events, head: row.head } : { intact: false, brokenAt: row.broken_at };
  }

  recordedVoices(modelId: string): AsyncIterable<StoredVoice> {
    return readRecordedVoices(this.#database, this.#cipher, modelId);
  }

  async missingKeys(): Promise<readonly string[]> {
    const used = await readKeyUse(this.#database);
    return used.map(({ keyId }) => keyId).filter((keyId) => !this.#cipher.keyIds.includes(keyId));
  }

  reencrypt(options: KeyRotationOptions): Promise<KeyRotation> {
    return reencryptTemplates(this.#database, this.#cipher, options);
  }
}

/** Throws `ValidationError` for a size or a cursor that cannot be. */
function pageArguments({ limit, before }: { readonly limit: number; readonly before: string | undefined }) {
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE) {
    throw validationError([{ path: 'limit', message: `must be 1 to ${MAX_PAGE}` }]);
  }
  const place = before === undefined ? undefined : decodeCursor(before);
  return { p_limit: limit, ...(place ? { p_before_at: place.createdAt, p_before_id: place.id } : {}) };
}

/** Counts up by one, or, where nothing of an earlier voiceprint may pass for the new one, to somewhere random. */
function nextVersion({ expectedVersion, replacesModelId }: EnrollmentRecord): number {
  if (expectedVersion > 0 && replacesModelId === undefined) return expectedVersion + 1;
  return expectedVersion + randomInt(1, FIRST_VERSION_LIMIT);
}
