/**
 * Everything VAPI's webhooks have been seen or documented to look like, as options of the simulator, and one named example
 * of each; and every way in which a webhook shows where it comes from.
 */
import { createHmac } from 'node:crypto';
import type { WebhookHmacConfig } from '../../config/config.js';

export const TOOL_LISTS = ['toolCallList', 'toolCalls', 'toolWithToolCallList'] as const;
export type ToolList = (typeof TOOL_LISTS)[number];

export interface WebhookVariant {
  /** `flat_*` leaves out the inner `function`; `function-call` is the message before there were tools. */
  readonly toolShape:
    | 'function_arguments'
    | 'function_parameters'
    | 'flat_arguments'
    | 'flat_parameters'
    | 'function-call';
  readonly argumentsAs: 'object' | 'json_text';
  /** Which lists of a `tool-calls` message are there. */
  readonly toolLists: readonly ToolList[];
  /** Seconds in `server.timeoutSeconds` of each tool; undefined = not said. */
  readonly toolTimeoutSeconds: number | undefined;
  readonly timestamp: 'iso' | 'number' | 'none';
  /** Events that carry the listen and control URLs of the call. */
  readonly monitor: 'all' | 'not_tool_calls' | 'none';
  /** `call.status` stays at `ringing` whatever the status of the message. */
  readonly staleCallStatus: boolean;
  /** Where the caller's number is: in the call, at the root of the message, as a SIP address, or nowhere. */
  readonly customer: 'call' | 'root' | 'sip' | 'none';
  /** Payloads repeat the secret of the server they are sent to. */
  readonly echoedSecret: string | undefined;
  /** How often each event is delivered. */
  readonly deliveries: 1 | 2;
}

/** The captured payload: all lists, arguments as objects, ISO time, URLs in every event. */
export const DEFAULT_WEBHOOK_VARIANT: WebhookVariant = {
  toolShape: 'function_arguments',
  argumentsAs: 'object',
  toolLists: ['toolCallList', 'toolWithToolCallList'],
  toolTimeoutSeconds: 20,
  timestamp: 'iso',
  monitor: 'all',
  staleCallStatus: false,
  customer: 'call',
  echoedSecret: undefined,
  deliveries: 1,
};

export interface NamedWebhookVariant {
  readonly description: string;
  readonly options: Partial<WebhookVariant>;
}

/** One example of every behaviour, by the name that command lines and tests use. */
export const WEBHOOK_VARIANTS = {
  captured: { description: 'as captured: arguments as an object under function', options: {} },
  'json-text': { description: 'arguments as JSON text, as in the SDK', options: { argumentsAs: 'json_text' } },
  'function-parameters': {
    description: 'arguments called parameters',
    options: { toolShape: 'function_parameters' },
  },
  'flat-arguments': { description: 'name and arguments without function', options: { toolShape: 'flat_arguments' } },
  'flat-parameters': { description: 'name and parameters without function', options: { toolShape: 'flat_parameters' } },
  'flat-json-text': {
    description: 'flat, parameters as JSON text',
    options: { toolShape: 'flat_parameters', argumentsAs: 'json_text' },
  },
  'tool-calls-only': { description: 'only the list toolCalls', options: { toolLists: ['toolCalls'] } },
  'with-tool-only': { description: 'only toolWithToolCallList', options: { toolLists: ['toolWithToolCallList'] } },
  'documented-flat': {
    description: 'the documentation: name outside of toolCall in toolWithToolCallList, parameters',
    options: { toolShape: 'flat_parameters', toolLists: ['toolWithToolCallList', 'toolCallList'] },
  },
  'function-call': {
    description: 'the message before tools: one call without an id',
    options: { toolShape: 'function-call', argumentsAs: 'json_text' },
  },
  'no-tool-timeout': { description: 'no timeoutSeconds', options: { toolTimeoutSeconds: undefined } },
  'numeric-timestamp': { description: 'time as a number of milliseconds', options: { timestamp: 'number' } },
  'no-timestamp': { description: 'no time at all', options: { timestamp: 'none' } },
  'no-monitor': { description: 'no URLs of the call in any event', options: { monitor: 'none' } },
  'no-monitor-in-tool-calls': { description: 'tool calls lack the URLs', options: { monitor: 'not_tool_calls' } },
  'stale-status': { description: 'call.status stays at ringing', options: { staleCallStatus: true } },
  'customer-at-root': { description: "the caller's number outside of the call", options: { customer: 'root' } },
  'sip-caller': { description: 'the caller has a SIP address', options: { customer: 'sip' } },
  'withheld-number': { description: 'nothing about the caller', options: { customer: 'none' } },
  'echoed-secret': { description: 'payloads repeat the server secret', options: { echoedSecret: 'echoed-5ecret' } },
  'delivered-twice': { description: 'every event comes twice', options: { deliveries: 2 } },
} as const satisfies Readonly<Record<string, NamedWebhookVariant>>;

export type WebhookVariantName = keyof typeof WEBHOOK_VARIANTS;

export type WebhookCredentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'secret' | 'bearer'; readonly secret: string }
  | { readonly kind: 'hmac'; readonly hmac: WebhookHmacConfig; readonly timestamp: 'seconds' | 'milliseconds' | 'iso' };

const PLAIN_HMAC = {
  algorithm: 'sha256',
  signatureHeader: 'x-signature',
  timestampHeader: 'x-timestamp',
  payload: '{timestamp}.{body}',
  encoding: 'hex',
  prefix: '',
  toleranceMs: 300_000,
} as const;

/** The signature schemes of the documentation and its examples, without their secrets. */
export const HMAC_VARIANTS = {
  documented: { hmac: PLAIN_HMAC, timestamp: 'seconds' },
  milliseconds: { hmac: PLAIN_HMAC, timestamp: 'milliseconds' },
  'iso-time': { hmac: PLAIN_HMAC, timestamp: 'iso' },
  'body-only': {
    hmac: { ...PLAIN_HMAC, signatureHeader: 'x-vapi-signature', payload: '{body}' },
    timestamp: 'seconds',
  },
  prefixed: { hmac: { ...PLAIN_HMAC, prefix: 'sha256=' }, timestamp: 'seconds' },
  base64: { hmac: { ...PLAIN_HMAC, encoding: 'base64' }, timestamp: 'seconds' },
  sha1: { hmac: { ...PLAIN_HMAC, algorithm: 'sha1' }, timestamp: 'seconds' },
  sha512: { hmac: { ...PLAIN_HMAC, algorithm: 'sha512' }, timestamp: 'seconds' },
} as const satisfies Readonly<
  Record<string, { hmac: Omit<WebhookHmacConfig, 'secrets'>; timestamp: 'seconds' | 'milliseconds' | 'iso' }>
>;

/** What VAPI sends along to show that `body` is its own. */
export function credentialHeaders(
  credentials: WebhookCredentials,
  body: string,
  nowMs: number,
): Record<string, string> {
  switch (credentials.kind) {
    case 'none':
      return {};
    case 'secret':
      return { 'x-vapi-secret': credentials.secret };
    case 'bearer':
      return { authorization: `Bearer ${credentials.secret}` };
    case 'hmac': {
      const { hmac } = credentials;
      const timestamp = timeText(nowMs, credentials.timestamp);
      const payload = hmac.payload.replace('{timestamp}', timestamp).replace('{body}', () => body);
      const signature = createHmac(hmac.algorithm, hmac.secrets[0] ?? '')
        .update(payload)
        .digest(hmac.encoding);
      const signed = { [hmac.signatureHeader]: `${hmac.prefix}${signature}` };
      return hmac.payload.includes('{timestamp}') ? { ...signed, [hmac.timestampHeader]: timestamp } : signed;
    }
  }
}

function timeText(nowMs: number, form: 'seconds' | 'milliseconds' | 'iso'): string {
  if (form === 'iso') return new Date(nowMs).toISOString();
  return String(form === 'seconds' ? Math.floor(nowMs / 1000) : nowMs);
}
