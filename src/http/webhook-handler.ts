/** What the HTTP layer needs of whoever understands the webhooks of a platform. */
import type { IncomingHttpHeaders } from 'node:http';

export interface WebhookRequest {
  /** Names in lower case. */
  readonly headers: IncomingHttpHeaders;
  /** As received: signatures are over these bytes. */
  readonly body: Uint8Array;
  readonly correlationId: string;
  /** Aborted when the platform has gone away before it was answered. */
  readonly signal: AbortSignal;
}

export interface WebhookReply {
  /** 200, 401 (not shown to come from the platform) or 403 (nobody can show that). */
  readonly status: number;
  /** JSON; only sent with 200. */
  readonly body: unknown;
}

export type WebhookScreening =
  /** The headers show where it comes from. */
  | 'granted'
  /** Only the body can show it. */
  | 'signed'
  /** Nothing in it can show that it comes from the platform. */
  | 'refused'
  /** Nobody can show that. */
  | 'closed'
  /** Nor here, where programs on this machine are believed, and this may be a web page. */
  | 'foreign';

export interface WebhookHandler {
  /** Judges a webhook by its headers, before its body is read. */
  screen(headers: IncomingHttpHeaders): WebhookScreening;
  /** Answers one webhook, authentication included. Never rejects. */
  handle(request: WebhookRequest): Promise<WebhookReply>;
}
