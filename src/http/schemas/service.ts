/** Replies about the service itself. */
import { z } from 'zod';

const name = z.enum(['database', 'model', 'inference', 'workers', 'lifecycle']);

export const indexReply = z
  .strictObject({ name: z.string(), version: z.string(), links: z.record(z.string(), z.string()) })
  .meta({ id: 'Index' });

export const liveReply = z.strictObject({ status: z.literal('ok') }).meta({ id: 'Live' });

export const readyReply = z
  .strictObject({
    status: z.enum(['ready', 'not_ready']),
    draining: z.boolean(),
    components: z.array(z.strictObject({ name, ok: z.boolean() })),
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
        detail: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
      }),
    ),
  })
  .meta({ id: 'Health' });

export const documentReply = z.looseObject({ openapi: z.string() }).meta({ id: 'OpenApiDocument' });
