/** Webhooks over HTTP: who they come from is judged by their handler; failures count like those of API keys. */
import type { RequestHandler } from 'express';
import { VoiceAuthError } from '../../domain/errors.js';
import { addressOf } from '../client-address.js';
import type { AuthenticationFailures } from '../middleware/authentication.js';
import { answer, type Route, route } from '../operation.js';
import type { Operations } from '../operations.js';
import { stateOf } from '../request-state.js';
import type { WebhookHandler, WebhookScreening } from '../webhook-handler.js';

export interface WebhookRouteDeps {
  readonly handler: WebhookHandler;
  readonly failures: AuthenticationFailures;
}

const DEVELOPMENT =
  'a development server without (set VAPI_WEBHOOK_SECRET) takes them as application/json only, under a loopback name or ' +
  'that of PUBLIC_URL, and from no web page';

/** Routes of webhooks. */
export function webhookRoutes(operations: Operations, { handler, failures }: WebhookRouteDeps): Route[] {
  return [
    route(operations.vapiWebhook, async ({ file, context }) => {
      const { client, correlationId, signal } = context;
      const { status, body } = await handler.handle({ headers: client.headers, body: file, correlationId, signal });
      if (status === 401) throw refusalOf('refused', client.address, failures);
      if (status === 403) throw refusalOf('closed', client.address, failures);
      return answer(body, status);
    }),
  ];
}

/** Refuses by the headers alone what cannot come from the platform, before anything is read, and tells apart strangers. */
export function screenWebhook({ handler, failures }: WebhookRouteDeps): RequestHandler {
  return (req, _res, next) => {
    const screening = handler.screen(req.headers);
    if (screening === 'signed') {
      const refusal = failures.refusalUnread(addressOf(req));
      if (refusal) throw refusal;
      stateOf(req).unproven = true;
    } else if (screening !== 'granted') {
      throw refusalOf(screening, addressOf(req), failures);
    }
    next();
  };
}

function refusalOf(
  screening: Exclude<WebhookScreening, 'granted' | 'signed'>,
  address: string,
  failures: AuthenticationFailures,
): VoiceAuthError {
  if (screening === 'refused') return failures.refusal(address, 'The webhook has no valid secret, token or signature');
  const problem = 'No secret, token or signature is configured for webhooks';
  return new VoiceAuthError('Forbidden', screening === 'foreign' ? `${problem}; ${DEVELOPMENT}` : problem);
}
