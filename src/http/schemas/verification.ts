/** Bodies, replies and events of verification. */
import { z } from 'zod';
import { DECISIONS, REASONS } from '../../domain/verification/decision.js';
import * as fields from './fields.js';

/** JSON body of `verification.create`. */
export function verifyPasswordBody(limits: fields.ApiLimits) {
  return z
    .strictObject({
      userId: fields.userId,
      listenUrl: fields.listenUrl.optional(),
      audioUrl: fields.audioUrl.optional(),
      call: fields.runningCall.optional(),
      channel: fields.channel.optional(),
      threshold: threshold(limits).optional(),
      maxSeconds: fields.maxSeconds(limits).optional(),
    })
    .superRefine(fields.checkSource)
    .meta({ id: 'VerifyPassword', oneOf: fields.ONE_SOURCE });
}

/** Text fields of `verification.upload`. */
export function verifyForm(limits: fields.ApiLimits) {
  return z.strictObject({
    user_id: fields.userId,
    threshold: z
      .string()
      .regex(/^0?\.\d{1,10}$/, { error: thresholdMessage(limits) })
      .transform(Number)
      .pipe(threshold(limits))
      .optional()
      .meta({ description: 'Stricter than the configured threshold, for this verification only' }),
    channel: fields.channelField.optional(),
  });
}

/** The same, in the words of the domain. */
export function verifyFields(limits: fields.ApiLimits) {
  return verifyForm(limits).transform((fields) => ({
    userId: fields.user_id,
    threshold: fields.threshold,
    channel: fields.channel,
  }));
}

export const verifyReply = z
  .strictObject({
    success: z.boolean().meta({ description: 'True only when decision is `accept`' }),
    message: z.string(),
    records: z.null(),
    score: z
      .number()
      .min(0)
      .max(1)
      .nullable()
      .meta({ description: 'False-match rate (1 - score)^3; null when there was too little speech to score' }),
    decision: z.enum(DECISIONS),
    reason: z.enum(REASONS),
    threshold: z.number(),
    net_speech_seconds: z.number().min(0),
    audio_seconds: z.number().min(0).nullable().meta({
      description:
        'How far into the call the speech ended that this decision was made from; null when it took the end of the audio',
    }),
    attempt_id: z.string(),
    correlation_id: fields.correlationId,
    additional_factor_required: z.literal(true).meta({
      description:
        'Always true. Voice is one signal and never proof on its own: combine it with another factor, as NIST SP 800-63B ' +
        'demands of any biometric',
    }),
  })
  .meta({ id: 'Verification' });

/** Data of a `progress` event. */
export const progressEvent = z
  .strictObject({
    elapsed_seconds: z.number().min(0),
    net_speech_seconds: z.number().min(0),
    looks: z.int().min(0),
    score: z.number().min(0).max(1).nullable(),
  })
  .meta({ id: 'VerificationProgress' });

function threshold(limits: fields.ApiLimits) {
  const message = thresholdMessage(limits);
  return z
    .number({ error: message })
    .max(0.9999, { error: message })
    .refine((value) => value >= limits.configuredThreshold, { error: message })
    .meta({ description: 'Stricter than the configured threshold, for this verification only', example: 0.9 });
}

function thresholdMessage(limits: fields.ApiLimits): string {
  return `must be a number from the configured threshold (${limits.configuredThreshold}) to 0.9999`;
}
