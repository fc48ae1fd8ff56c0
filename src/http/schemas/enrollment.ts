/** Bodies and replies of enrollment. */
import { z } from 'zod';
import * as common from './common.js';

/** JSON body of `enrollment.create`. */
export function enrollUserBody(limits: common.ApiLimits) {
  return z
    .strictObject({
      userId: common.userId,
      phone: common.phone,
      audioUrl: common.audioUrl.optional(),
      listenUrl: common.listenUrl.optional(),
      channel: common.channel.optional(),
      consentReference: common.consentReference.optional(),
      maxSeconds: common.maxSeconds(limits).optional(),
    })
    .superRefine(common.checkSource)
    .meta({ id: 'EnrollUser', oneOf: common.ONE_SOURCE });
}

/** Text fields of `enrollment.upload`. */
export const enrollForm = z.strictObject({
  user_id: common.userId,
  phone: common.phone.optional(),
  channel: common.channelField.optional(),
  consent_reference: common.consentReference.optional(),
});

/** The same, in the words of the domain. */
export const enrollFields = enrollForm.transform((fields) => ({
  userId: fields.user_id,
  phone: fields.phone,
  channel: fields.channel,
  consentReference: fields.consent_reference,
}));

export const enrollReply = z
  .strictObject({
    status: z.literal('enrolled'),
    score: z.number().min(0).max(1).meta({ description: 'Agreement of the samples; 1 for a first sample' }),
    samples: z.int().min(1).meta({ description: 'Samples the voiceprint is made of' }),
    net_speech_seconds: z.number().min(0).meta({ description: 'Speech found in this sample, without pauses' }),
    model: z.string(),
    correlation_id: common.correlationId,
  })
  .meta({ id: 'Enrolled' });
