/** Running calls over HTTP: how they stand, and streams that are to come. */

import { toSeconds } from '../../domain/answer-numbers.js';
import type { CallsUseCase, StreamPlatform, StreamsUseCase } from '../../domain/calls/calls.js';
import { VoiceAuthError } from '../../domain/errors.js';
import { answer, type Route, route } from '../operation.js';
import type { Operations } from '../operations.js';

/** How a platform is told to stream a call here; made by whoever knows the platforms. */
export type StreamGuide = (
  platform: StreamPlatform,
  token: string,
) => { readonly url: string; readonly twiml?: string; readonly hint: string };

export interface CallRouteDeps {
  readonly calls: CallsUseCase;
  readonly streams: StreamsUseCase;
  readonly streamGuide: StreamGuide;
}

/** Routes of calls and streams. */
export function callRoutes(operations: Operations, { calls, streams, streamGuide }: CallRouteDeps): Route[] {
  return [
    route(operations.callStatus, async ({ params, context }) => {
      const status = await calls.status(params.platform, params.id);
      if (!status) throw new VoiceAuthError('CallNotFoundError', 'There is no such call');
      return answer({
        platform: status.platform,
        call_id: status.callId,
        state: status.state,
        net_speech_seconds: toSeconds(status.netSpeechMs),
        looks: status.looks,
        claimed: status.claimed,
        started_at: status.startedAt.toISOString(),
        correlation_id: context.correlationId,
      });
    }),
    route(operations.expectStream, async ({ body, context }) => {
      const { platform } = body;
      const ticket = await streams.expect({
        platform,
        callId: body.callId,
        userId: body.userId,
        callerNumber: body.phone,
      });
      const { url, twiml, hint } = streamGuide(platform, ticket.token);
      return answer({
        platform,
        call_id: ticket.callId,
        url,
        token: ticket.token,
        twiml: twiml ?? null,
        hint,
        expires_at: ticket.expiresAt.toISOString(),
        correlation_id: context.correlationId,
      });
    }),
  ];
}
