/** Answers messages with tool calls: all calls of a message at once, each within its own time, in one reply. */
import type { VapiWebhookConfig } from '../../../config/config.js';
import { validationError } from '../../../domain/errors.js';
import type { Logger } from '../../../observability/logger.js';
import type { Metrics } from '../../../observability/metrics.js';
import { withSpan } from '../../../observability/tracing.js';
import { type CallFinder, factsOf } from './call-finder.js';
import { type CallerTools, knownTool, type ToolContext } from './caller-tools.js';
import type { ToolCall } from './tool-call-list.js';
import { describeOutcome, labelOf, type ToolOutcome, toolResult } from './tool-results.js';
import type { WebhookMessage } from './webhook-message.js';
import type { CallReference, WireCall } from './wire-call.js';

export type ToolMessage = Extract<WebhookMessage, { readonly kind: 'tool-calls' | 'function-call' }>;

export interface ToolMessageDeps {
  readonly config: Pick<VapiWebhookConfig, 'toolTimeoutMs' | 'resultFormat'>;
  readonly tools: CallerTools;
  readonly finder: CallFinder;
  readonly metrics: Pick<Metrics, 'toolCalls' | 'toolSeconds'>;
  readonly logger: Logger;
}

interface Asker {
  readonly correlationId: string;
  readonly signal: AbortSignal;
}

/** VAPI's time for a tool call includes the way there and back. */
const ANSWER_MARGIN_MS = 1_500;
/** Share of the time for a tool call that may go into asking VAPI about the call. */
const LOOKUP_SHARE = 1 / 3;

export class ToolMessages {
  readonly #deps: ToolMessageDeps;

  constructor(deps: ToolMessageDeps) {
    this.#deps = deps;
  }

  /** The body of the reply. Never rejects: faults are told in it. */
  async answer(message: ToolMessage, asker: Asker): Promise<unknown> {
    const { resultFormat } = this.#deps.config;
    if (message.kind === 'function-call') {
      const [outcome] = await this.#performAll([message.toolCall], message.call, asker);
      return { result: outcome && describeOutcome(outcome, resultFormat) };
    }
    const { toolCalls, dropped } = message;
    if (dropped > 0) {
      this.#deps.logger.warn({ event: 'unusable_tool_calls', dropped }, 'tool calls without a usable id, or too many');
    }
    const outcomes = await this.#performAll(toolCalls, message.call, asker);
    return { results: outcomes.map((outcome, i) => toolResult(toolCalls[i]!, outcome, resultFormat)) };
  }

  #performAll(toolCalls: readonly ToolCall[], call: CallReference, asker: Asker): Promise<ToolOutcome[]> {
    const startedMs = performance.now();
    const deadlines = toolCalls.map(({ timeoutMs }) => deadlineOf(timeoutMs ?? this.#deps.config.toolTimeoutMs));
    const findCall = once((known: WireCall) => {
      const timeoutMs = Math.min(...deadlines) * LOOKUP_SHARE;
      return this.#deps.finder.complete(known, { timeoutMs, signal: asker.signal });
    });
    return Promise.all(
      toolCalls.map((toolCall, i) => {
        if (call.kind !== 'call') return this.#observed(toolCall, async () => noCall(call));
        const context: ToolContext = {
          callId: call.call.callId,
          findCall: async () => {
            const found = await findCall(call.call);
            return { facts: factsOf(found, asker.correlationId), controlUrl: found.controlUrl };
          },
          remainingMs: () => Math.max(0, Math.round(deadlines[i]! - (performance.now() - startedMs))),
          signal: asker.signal,
        };
        return this.#observed(toolCall, () => this.#deps.tools.perform(toolCall, context));
      }),
    );
  }

  async #observed({ name }: ToolCall, perform: () => Promise<ToolOutcome>): Promise<ToolOutcome> {
    const { metrics, logger } = this.#deps;
    const tool = knownTool(name) ?? 'other';
    const startedMs = performance.now();
    return withSpan('tool.call', { tool }, async (span) => {
      const outcome = await perform();
      const durationMs = Math.round(performance.now() - startedMs);
      const label = labelOf(outcome);
      span.setAttribute('outcome', label);
      metrics.toolCalls.inc({ tool, outcome: label });
      metrics.toolSeconds.observe({ tool }, durationMs / 1000);
      const line = { event: 'tool_call', tool, outcome: label, duration_ms: durationMs };
      if (outcome.kind === 'fault') logger.warn({ ...line, err: outcome.error }, 'tool call failed');
      else logger.info(line, 'tool call');
      return outcome;
    });
  }
}

/** When our answer has to be there: before VAPI gives up, but never in less than half of its time. */
export function deadlineOf(timeoutMs: number): number {
  return Math.max(timeoutMs - ANSWER_MARGIN_MS, timeoutMs / 2);
}

function noCall(call: Exclude<CallReference, { readonly kind: 'call' }>): ToolOutcome {
  return { kind: 'fault', error: validationError([{ path: 'call.id', message: `is ${call.kind}` }]) };
}

function once<A, T>(work: (argument: A) => Promise<T>): (argument: A) => Promise<T> {
  let result: Promise<T> | undefined;
  return (argument) => {
    result ??= work(argument);
    return result;
  };
}
