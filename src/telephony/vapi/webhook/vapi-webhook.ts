/**
 * The door for VAPI's webhooks: who sends them, which call they are about, and what is to be done. Once a webhook is
 * believed the answer is always 200, since VAPI ignores the content of any other; what is wrong is said in the tool
 * results, counted and logged. Numbers, URLs and secrets of the messages go to the use cases and nowhere else.
 */
import type { VapiWebhookConfig } from '../../../config/config.js';
import type { CallsUseCase } from '../../../domain/calls/calls.js';
import { asVoiceAuthError } from '../../../domain/errors.js';
import { linkSignals } from '../../../domain/timing/linked-signal.js';
import { withCorrelation } from '../../../observability/correlation.js';
import type { Logger } from '../../../observability/logger.js';
import type { Metrics } from '../../../observability/metrics.js';
import { CallFinder, factsOf } from './call-finder.js';
import { CallMemory } from './call-memory.js';
import { CallerTools } from './caller-tools.js';
import { LateVerdicts } from './late-verdicts.js';
import { ToolMessages } from './tool-messages.js';
import type { VapiApi } from './vapi-api.js';
import {
  accessByHeaders,
  authenticateWebhook,
  type WebhookAccess,
  type WebhookHeaders,
} from './webhook-authentication.js';
import { type MessageType, parseWebhookMessage, type WebhookMessage } from './webhook-message.js';
import type { WireCall } from './wire-call.js';

export interface VapiWebhookDeps {
  readonly config: VapiWebhookConfig;
  readonly calls: CallsUseCase;
  readonly api: Pick<VapiApi, 'canFindCalls' | 'findCall' | 'control'>;
  readonly metrics: Pick<Metrics, 'webhooks' | 'toolCalls' | 'toolSeconds'>;
  readonly logger: Logger;
  /** Late verdicts say with it that there is none. */
  readonly shutdown: AbortSignal;
  /** Milliseconds since 1970; default: the system's clock. */
  readonly now?: () => number;
}

export interface VapiWebhookRequest {
  /** Names in lower case. */
  readonly headers: WebhookHeaders;
  /** As received: signatures are over these bytes. */
  readonly body: Uint8Array;
  readonly correlationId: string;
  /** Aborted when VAPI has gone away. */
  readonly signal: AbortSignal;
}

export interface VapiWebhookReply {
  readonly status: number;
  readonly body: unknown;
}

type UsableMessage = Exclude<WebhookMessage, { readonly kind: 'unusable' }>;

/** For asking VAPI about a call that begins; nobody waits for it. */
const LOOKUP_TIMEOUT_MS = 3_000;

const NOTHING_TO_SAY: VapiWebhookReply = { status: 200, body: {} };

export class VapiWebhook {
  readonly #deps: VapiWebhookDeps;
  readonly #memory = new CallMemory();
  readonly #finder: CallFinder;
  readonly #late: LateVerdicts;
  readonly #toolMessages: ToolMessages;
  /** Calls whose session is being opened, and what says that they are over already. */
  readonly #beginning = new Map<string, { readonly over: AbortController; readonly work: Promise<void> }>();

  constructor(deps: VapiWebhookDeps) {
    this.#deps = deps;
    this.#finder = new CallFinder({ ...deps, memory: this.#memory });
    this.#late = new LateVerdicts(deps);
    const tools = new CallerTools({ calls: deps.calls, late: this.#late });
    this.#toolMessages = new ToolMessages({ ...deps, tools, finder: this.#finder });
  }

  /** Judges a webhook by its headers, before its body is read; `signed` means that only the body can tell. */
  screen(headers: WebhookHeaders): WebhookAccess['kind'] | 'signed' {
    const { kind } = accessByHeaders(headers, this.#deps.config);
    if (kind !== 'granted' && kind !== 'signed') this.#refuse(kind);
    return kind;
  }

  /** Answers one webhook. Never rejects. */
  async handle(request: VapiWebhookRequest): Promise<VapiWebhookReply> {
    const access = authenticateWebhook(request, this.#deps.config, this.#now());
    if (access.kind !== 'granted') return { status: this.#refuse(access.kind), body: {} };
    const message = parseWebhookMessage(request.body);
    if (message.kind === 'unusable') return this.#unusable('unknown', message.problem);
    const { correlationId } = request;
    const callId = message.call.kind === 'call' ? message.call.call.callId : undefined;
    return withCorrelation({ correlationId, callId }, async () => {
      try {
        return await this.#dispatch(message, request);
      } catch (error) {
        this.#count(message.kind, codeOf(error));
        this.#deps.logger.error({ err: error, type: message.kind }, 'a webhook could not be processed');
        return NOTHING_TO_SAY;
      }
    });
  }

  /** Resolves when no late verdict is owed to any call. */
  settled(): Promise<void> {
    return this.#late.settled();
  }

  /** Resolves when nothing that webhooks have begun runs any more; `shutdown` is to be aborted first. */
  async close(): Promise<void> {
    await Promise.all([...this.#beginning.values()].map(({ work }) => work));
    await this.#late.settled();
  }

  async #dispatch(message: UsableMessage, request: VapiWebhookRequest): Promise<VapiWebhookReply> {
    const { kind, sentAt } = message;
    const status = kind === 'status-update' ? message.status : undefined;
    const ageMs = sentAt && this.#now() - sentAt.getTime();
    this.#deps.logger.debug({ event: 'webhook', type: kind, status, age_ms: ageMs }, 'webhook');
    if (kind === 'tool-calls' || kind === 'function-call') {
      const body = await this.#toolMessages.answer(message, request);
      this.#count(kind, message.call.kind === 'call' ? 'ok' : `${message.call.kind}_call_id`);
      return { status: 200, body };
    }
    if (message.call.kind === 'call') {
      // A beginning is counted when it is known how it went.
      const taken = await this.#takeIn(message, message.call.call, request.correlationId);
      if (taken === 'counted_later') return NOTHING_TO_SAY;
    } else if (kind === 'status-update' || kind === 'end-of-call-report') {
      return this.#unusable(kind, `${message.call.kind}_call_id`);
    }
    if (kind === 'assistant-request') {
      // No answer of ours can help: we know no assistant, and an `error` would be read out to the caller.
      this.#deps.logger.warn({ event: 'assistant_request' }, 'VAPI asks which assistant to use; this service has none');
    }
    this.#count(kind, kind === 'assistant-request' ? 'not_supported' : 'ok');
    return NOTHING_TO_SAY;
  }

  /** What an event says about its call. Throws what ending a call throws. */
  async #takeIn(message: UsableMessage, call: WireCall, correlationId: string): Promise<'done' | 'counted_later'> {
    const status = message.kind === 'status-update' ? message.status : undefined;
    if (status === 'ended' || message.kind === 'end-of-call-report') {
      this.#memory.forget(call.callId);
      // The late question is not stopped: it ends with the call, once the last words are judged.
      this.#late.silence(call.callId);
      this.#beginning.get(call.callId)?.over.abort();
      await this.#deps.calls.end('vapi', call.callId);
      return 'done';
    }
    const known = this.#memory.learn(call);
    // Who talks is on a call that is under way, even if its beginning was told to a process that is gone.
    const talking = message.kind === 'transcript' && known.listenUrl !== undefined;
    if (status !== 'in-progress' && !talking) return 'done';
    this.#startBeginning(known, message.kind, correlationId);
    return 'counted_later';
  }

  /** Not waited for: VAPI needs no answer to this, and connecting to the call may take a while. */
  #startBeginning(call: WireCall, type: MessageType, correlationId: string): void {
    const { callId } = call;
    if (this.#beginning.has(callId)) {
      this.#count(type, 'repeated');
      return;
    }
    const over = new AbortController();
    const work = this.#begin(call, type, { correlationId, over: over.signal }).finally(() =>
      this.#beginning.delete(callId),
    );
    this.#beginning.set(callId, { over, work });
  }

  /** Never rejects. */
  async #begin(
    call: WireCall,
    type: MessageType,
    { correlationId, over }: { readonly correlationId: string; readonly over: AbortSignal },
  ): Promise<void> {
    const { calls, logger, shutdown } = this.#deps;
    const { signal, unlink } = linkSignals([shutdown, over]);
    try {
      const complete = await this.#finder.complete(call, { timeoutMs: LOOKUP_TIMEOUT_MS, signal });
      if (signal.aborted) {
        // A session of a call that has ended while VAPI was asked would never be closed.
        this.#memory.forget(call.callId);
        this.#count(type, 'stopped');
        return;
      }
      await calls.begin(factsOf(complete, correlationId));
      this.#count(type, 'ok');
    } catch (error) {
      this.#count(type, codeOf(error));
      logger.warn({ err: error, event: 'begin_failed' }, 'a call could not be listened to from its start');
    } finally {
      unlink();
    }
  }

  #refuse(kind: 'refused' | 'closed' | 'foreign'): 401 | 403 {
    this.#count('unknown', kind === 'refused' ? 'unauthorized' : 'forbidden');
    if (kind === 'refused') return 401;
    this.#deps.logger.warn({ event: `webhook_${kind}` }, 'a webhook came, but no way to authenticate it is configured');
    return 403;
  }

  #unusable(type: MessageType | 'unknown', problem: string): VapiWebhookReply {
    this.#count(type, problem);
    this.#deps.logger.warn({ event: 'unusable_webhook', type, problem }, 'a webhook could not be understood');
    return NOTHING_TO_SAY;
  }

  #count(type: MessageType | 'unknown', outcome: string): void {
    this.#deps.metrics.webhooks.inc({ type, outcome });
  }

  #now(): number {
    return (this.#deps.now ?? Date.now)();
  }
}

function codeOf(error: unknown): string {
  return asVoiceAuthError(error).code;
}
