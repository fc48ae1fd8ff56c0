/** Verification over HTTP: from what was asked to what the use case understands, and back. */
import type { z } from 'zod';
import type { CallsUseCase } from '../../domain/calls/calls.js';
import { VoiceAuthError } from '../../domain/errors.js';
import type { Reason } from '../../domain/verification/decision.js';
import type {
  VerificationResult,
  VerificationSource,
  VerificationUseCase,
} from '../../domain/verification/verification.js';
import { answer, type OperationContext, type Route, route } from '../operation.js';
import type { Operations } from '../operations.js';
import { roundScore, toSeconds } from '../schemas/numbers.js';
import type { verifyReply } from '../schemas/verification.js';
import { callQuestion } from './call-question.js';

const MESSAGES: Readonly<Record<Reason, string>> = {
  match: 'The voice matches the enrolled speaker.',
  no_match: 'The voice does not match the enrolled speaker.',
  insufficient_speech: 'The caller said too little to decide.',
  no_caller_audio: 'Nothing was heard from the caller.',
  mixed_audio: 'Caller and agent share one channel, so the caller cannot be told apart.',
  low_quality: 'The audio is too poor to decide.',
  caller_hung_up: 'The call ended before a decision.',
  deadline: 'Time ran out before a decision.',
  challenge_failed: 'The caller did not say what was asked for.',
  replayed_audio: 'The audio appears to have been played before.',
  locked_out: 'Too many failed attempts: the user is locked for now.',
  not_enrolled: 'The user has no voiceprint.',
};

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
    message: MESSAGES[result.reason],
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
