/** Replies about the service itself. */
import { z } from 'zod';
import { DATABASE_FAULTS } from '../../domain/ports/health.js';

const name = z.enum(['database', 'model', 'inference', 'workers', 'lifecycle']);
const reason = z
  .enum(DATABASE_FAULTS)
  .optional()
  .describe(
    'Why the database cannot be used: `no_answer` in time, or what only the operator can put right: `migrations_missing`, ' +
      '`keys_missing` (templates are encrypted with keys that the ring lacks), `key_refused` (SUPABASE_SERVICE_ROLE_KEY)',
  );

export const indexReply = z
  .strictObject({ name: z.string(), version: z.string(), links: z.record(z.string(), z.string()) })
  .meta({ id: 'Index' });

export const liveReply = z.strictObject({ status: z.literal('ok') }).meta({ id: 'Live' });

export const readyReply = z
  .strictObject({
    status: z.enum(['ready', 'not_ready']),
    draining: z.boolean(),
    components: z.array(z.strictObject({ name, ok: z.boolean(), reason })),
  })
  .meta({ id: 'Ready' });

export const healthReply = z
  .strictObject({
    status: z.enum(['ok', 'degraded']),
    version: z.string(),
    draining: z.boolean(),
    components: z.array(
      z.strictObject({
        name,
        ok: z.boolean(),
        reason,
        detail: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
      }),
    ),
  })
  .meta({ id: 'Health' });

export const documentReply = z.looseObject({ openapi: z.string() }).meta({ id: 'OpenApiDocument' });
