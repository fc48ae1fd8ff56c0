/** Bodies and replies of enrollment. */
import { z } from 'zod';
import * as fields from './fields.js';

/** JSON body of `enrollment.create`. */
export function enrollUserBody(limits: fields.ApiLimits) {
  return z
    .strictObject({
      userId: fields.userId,
      phone: fields.phone,
      audioUrl: fields.audioUrl.optional(),
      listenUrl: fields.listenUrl.optional(),
      call: fields.runningCall.optional(),
      channel: fields.channel.optional(),
      consentReference: fields.consentReference.optional(),
      replaceModel: fields.replaceModel.optional(),
      maxSeconds: fields.maxSeconds(limits).optional(),
    })
    .superRefine(fields.checkSource)
    .meta({ id: 'EnrollUser', oneOf: fields.ONE_SOURCE });
}

/** Text fields of `enrollment.upload`. */
export const enrollForm = z.strictObject({
  user_id: fields.userId,
  phone: fields.phone.optional(),
  channel: fields.channelField.optional(),
  consent_reference: fields.consentReference.optional(),
  replace_model: fields.replaceModelField.optional(),
});

/** The same, in the words of the domain. */
export const enrollFields = enrollForm.transform((fields) => ({
  userId: fields.user_id,
  phone: fields.phone,
  channel: fields.channel,
  consentReference: fields.consent_reference,
  replaceModel: fields.replace_model,
}));

export const enrollReply = z
  .strictObject({
    status: z.literal('enrolled'),
    score: z.number().min(0).max(1).meta({ description: 'Agreement of the samples; 1 for a first sample' }),
    samples: z.int().min(1).meta({ description: 'Samples the voiceprint is made of' }),
    net_speech_seconds: z.number().min(0).meta({ description: 'Speech found in this sample, without pauses' }),
    model: z.string(),
    correlation_id: fields.correlationId,
  })
  .meta({ id: 'Enrolled' });
