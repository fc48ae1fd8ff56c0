/** The shapes in which the database functions about calls answer, validated at this door. */
import { z } from 'zod';
import { CALL_PLATFORMS } from '../domain/calls/calls.js';
import { ERROR_CODES } from '../domain/errors.js';
import type { CallAsked, CallHold, CallQuestionArgs, StoredAnswer } from '../domain/ports/call-store.js';
import { DECISIONS, REASONS } from '../domain/verification/decision.js';

const optionalText = z
  .string()
  .nullish()
  .transform((value) => value ?? undefined);
const optionalNumber = z
  .number()
  .nullish()
  .transform((value) => value ?? undefined);
const platform = z.enum(CALL_PLATFORMS);

const unclear = z.object({ kind: z.enum(['unknown_caller', 'ambiguous_caller']) });

const verification = z.union([
  z.object({
    kind: z.literal('decided'),
    userId: z.string(),
    result: z.object({
      attemptId: z.string(),
      decision: z.enum(DECISIONS),
      reason: z.enum(REASONS),
      score: optionalNumber,
      threshold: z.number(),
      netSpeechMs: z.number(),
      looks: z.number(),
      audioMs: optionalNumber,
    }),
  }),
  unclear,
]);

const enrollment = z.union([
  z.object({
    kind: z.literal('enrolled'),
    userId: z.string(),
    result: z.object({ score: z.number(), samples: z.number(), netSpeechMs: z.number(), modelId: z.string() }),
  }),
  unclear,
]);

const storedAnswer = z
  .discriminatedUnion('kind', [
    z.object({ kind: z.literal('verify'), answer: verification }),
    z.object({ kind: z.literal('enroll'), answer: enrollment }),
    z.object({
      kind: z.literal('error'),
      code: z.enum(ERROR_CODES),
      message: z.string(),
      details: z.unknown().optional(),
      retryAfterSeconds: optionalNumber,
    }),
  ])
  .nullish()
  .transform((answer): StoredAnswer | undefined => answer ?? undefined);

const args = z.object({
  userId: optionalText,
  threshold: optionalNumber,
  callerNumber: optionalText,
  consentReference: optionalText,
  phone: optionalText,
  identityProven: z
    .boolean()
    .nullish()
    .transform((value) => value ?? undefined),
  replaceModel: z
    .boolean()
    .nullish()
    .transform((value) => value ?? undefined),
  actor: optionalText,
  correlationId: z.string(),
}) satisfies z.ZodType<CallQuestionArgs>;

export const keyRows = z.array(
  z.object({ platform, call_id: z.string() }).transform((row) => ({ platform: row.platform, callId: row.call_id })),
);

const hold = {
  state: z.enum(['waiting', 'connecting', 'listening', 'ended']),
  owned: z.boolean(),
  took_over: z.boolean(),
  user_id: optionalText,
};

export const holdRow = z
  .object(hold)
  .transform((row): CallHold => ({ state: row.state, owned: row.owned, tookOver: row.took_over, userId: row.user_id }));

export const askedRow = z.union([
  z.object({ state: z.null() }).transform((): CallAsked | undefined => undefined),
  z
    .object({ ...hold, alive: z.boolean(), attempt_id: z.string(), answer: storedAnswer })
    .transform((row): CallAsked | undefined => ({
      state: row.state,
      owned: row.owned,
      tookOver: row.took_over,
      userId: row.user_id,
      alive: row.alive,
      attemptId: row.attempt_id,
      answer: row.answer,
    })),
]);

export const requestRow = z.object({ answer: storedAnswer, alive: z.boolean() });

export const pollRow = z
  .object({
    requests: z.array(
      z
        .object({
          platform,
          call_id: z.string(),
          request_id: z.string(),
          kind: z.enum(['verify', 'enroll']),
          args,
          attempt_id: z.string(),
          remaining_ms: z.number(),
        })
        .transform((row) => ({
          platform: row.platform,
          callId: row.call_id,
          requestId: row.request_id,
          kind: row.kind,
          args: row.args,
          attemptId: row.attempt_id,
          remainingMs: row.remaining_ms,
        })),
    ),
    ended: keyRows,
  })
  .transform(({ requests, ended }) => ({ questions: requests, ended }));

export const callStatusRow = z
  .object({
    state: z.enum(['connecting', 'listening', 'ended', 'lost']),
    net_speech_ms: z.number(),
    looks: z.number(),
    claimed: z.boolean(),
    started_at: z.iso.datetime({ offset: true }),
  })
  .transform((row) => ({
    state: row.state,
    netSpeechMs: row.net_speech_ms,
    looks: row.looks,
    claimed: row.claimed,
    startedAt: new Date(row.started_at),
  }))
  .nullable();

export const expectedRow = z
  .object({ expires_at: z.iso.datetime({ offset: true }) })
  .transform((row) => ({ expiresAt: new Date(row.expires_at) }));

export const redeemedRow = z
  .object({ call_id: z.string(), user_id: optionalText })
  .transform((row) => ({ callId: row.call_id, userId: row.user_id }))
  .nullable();

export const userIdRows = z.array(z.string());
