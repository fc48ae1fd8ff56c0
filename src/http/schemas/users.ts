/** Paths, queries and replies about users. */
import { z } from 'zod';
import { ATTEMPT_SOURCES } from '../../domain/ports/auth-store.js';
import { DECISIONS, REASONS } from '../../domain/verification/decision.js';
import * as fields from './fields.js';

const DEFAULT_PAGE = 50;
const MAX_PAGE = 200;
const limitMessage = `must be a whole number from 1 to ${MAX_PAGE}`;

export const userPath = z.strictObject({ id: fields.userId });

const pageQuery = (what: string) =>
  z.strictObject({
    limit: z
      .string({ error: limitMessage })
      .regex(/^\d{1,3}$/, { error: limitMessage })
      .transform(Number)
      .pipe(z.int().min(1, { error: limitMessage }).max(MAX_PAGE, { error: limitMessage }))
      .optional()
      .transform((limit) => limit ?? DEFAULT_PAGE)
      .meta({ description: `${what} per page, 1 to ${MAX_PAGE}; default ${DEFAULT_PAGE}` }),
    before: z
      .string({ error: 'must be a cursor' })
      .regex(/^[\x21-\x7e]{1,256}$/, { error: 'must be a cursor' })
      .optional()
      .meta({ description: '`next` of the former page' }),
  });

export const historyQuery = pageQuery('Attempts');
export const outdatedQuery = pageQuery('Users');

const attempt = z
  .strictObject({
    id: z.string(),
    success: z.boolean(),
    decision: z.enum(DECISIONS),
    reason: z.enum(REASONS),
    score: z.number().nullable(),
    threshold: z.number(),
    model: z.string(),
    net_speech_seconds: z.number(),
    looks: z.int(),
    latency_seconds: z.number(),
    source: z.enum(ATTEMPT_SOURCES),
    call_id: z.string().nullable(),
    correlation_id: z.string(),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'Attempt' });

export const statusReply = z
  .strictObject({
    user_id: z.string(),
    enrolled: z.boolean(),
    samples: z.int(),
    net_speech_seconds: z.number(),
    model: z.string().nullable(),
    locked_until: z.iso.datetime().nullable(),
    failed_attempts: z.int(),
    enrolled_at: z.iso.datetime().nullable(),
    last_attempt: attempt.nullable(),
    correlation_id: fields.correlationId,
  })
  .meta({ id: 'UserStatus' });

export const historyReply = z
  .strictObject({
    user_id: z.string(),
    attempts: z.array(attempt).meta({ description: 'Newest first' }),
    next: z.string().nullable().meta({ description: 'Pass as `before` for older attempts; null at the end' }),
    correlation_id: fields.correlationId,
  })
  .meta({ id: 'AuthHistory' });

export const outdatedReply = z
  .strictObject({
    model: z.string().meta({ description: 'The model in use' }),
    total: z.int().meta({ description: 'How many there are on all pages together' }),
    users: z
      .array(
        z
          .strictObject({
            user_id: z.string(),
            model: z.string().meta({ description: 'The model of the voiceprint' }),
            enrolled_at: z.iso.datetime(),
            samples: z.int(),
          })
          .meta({ id: 'OutdatedUser' }),
      )
      .meta({ description: 'Last enrolled first' }),
    next: z.string().nullable().meta({ description: 'Pass as `before` for the next page; null at the end' }),
    correlation_id: fields.correlationId,
  })
  .meta({ id: 'OutdatedUsers' });

export const erasedReply = z
  .strictObject({ status: z.literal('erased'), user_id: z.string(), correlation_id: fields.correlationId })
  .meta({ id: 'Erased' });

export type AttemptReply = z.output<typeof attempt>;
