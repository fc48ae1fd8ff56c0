/** The shapes in which the database functions answer, validated at this door, and what they mean to the domain. */
import { z } from 'zod';
import {
  ATTEMPT_SOURCES,
  type AttemptSummary,
  type EnrolledUser,
  type OutdatedUser,
  type RecordedAttempt,
  type UserStatus,
  type VoiceSample,
} from '../domain/ports/auth-store.js';
import { DECISIONS, REASONS } from '../domain/verification/decision.js';
import type { TemplateCipher } from './template-cipher.js';

const timestamp = z.iso.datetime({ offset: true });
/** A `bytea` in the hexadecimal form of PostgreSQL. */
export const bytes = z
  .string()
  .regex(/^\\x(?:[0-9a-f]{2})*$/)
  .transform((text) => Buffer.from(text.slice(2), 'hex'));

export const pingRow = z.object({ schema_version: z.number().int() });

export const userRow = z
  .object({
    user_id: z.string(),
    phone: z.string().nullable(),
    locked_until: timestamp.nullable(),
    voiceprint: z
      .object({
        model_id: z.string(),
        template: bytes,
        version: z.number().int().positive(),
        sample_count: z.number().int(),
        net_speech_ms: z.number(),
      })
      .nullable(),
    samples: z.array(z.object({ id: z.string(), model_id: z.string(), template: bytes, net_speech_ms: z.number() })),
  })
  .nullable();

export const savedEnrollmentRow = z.object({ samples: z.number().int(), version: z.number().int() });

export const recordedAttemptRow = z.object({
  attempt_id: z.string(),
  decision: z.enum(DECISIONS),
  reason: z.enum(REASONS),
  failed_attempts: z.number().int(),
  locked_until: timestamp.nullable(),
  score: z.number().nullable(),
  threshold: z.number(),
  net_speech_ms: z.number(),
  looks: z.number(),
  new: z.boolean(),
});

const attemptRow = z.object({
  id: z.string(),
  decision: z.enum(DECISIONS),
  reason: z.enum(REASONS),
  score: z.number().nullable(),
  threshold: z.number(),
  model_id: z.string(),
  net_speech_ms: z.number(),
  looks: z.number(),
  latency_ms: z.number(),
  source: z.enum(ATTEMPT_SOURCES),
  call_id: z.string().nullable(),
  correlation_id: z.string(),
  created_at: timestamp,
});

export const userStatusRow = z
  .object({
    user_id: z.string(),
    model_id: z.string().nullable(),
    samples: z.number().int(),
    net_speech_ms: z.number(),
    enrolled_at: timestamp.nullable(),
    locked_until: timestamp.nullable(),
    failed_attempts: z.number().int(),
    last_attempt: attemptRow.nullable(),
  })
  .nullable();

export const historyRow = z.object({ attempts: z.array(attemptRow), more: z.boolean() }).nullable();

const outdatedUserRow = z.object({
  user_id: z.string(),
  model_id: z.string(),
  samples: z.number().int(),
  enrolled_at: timestamp,
});

export const outdatedRow = z.object({
  total: z.number().int(),
  users: z.array(outdatedUserRow),
  more: z.boolean(),
});

export const rateLimitRow = z.object({ hits: z.number().int(), resets_at: timestamp });

export const purgedRow = z.object({
  users: z.number(),
  attempts: z.number(),
  rate_limits: z.number(),
  more: z.boolean(),
});

export const auditChainRow = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), events: z.number().int(), head: z.string() }),
  z.object({ ok: z.literal(false), events: z.number().int(), broken_at: z.number().int() }),
]);

/** Decrypts the templates. Throws `InternalError` when one does not belong where it was found. */
export function toEnrolledUser(row: NonNullable<z.output<typeof userRow>>, cipher: TemplateCipher): EnrolledUser {
  const userId = row.user_id;
  const samples = row.samples.map((sample): VoiceSample => {
    const context = { kind: 'sample', userId, modelId: sample.model_id, sampleId: sample.id } as const;
    return { id: sample.id, embedding: cipher.decrypt(sample.template, context), netSpeechMs: sample.net_speech_ms };
  });
  const print = row.voiceprint;
  return {
    userId,
    phone: row.phone ?? undefined,
    lockedUntil: toDate(row.locked_until),
    voiceprint: print
      ? {
          modelId: print.model_id,
          centroid: cipher.decrypt(print.template, {
            kind: 'voiceprint',
            userId,
            modelId: print.model_id,
            version: print.version,
          }),
          sampleCount: print.sample_count,
          netSpeechMs: print.net_speech_ms,
          version: print.version,
        }
      : undefined,
    samples,
  };
}

export function toRecordedAttempt(row: z.output<typeof recordedAttemptRow>): RecordedAttempt {
  return {
    isNew: row.new,
    attemptId: row.attempt_id,
    decision: row.decision,
    reason: row.reason,
    failedAttempts: row.failed_attempts,
    lockedUntil: toDate(row.locked_until),
    score: row.score ?? undefined,
    threshold: row.threshold,
    netSpeechMs: row.net_speech_ms,
    looks: row.looks,
  };
}

export function toUserStatus(row: NonNullable<z.output<typeof userStatusRow>>): UserStatus {
  return {
    userId: row.user_id,
    enrolled: row.model_id !== null,
    samples: row.samples,
    netSpeechMs: row.net_speech_ms,
    modelId: row.model_id ?? undefined,
    lockedUntil: toDate(row.locked_until),
    failedAttempts: row.failed_attempts,
    enrolledAt: toDate(row.enrolled_at),
    lastAttempt: row.last_attempt ? toAttemptSummary(row.last_attempt) : undefined,
  };
}

export function toAttemptSummary(row: z.output<typeof attemptRow>): AttemptSummary {
  return {
    id: row.id,
    decision: row.decision,
    reason: row.reason,
    score: row.score ?? undefined,
    threshold: row.threshold,
    modelId: row.model_id,
    netSpeechMs: row.net_speech_ms,
    looks: row.looks,
    latencyMs: row.latency_ms,
    source: row.source,
    callId: row.call_id ?? undefined,
    correlationId: row.correlation_id,
    createdAt: new Date(row.created_at),
  };
}

/** A row of the listing in the domain's words. */
export function toOutdatedUser(row: z.output<typeof outdatedUserRow>): OutdatedUser {
  return {
    userId: row.user_id,
    modelId: row.model_id,
    samples: row.samples,
    enrolledAt: new Date(row.enrolled_at),
  };
}

function toDate(text: string | null): Date | undefined {
  return text === null ? undefined : new Date(text);
}
