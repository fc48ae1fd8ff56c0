/** Calls as VAPI tells a service of them, for end-to-end tests: begun, asked about by tools, and ended, all by webhook. */
import type { Json } from '../../src/cli/client.js';
import {
  type SimulatedCallOptions,
  type SimulatedReply,
  SimulatedVapiCall,
} from '../../src/telephony/simulator/vapi-platform.js';
import type { LocalService } from './local-service.js';

/** Tool results as JSON, and nobody locked out by the rejects of a test. */
export const TOLD_CALLS_ENVIRONMENT = {
  VAPI_RESULT_FORMAT: 'json',
  MAX_FAILED_ATTEMPTS: '100',
  LOCKOUT_MINUTES: '0.01',
} as const;

export interface ToolOptions {
  /** Id of the tool call; default: a new one. */
  readonly id?: string;
  readonly arguments?: Json;
}

export class ToldCall {
  readonly callId: string;
  readonly #service: LocalService;
  readonly #told: SimulatedVapiCall;

  constructor(service: LocalService, options: Omit<SimulatedCallOptions, 'webhookUrl'>) {
    this.callId = options.callId;
    this.#service = service;
    this.#told = new SimulatedVapiCall({ ...options, webhookUrl: `${service.server.url}/vapi/webhook` });
  }

  /** The call is in progress. */
  async begin(): Promise<void> {
    requireTaken(await this.#told.status('in-progress'));
  }

  /** The agent calls one tool; all that it is answered, once per delivery. */
  async deliveries(name: string, { id, arguments: args }: ToolOptions = {}): Promise<Json[]> {
    const tool = { name, ...(id === undefined ? {} : { id }), ...(args === undefined ? {} : { arguments: args }) };
    const replies = await this.#told.callTools([tool]);
    requireTaken(replies);
    return replies.map(toolResult);
  }

  /** The agent calls one tool. */
  async tool(name: string, options: ToolOptions = {}): Promise<Json> {
    return (await this.deliveries(name, options))[0]!;
  }

  verify(options: ToolOptions = {}): Promise<Json> {
    return this.tool('verify_caller', options);
  }

  /** The call is over. */
  async end(): Promise<void> {
    requireTaken(await this.#told.endOfCallReport());
  }

  /** How the service says that the call stands. */
  status(): Promise<Json> {
    return this.#service.client.get(`/api/v1/calls/vapi/${this.callId}`);
  }

  /** Attempts of a user that were recorded for this call. */
  async attempts(userId: string): Promise<Json[]> {
    const { attempts } = await this.#service.client.get(`/api/v1/users/${userId}/auth-history?limit=200`);
    return (attempts as Json[]).filter(({ call_id }) => call_id === this.callId);
  }
}

function requireTaken(replies: readonly SimulatedReply[]): void {
  const refused = replies.find(({ status }) => status !== 200);
  if (refused) throw new Error(`a webhook was answered ${refused.status}`);
}

/** The result of the first tool of a reply, or its error. The message before there were tools has one result only. */
function toolResult({ body }: SimulatedReply): Json {
  const { results, result } = body as { results?: { result?: string; error?: string }[]; result?: string };
  const said = results ? (results[0]?.result ?? results[0]?.error) : result;
  if (said === undefined) throw new Error('a tool call was not answered');
  return JSON.parse(said) as Json;
}
