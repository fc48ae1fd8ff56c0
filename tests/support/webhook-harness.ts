/** The webhook over scripted calls and a scripted VAPI; everything it logs is kept, down to the finest level. */
import { PassThrough } from 'node:stream';
import type { VapiWebhookConfig } from '../../src/config/config.js';
import type { CallFacts } from '../../src/domain/calls/calls.js';
import { createLogger } from '../../src/observability/logger.js';
import { Metrics } from '../../src/observability/metrics.js';
import type { CallLookup, ControlMessage, Delivery } from '../../src/telephony/vapi/webhook/vapi-api.js';
import { VapiWebhook, type VapiWebhookReply } from '../../src/telephony/vapi/webhook/vapi-webhook.js';
import { ScriptedCalls } from './scripted-calls.js';

export const CALL_ID = '6b38b0c2-5d0f-4a6e-9a43-0e1f2d3c4b5a';
export const CALLER = '+14566836490';
export const LISTEN_URL = 'wss://listen-a.vapi.ai/6b38-s3cret/listen';
export const CONTROL_URL = 'https://control-a.vapi.ai/6b38-s3cret/control';
/** Goes with every message that the harness delivers. */
const CORRELATION_ID = 'corr-0001';
/** What the messages of `callObject` say about the call. */
export const CALL_FACTS: CallFacts = {
  platform: 'vapi',
  callId: CALL_ID,
  callerNumber: CALLER,
  listenUrl: LISTEN_URL,
  correlationId: CORRELATION_ID,
};
export const SECRET = 'webhook-s3cret';
export const SECRETS = [SECRET, CALLER, LISTEN_URL, CONTROL_URL, 's3cret'];

export function webhookConfig(overrides: Partial<VapiWebhookConfig> = {}): VapiWebhookConfig {
  return {
    secrets: [SECRET],
    bearerTokens: [],
    hmac: undefined,
    unauthenticated: false,
    publicHost: undefined,
    toolTimeoutMs: 20_000,
    resultFormat: 'text',
    lateVerdict: 'off',
    ...overrides,
  };
}

export class ScriptedVapi {
  canFindCalls = false;
  readonly lookups: { readonly callId: string; readonly timeoutMs: number }[] = [];
  readonly delivered: { readonly controlUrl: string; readonly message: ControlMessage }[] = [];
  onFind: (signal: AbortSignal) => Promise<CallLookup> = async () => ({ kind: 'failed', outcome: 'http_404' });
  onControl: () => Promise<Delivery> = async () => ({ kind: 'delivered' });

  findCall(callId: string, { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal }): Promise<CallLookup> {
    this.lookups.push({ callId, timeoutMs });
    return this.onFind(signal);
  }

  control(controlUrl: string, message: ControlMessage): Promise<Delivery> {
    this.delivered.push({ controlUrl, message });
    return this.onControl();
  }
}

export interface WebhookHarness {
  readonly webhook: VapiWebhook;
  readonly calls: ScriptedCalls;
  readonly vapi: ScriptedVapi;
  readonly metrics: Metrics;
  readonly shutdown: AbortController;
  /** Delivers a message with the right secret. */
  deliver(message: object): Promise<VapiWebhookReply>;
  /** Delivers a body as it is, with the right secret. */
  deliverBytes(body: string | Uint8Array): Promise<VapiWebhookReply>;
  /** Value of a counter with these labels; 0 when it has none. */
  count(name: 'webhooks' | 'toolCalls', labels: Readonly<Record<string, string>>): Promise<number>;
  logText(): string;
}

export function webhookHarness(overrides: Partial<VapiWebhookConfig> = {}): WebhookHarness {
  const log = new PassThrough();
  const lines: string[] = [];
  log.on('data', (chunk: Buffer) => lines.push(chunk.toString()));
  const metrics = new Metrics();
  const calls = new ScriptedCalls();
  const vapi = new ScriptedVapi();
  const shutdown = new AbortController();
  const webhook = new VapiWebhook({
    config: webhookConfig(overrides),
    calls,
    api: vapi,
    metrics,
    logger: createLogger('trace', log),
    shutdown: shutdown.signal,
  });
  const deliverBytes = (body: string | Uint8Array) =>
    webhook.handle({
      headers: { 'x-vapi-secret': SECRET },
      body: Buffer.from(body),
      correlationId: CORRELATION_ID,
      signal: new AbortController().signal,
    });
  return {
    webhook,
    calls,
    vapi,
    metrics,
    shutdown,
    deliver: (message) => deliverBytes(JSON.stringify({ message })),
    deliverBytes,
    count: async (name, labels) => {
      const { values } = await metrics[name].get();
      return values
        .filter((value) => Object.entries(labels).every(([key, label]) => value.labels[key] === label))
        .reduce((sum, { value }) => sum + value, 0);
    },
    logText: () => lines.join(''),
  };
}

/** The call object of a message; the URLs are there unless left out. */
export function callObject(overrides: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    id: CALL_ID,
    status: 'ringing',
    customer: { number: CALLER },
    monitor: { listenUrl: LISTEN_URL, controlUrl: CONTROL_URL },
    ...overrides,
  };
}

/** A `tool-calls` message with one call. */
export function toolMessage(name: string, args: unknown = {}, overrides: Readonly<Record<string, unknown>> = {}) {
  return {
    type: 'tool-calls',
    toolCallList: [{ id: 'call_1', type: 'function', function: { name, arguments: args } }],
    call: callObject(),
    ...overrides,
  };
}

/** Result or error text of the only tool call of a reply. */
export function onlyResult(reply: VapiWebhookReply): string {
  const { results } = reply.body as { results: { result?: string; error?: string }[] };
  if (results.length !== 1) throw new Error(`expected one result, got ${results.length}`);
  return results[0]?.result ?? results[0]?.error ?? '';
}
