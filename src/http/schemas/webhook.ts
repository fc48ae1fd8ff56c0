/** Webhooks in the API document. Their bodies are understood by the platform's own adapter, leniently, not by these. */
import { z } from 'zod';

/** End-of-call reports hold the whole transcript. */
export const MAX_WEBHOOK_BYTES = 1024 * 1024;

export const vapiMessage = z
  .looseObject({
    message: z.looseObject({
      type: z.string().meta({ example: 'tool-calls' }),
      call: z.looseObject({ id: z.string() }).optional(),
    }),
  })
  .meta({ id: 'VapiMessage', description: 'A server message as VAPI documents it' });

/** `unknown` to the compiler: the adapter knows its platform's words, the HTTP layer does not look into them. */
export const vapiReply: z.ZodType<unknown, unknown> = z
  .looseObject({
    results: z
      .array(
        z.looseObject({
          name: z.string(),
          toolCallId: z.string(),
          result: z.string().optional().meta({ description: 'One line: `verified: …`, `not_verified: …`, …' }),
          error: z.string().optional().meta({ description: 'Instead of a result: `error: <code> …`' }),
        }),
      )
      .optional()
      .meta({ description: 'One entry for each tool call, in their order' }),
  })
  .meta({ id: 'VapiReply' });
