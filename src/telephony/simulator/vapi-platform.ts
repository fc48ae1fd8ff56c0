/**
 * The side of VAPI that sends webhooks: one simulated call that tells a server what happens to it and calls its tools, in
 * every variant known. Drives a whole story together with the listen simulator, for the command line and for tests.
 */
import {
  credentialHeaders,
  DEFAULT_WEBHOOK_VARIANT,
  type ToolList,
  type WebhookCredentials,
  type WebhookVariant,
} from './webhook-variants.js';

export interface SimulatedCallOptions {
  /** The server URL that VAPI has been given. */
  readonly webhookUrl: string;
  readonly callId: string;
  /** E.164. */
  readonly callerNumber: string;
  readonly listenUrl?: string;
  readonly controlUrl?: string;
  readonly variant?: Partial<WebhookVariant>;
  /** Default: none. */
  readonly credentials?: WebhookCredentials;
  /** Go along with every event. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds since 1970; default: the system's clock. */
  readonly now?: () => number;
}

export interface SimulatedToolCall {
  /** Default: a new one. */
  readonly id?: string;
  readonly name: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
}

export interface SimulatedReply {
  readonly status: number;
  /** Parsed JSON; undefined when it was none. */
  readonly body: unknown;
}

/** Longest time-out that VAPI allows for a tool. */
const TIMEOUT_MS = 300_000;

export class SimulatedVapiCall {
  readonly #options: SimulatedCallOptions;
  readonly #variant: WebhookVariant;
  readonly #now: () => number;
  #status = 'scheduled';
  #tools = 0;

  constructor(options: SimulatedCallOptions) {
    this.#options = options;
    this.#variant = { ...DEFAULT_WEBHOOK_VARIANT, ...options.variant };
    this.#now = options.now ?? Date.now;
  }

  /** The call has got so far, e.g. `in-progress`. */
  status(
    status: 'scheduled' | 'queued' | 'ringing' | 'in-progress' | 'forwarding' | 'ended',
  ): Promise<SimulatedReply[]> {
    this.#status = status;
    const why = status === 'ended' ? { endedReason: 'customer-ended-call' } : {};
    return this.send('status-update', { status, ...why });
  }

  /** The agent calls tools, all in one message (the old message takes only one). */
  callTools(toolCalls: readonly SimulatedToolCall[]): Promise<SimulatedReply[]> {
    const calls = toolCalls.map(({ id, ...call }) => ({ ...call, id: id ?? `call_${++this.#tools}` }));
    if (this.#variant.toolShape === 'function-call') {
      const [first] = calls;
      const functionCall = { name: first?.name, parameters: this.#arguments(first?.arguments) };
      return this.send('function-call', { functionCall });
    }
    return this.send(
      'tool-calls',
      Object.fromEntries(this.#variant.toolLists.map((list) => [list, this.#list(list, calls)])),
    );
  }

  /** Somebody has said something. */
  transcript(text: string, role: 'user' | 'assistant' = 'user'): Promise<SimulatedReply[]> {
    return this.send('transcript', { role, transcriptType: 'final', transcript: text });
  }

  /** The last event of a call, with all that was said. */
  endOfCallReport(transcript = ''): Promise<SimulatedReply[]> {
    this.#status = 'ended';
    const artifact = { transcript, recording: { stereoUrl: 'https://storage.vapi.ai/recording.wav' } };
    return this.send('end-of-call-report', { endedReason: 'customer-ended-call', artifact });
  }

  /** VAPI asks which assistant is to take the call. */
  assistantRequest(): Promise<SimulatedReply[]> {
    return this.send('assistant-request', {});
  }

  /** Any event: sends it as often as the variant says, one after the other, and returns the replies. */
  async send(type: string, fields: Readonly<Record<string, unknown>>): Promise<SimulatedReply[]> {
    const body = JSON.stringify(this.message(type, fields));
    const replies: SimulatedReply[] = [];
    for (let delivery = 0; delivery < this.#variant.deliveries; delivery++) replies.push(await this.#post(body));
    return replies;
  }

  /** The payload of an event, as it would be sent now. */
  message(type: string, fields: Readonly<Record<string, unknown>>): { readonly message: Record<string, unknown> } {
    const { timestamp, customer, echoedSecret } = this.#variant;
    const nowMs = this.#now();
    const time = timestamp === 'iso' ? new Date(nowMs).toISOString() : nowMs;
    return {
      message: {
        type,
        ...fields,
        call: this.#call(type),
        ...(timestamp === 'none' ? {} : { timestamp: time }),
        ...(customer === 'root' ? { customer: { number: this.#options.callerNumber } } : {}),
        ...(echoedSecret === undefined
          ? {}
          : { assistant: { server: { url: this.#options.webhookUrl, secret: echoedSecret } } }),
      },
    };
  }

  #call(type: string): Record<string, unknown> {
    const { callId, callerNumber, listenUrl, controlUrl } = this.#options;
    const { monitor, staleCallStatus, customer } = this.#variant;
    const isTool = type === 'tool-calls' || type === 'function-call';
    const told = monitor === 'all' || (monitor === 'not_tool_calls' && !isTool);
    return {
      id: callId,
      type: 'inboundPhoneCall',
      status: staleCallStatus ? 'ringing' : this.#status,
      ...(customer === 'call' ? { customer: { number: callerNumber } } : {}),
      ...(customer === 'sip' ? { customer: { sipUri: `sip:${callerNumber}@sip.example` } } : {}),
      ...(told ? { monitor: { listenUrl, controlUrl } } : {}),
    };
  }

  #list(list: ToolList, calls: readonly (SimulatedToolCall & { readonly id: string })[]): readonly object[] {
    const { toolTimeoutSeconds, echoedSecret, toolShape } = this.#variant;
    const flat = toolShape === 'flat_arguments' || toolShape === 'flat_parameters';
    return calls.map((call) => {
      const plain = this.#toolCall(call);
      if (list !== 'toolWithToolCallList') return plain;
      const server = { url: this.#options.webhookUrl, secret: echoedSecret, timeoutSeconds: toolTimeoutSeconds };
      const named = flat ? { name: call.name } : { type: 'function', function: { name: call.name } };
      return { ...named, server, toolCall: plain };
    });
  }

  #toolCall({ id, name, arguments: given }: SimulatedToolCall): object {
    const args = this.#arguments(given);
    switch (this.#variant.toolShape) {
      case 'flat_arguments':
        return { id, name, arguments: args };
      case 'flat_parameters':
        return { id, name, parameters: args };
      case 'function_parameters':
        return { id, type: 'function', function: { name, parameters: args } };
      default:
        return { id, type: 'function', function: { name, arguments: args } };
    }
  }

  #arguments(given: Readonly<Record<string, unknown>> = {}): unknown {
    return this.#variant.argumentsAs === 'json_text' ? JSON.stringify(given) : given;
  }

  async #post(body: string): Promise<SimulatedReply> {
    const { credentials = { kind: 'none' }, headers } = this.#options;
    const response = await fetch(this.#options.webhookUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...credentialHeaders(credentials, body, this.#now()), ...headers },
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const parsed: unknown = await response.json().catch(() => undefined);
    return { status: response.status, body: parsed };
  }
}
