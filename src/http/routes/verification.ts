/** Verification over HTTP: from what was asked to what the use case understands, and back. */
import type { z } from 'zod';
import { roundScore, toSeconds } from '../../domain/answer-numbers.js';
import type { CallsUseCase } from '../../domain/calls/calls.js';
import { VoiceAuthError } from '../../domain/errors.js';
import { REASON_MEANINGS, type Reason } from '../../domain/verification/decision.js';
import type {
  VerificationResult,
  VerificationSource,
  VerificationUseCase,
} from '../../domain/verification/verification.js';
import { answer, type OperationContext, type Route, route } from '../operation.js';
import type { Operations } from '../operations.js';
import type { verifyReply } from '../schemas/verification.js';
import { callQuestion } from './call-question.js';

/** Routes of verification. */
export function verificationRoutes(
  operations: Operations,
  { verification, calls }: { readonly verification: VerificationUseCase; readonly calls: CallsUseCase },
): Route[] {
  return [
    route(operations.verify, async ({ body, context }) => {
      if (body.call) {
        const { userId, threshold, call, maxSeconds } = body;
        const found = await calls.verify({ userId, threshold, ...callQuestion(call, maxSeconds, context) });
        if (found.kind === 'decided' && found.userId === userId) return answer(reply(found.result, context));
        throw new VoiceAuthError('InternalError', 'The call was asked about somebody else');
      }
      const source: VerificationSource =
        body.listenUrl === undefined
          ? { kind: 'audio_url', audioUrl: body.audioUrl ?? '', channel: body.channel }
          : { kind: 'listen_url', listenUrl: body.listenUrl, maxSeconds: body.maxSeconds };
      const result = await verification.verify({
        userId: body.userId,
        source,
        threshold: body.threshold,
        ...asker(context),
      });
      return answer(reply(result, context));
    }),
    route(operations.verifyUpload, async ({ body, file, context }) => {
      const result = await verification.verify({
        userId: body.userId,
        source: { kind: 'upload', bytes: file, channel: body.channel },
        threshold: body.threshold,
        ...asker(context),
      });
      return answer(reply(result, context));
    }),
  ];
}

function asker({ correlationId, callId, signal, onProgress }: OperationContext) {
  return { correlationId, callId, signal, ...(onProgress ? { onProgress } : {}) };
}

function reply(result: VerificationResult, context: OperationContext): z.input<typeof verifyReply> {
  return {
    success: result.decision === 'accept',
    message: messageOf(result.reason),
    records: null,
    score: result.score === undefined ? null : roundScore(result.score),
    decision: result.decision,
    reason: result.reason,
    threshold: result.threshold,
    net_speech_seconds: toSeconds(result.netSpeechMs),
    audio_seconds: result.audioMs === undefined ? null : toSeconds(result.audioMs),
    attempt_id: result.attemptId,
    correlation_id: context.correlationId,
    additional_factor_required: true,
  };
}

/** What a reason means, as a sentence. */
function messageOf(reason: Reason): string {
  const meaning = REASON_MEANINGS[reason];
  return `${meaning.charAt(0).toUpperCase()}${meaning.slice(1)}.`;
}
