/** Paths, bodies and replies about running calls and the streams they come by. */
import { z } from 'zod';
import { CALL_PLATFORMS, STREAM_PLATFORMS } from '../../domain/calls/calls.js';
import * as fields from './fields.js';

export const callPath = z.strictObject({ platform: fields.callPlatform, id: fields.callId });

export const callStatusReply = z
  .strictObject({
    platform: z.enum(CALL_PLATFORMS),
    call_id: z.string(),
    state: z.enum(['connecting', 'listening', 'ended', 'lost']).meta({
      description:
        '`lost`: the process that listened is gone, or its audio ended minutes ago; the next event of the call has it listened to again',
    }),
    net_speech_seconds: z.number().min(0),
    looks: z.int().min(0).meta({ description: 'Comparisons made so far' }),
    claimed: z.boolean().meta({ description: 'Whether it is known who the caller is said to be' }),
    started_at: z.iso.datetime(),
    correlation_id: fields.correlationId,
  })
  .meta({ id: 'Call' });

export const expectStreamBody = z
  .strictObject({
    platform: z
      .enum(STREAM_PLATFORMS, { error: `must be one of ${STREAM_PLATFORMS.join(', ')}` })
      .meta({ description: 'Who will dial' }),
    callId: fields.callId.optional().meta({ description: 'How to name the call in later requests; default: a new id' }),
    userId: fields.userId.optional(),
    phone: fields.phone
      .optional()
      .meta({ description: "The caller's number: whoever is enrolled with it is taken to be the caller" }),
  })
  .superRefine((body, context) => {
    if (body.userId === undefined || body.phone === undefined) return;
    context.addIssue({ code: 'custom', path: ['phone'], message: 'goes without userId only' });
  })
  .meta({ id: 'ExpectStream' });

export const expectStreamReply = z
  .strictObject({
    platform: z.enum(STREAM_PLATFORMS),
    call_id: z.string(),
    url: z.string().meta({ description: 'Where the platform dials' }),
    token: z.string().meta({ description: 'Lets one stream in, once. A secret' }),
    twiml: z.string().nullable().meta({ description: 'For Twilio: answer the call with this' }),
    hint: z.string().meta({ description: "What to do with it, in the platform's words" }),
    expires_at: z.iso.datetime(),
    correlation_id: fields.correlationId,
  })
  .meta({ id: 'ExpectedStream' });
