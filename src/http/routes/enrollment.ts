/** Enrollment over HTTP: from what was asked to what the use case understands, and back. */
import type { z } from 'zod';
import { roundScore, toSeconds } from '../../domain/answer-numbers.js';
import type { CallsUseCase } from '../../domain/calls/calls.js';
import type { EnrollmentResult, EnrollmentSource, EnrollmentUseCase } from '../../domain/enrollment/enrollment.js';
import { VoiceAuthError } from '../../domain/errors.js';
import { answer, type OperationContext, type Route, route } from '../operation.js';
import type { Operations } from '../operations.js';
import type { enrollReply } from '../schemas/enrollment.js';
import { callQuestion } from './call-question.js';

/** Routes of enrollment. */
export function enrollmentRoutes(
  operations: Operations,
  { enrollment, calls }: { readonly enrollment: EnrollmentUseCase; readonly calls: CallsUseCase },
): Route[] {
  return [
    route(operations.enroll, async ({ body, context }) => {
      const replaceModel = mayReplaceModel(body.replaceModel, context);
      if (body.call) {
        const enrolled = await calls.enroll({
          ...callQuestion(body.call, body.maxSeconds, context),
          userId: body.userId,
          phone: body.phone,
          identityProven: true,
          consentReference: body.consentReference,
          replaceModel,
          actor: context.actor,
        });
        if (enrolled.kind === 'enrolled' && enrolled.userId === body.userId)
          return answer(reply(enrolled.result, context));
        throw new VoiceAuthError('InternalError', 'The call was asked about somebody else');
      }
      const result = await enrollment.enroll({
        userId: body.userId,
        phone: body.phone,
        consentReference: body.consentReference,
        replaceModel,
        source: sourceOf(body),
        ...asker(context),
      });
      return answer(reply(result, context));
    }),
    route(operations.enrollUpload, async ({ body, file, context }) => {
      const result = await enrollment.enroll({
        userId: body.userId,
        phone: body.phone,
        consentReference: body.consentReference,
        replaceModel: mayReplaceModel(body.replaceModel, context),
        source: { kind: 'upload', bytes: file, channel: body.channel },
        ...asker(context),
      });
      return answer(reply(result, context));
    }),
  ];
}

/**
 * A further sample must match as a caller must, and one that does not counts as a failed attempt: to somebody who is enrolled a
 * key that enrolls gives no more tries than a call does. Where a voiceprint gives way to a new one, nothing holds it back:
 * that is for those who may erase the person, too.
 */
function mayReplaceModel(asked: boolean | undefined, context: OperationContext): boolean | undefined {
  if (asked && !context.isAdmin)
    throw new VoiceAuthError('Forbidden', 'replaceModel needs an API key with the scope "admin"');
  return asked;
}

function sourceOf(body: {
  readonly audioUrl?: string | undefined;
  readonly listenUrl?: string | undefined;
  readonly channel?: 0 | 1 | undefined;
  readonly maxSeconds?: number | undefined;
}): EnrollmentSource {
  return body.listenUrl === undefined
    ? { kind: 'audio_url', audioUrl: body.audioUrl ?? '', channel: body.channel }
    : { kind: 'listen_url', listenUrl: body.listenUrl, maxSeconds: body.maxSeconds };
}

function asker({ correlationId, callId, actor, signal }: OperationContext) {
  return { correlationId, callId, actor, signal };
}

function reply(result: EnrollmentResult, context: OperationContext): z.input<typeof enrollReply> {
  return {
    status: 'enrolled',
    score: roundScore(result.score),
    samples: result.samples,
    net_speech_seconds: toSeconds(result.netSpeechMs),
    model: result.modelId,
    correlation_id: context.correlationId,
  };
}
