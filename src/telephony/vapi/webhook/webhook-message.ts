/**
 * What VAPI says in a webhook, from every shape that has been documented or seen, to one. Nothing is taken for granted:
 * whatever cannot be used becomes a kind of its own, never an exception, and no text of the message is repeated.
 */
import { createHash } from 'node:crypto';
import { fieldOf, parseJson, textOf } from '../../wire-json.js';
import { readFunctionCall, readToolCalls, type ToolCall } from './tool-call-list.js';
import { type CallReference, callOfMessage } from './wire-call.js';

export const MESSAGE_TYPES = [
  'status-update',
  'tool-calls',
  'function-call',
  'transcript',
  'end-of-call-report',
  'assistant-request',
  'other',
] as const;
export type MessageType = (typeof MESSAGE_TYPES)[number];

const CALL_STATUSES = ['scheduled', 'queued', 'ringing', 'in-progress', 'forwarding', 'ended'] as const;
export type CallProgress = (typeof CALL_STATUSES)[number] | 'other';

interface AboutCall {
  readonly call: CallReference;
  /** When VAPI sent it, as it says; undefined when it does not. */
  readonly sentAt: Date | undefined;
}

export type WebhookMessage =
  | ({ readonly kind: 'status-update'; readonly status: CallProgress } & AboutCall)
  | ({ readonly kind: 'tool-calls'; readonly toolCalls: readonly ToolCall[]; readonly dropped: number } & AboutCall)
  /** The form before tools: one call, answered by one result. */
  | ({ readonly kind: 'function-call'; readonly toolCall: ToolCall } & AboutCall)
  | ({ readonly kind: 'transcript' | 'end-of-call-report' | 'assistant-request' | 'other' } & AboutCall)
  | { readonly kind: 'unusable'; readonly problem: 'not_json' | 'no_type' };

/** Numbers below are seconds, above milliseconds: as seconds it is the year 5138, as milliseconds 1973. */
const SECONDS_BELOW = 1e11;
const MAX_TYPE_LENGTH = 64;

/** Understands the body of a webhook. */
export function parseWebhookMessage(body: Uint8Array): WebhookMessage {
  const root = parseJson(body);
  if (root === undefined) return { kind: 'unusable', problem: 'not_json' };
  const message = fieldOf(root, 'message') ?? root;
  const type = textOf(message, MAX_TYPE_LENGTH, 'type');
  if (type === undefined) return { kind: 'unusable', problem: 'no_type' };
  const about: AboutCall = { call: callOfMessage(message), sentAt: timeOf(fieldOf(message, 'timestamp')) };
  switch (type) {
    case 'status-update':
      return { kind: type, status: statusOf(message), ...about };
    case 'tool-calls':
      return { kind: type, ...readToolCalls(message), ...about };
    case 'function-call':
      // The same call delivered twice has the same bytes, so it gets the same id.
      return { kind: type, toolCall: readFunctionCall(message, `function-call:${fingerprint(body)}`), ...about };
    case 'transcript':
    case 'end-of-call-report':
    case 'assistant-request':
      return { kind: type, ...about };
    default:
      return { kind: 'other', ...about };
  }
}

/** The status of the message; the one of the call can be stale and only counts when there is no other. */
function statusOf(message: unknown): CallProgress {
  const status = fieldOf(message, 'status') ?? fieldOf(message, 'call', 'status');
  return CALL_STATUSES.find((known) => known === status) ?? 'other';
}

function timeOf(value: unknown): Date | undefined {
  const time =
    typeof value === 'number'
      ? new Date(value < SECONDS_BELOW ? value * 1000 : value)
      : typeof value === 'string' && value.length <= MAX_TYPE_LENGTH
        ? new Date(value)
        : undefined;
  return time === undefined || Number.isNaN(time.getTime()) ? undefined : time;
}

function fingerprint(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('base64url');
}
