/** Webhooks over HTTP: who they come from is judged by their handler; failures count like those of API keys. */
import type { RequestHandler } from 'express';
import { VoiceAuthError } from '../../domain/errors.js';
import { addressOf } from '../client-address.js';
import type { AuthenticationFailures } from '../middleware/authentication.js';
import { answer, type Route, route } from '../operation.js';
import type { Operations } from '../operations.js';
import type { WebhookHandler } from '../webhook-handler.js';

export interface WebhookRouteDeps {
  readonly handler: WebhookHandler;
  readonly failures: AuthenticationFailures;
}

/** Routes of webhooks. */
export function webhookRoutes(operations: Operations, { handler, failures }: WebhookRouteDeps): Route[] {
  return [
    route(operations.vapiWebhook, async ({ file, context }) => {
      const { client, correlationId, signal } = context;
      const { status, body } = await handler.handle({ headers: client.headers, body: file, correlationId, signal });
      if (status === 401 || status === 403) throw refusalOf(status, client.address, failures);
      return answer(body, status);
    }),
  ];
}

/** Refuses by the headers alone what cannot come from the platform, before anything is read. */
export function screenWebhook({ handler, failures }: WebhookRouteDeps): RequestHandler {
  return (req, _res, next) => {
    const status = handler.refusal(req.headers);
    if (status !== undefined) throw refusalOf(status, addressOf(req), failures);
    next();
  };
}

function refusalOf(status: 401 | 403, address: string, failures: AuthenticationFailures): VoiceAuthError {
  if (status === 401) return failures.refusal(address, 'The webhook has no valid secret, token or signature');
  return new VoiceAuthError('Forbidden', 'No secret, token or signature is configured for webhooks');
}
