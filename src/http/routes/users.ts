/** What is known about users, over HTTP. */

import { roundScore, toSeconds } from '../../domain/answer-numbers.js';
import type { AttemptSummary } from '../../domain/ports/auth-store.js';
import type { UsersUseCase } from '../../domain/users/users.js';
import { answer, type Route, route } from '../operation.js';
import type { Operations } from '../operations.js';
import type { AttemptReply } from '../schemas/users.js';

/** Routes of users. */
export function userRoutes(operations: Operations, users: UsersUseCase): Route[] {
  return [
    route(operations.userStatus, async ({ params, context }) => {
      const user = await users.status(params.id);
      return answer({
        user_id: user.userId,
        enrolled: user.enrolled,
        samples: user.samples,
        net_speech_seconds: toSeconds(user.netSpeechMs),
        model: user.modelId ?? null,
        locked_until: user.lockedUntil?.toISOString() ?? null,
        failed_attempts: user.failedAttempts,
        enrolled_at: user.enrolledAt?.toISOString() ?? null,
        last_attempt: user.lastAttempt ? attempt(user.lastAttempt) : null,
        correlation_id: context.correlationId,
      });
    }),
    route(operations.authHistory, async ({ params, query, context }) => {
      const page = await users.history(params.id, { limit: query.limit, before: query.before });
      return answer({
        user_id: params.id,
        attempts: page.attempts.map(attempt),
        next: page.next ?? null,
        correlation_id: context.correlationId,
      });
    }),
    route(operations.outdatedUsers, async ({ query, context }) => {
      const page = await users.outdated({ limit: query.limit, before: query.before });
      return answer({
        model: page.modelId,
        total: page.total,
        users: page.users.map((user) => ({
          user_id: user.userId,
          model: user.modelId,
          enrolled_at: user.enrolledAt.toISOString(),
          samples: user.samples,
        })),
        next: page.next ?? null,
        correlation_id: context.correlationId,
      });
    }),
    route(operations.eraseUser, async ({ params, context }) => {
      const { actor, correlationId } = context;
      await users.erase(params.id, { actor, correlationId });
      return answer({ status: 'erased', user_id: params.id, correlation_id: correlationId });
    }),
  ];
}

function attempt(summary: AttemptSummary): AttemptReply {
  return {
    id: summary.id,
    success: summary.decision === 'accept',
    decision: summary.decision,
    reason: summary.reason,
    score: summary.score === undefined ? null : roundScore(summary.score),
    threshold: summary.threshold,
    model: summary.modelId,
    net_speech_seconds: toSeconds(summary.netSpeechMs),
    looks: summary.looks,
    latency_seconds: toSeconds(summary.latencyMs),
    source: summary.source,
    call_id: summary.callId ?? null,
    correlation_id: summary.correlationId,
    created_at: summary.createdAt.toISOString(),
  };
}
