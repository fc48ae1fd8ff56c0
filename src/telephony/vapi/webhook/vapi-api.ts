/**
 * The two things that VAPI is asked for: what its events of a call left out, and to put something into a running call. The
 * private key goes to the configured address only; control URLs come from events, so they are checked before they are
 * dialled. Nothing said here names a URL.
 */
import type { OutboundConfig, VapiApiConfig } from '../../../config/config.js';
import { checkUrl } from '../../../outbound/address-policy.js';
import { type GuardedAnswer, GuardedClient } from '../../../outbound/guarded-client.js';
import type { ResolveHost } from '../../../outbound/guarded-lookup.js';
import { parseJson } from '../../wire-json.js';
import { type CallDetails, callDetails } from './wire-call.js';

/** What can be put into a running call. */
export type ControlMessage =
  /** Told to the language model, which answers to it. */
  | { readonly kind: 'message'; readonly content: string }
  /** Spoken to the caller as it is. */
  | { readonly kind: 'say'; readonly content: string };

export type CallLookup =
  | { readonly kind: 'found'; readonly call: CallDetails }
  /** `outcome` is a stable word: an HTTP status or what broke. */
  | { readonly kind: 'failed'; readonly outcome: string };

export type Delivery = { readonly kind: 'delivered' } | { readonly kind: 'failed'; readonly outcome: string };

export interface VapiApiOptions {
  readonly api: VapiApiConfig;
  readonly outbound: Pick<OutboundConfig, 'listenHosts' | 'audioHosts' | 'controlHosts' | 'allowPrivateNetwork'>;
  /** Name resolution; default: the configured name servers. */
  readonly resolve?: ResolveHost;
}

const LOOKUP_TIMEOUT_MS = 3_000;
const CONTROL_TIMEOUT_MS = 5_000;
/** Calls carry their assistant, its prompts and all messages so far. */
const MAX_CALL_BYTES = 4 * 1024 * 1024;
const MAX_CONTROL_ANSWER_BYTES = 64 * 1024;

export class VapiApi {
  readonly #options: VapiApiOptions;
  readonly #api: GuardedClient;
  readonly #control: GuardedClient;

  constructor(options: VapiApiOptions) {
    this.#options = options;
    const { resolve } = options;
    const { allowPrivateNetwork } = options.outbound;
    // Configuration allows plain http for loopback addresses only, which are private by nature.
    const apiIsLocal = options.api.url.startsWith('http:');
    this.#api = new GuardedClient({
      allowPrivateNetwork: allowPrivateNetwork || apiIsLocal,
      timeoutMs: LOOKUP_TIMEOUT_MS,
      maxAnswerBytes: MAX_CALL_BYTES,
      resolve,
    });
    this.#control = new GuardedClient({
      allowPrivateNetwork,
      timeoutMs: CONTROL_TIMEOUT_MS,
      maxAnswerBytes: MAX_CONTROL_ANSWER_BYTES,
      resolve,
    });
  }

  /** Whether calls can be looked up: it takes the private key. */
  get canFindCalls(): boolean {
    return this.#options.api.privateKey !== undefined;
  }

  /** Asks for a call. Never rejects. */
  async findCall(
    callId: string,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<CallLookup> {
    const { url, privateKey } = this.#options.api;
    if (privateKey === undefined) return { kind: 'failed', outcome: 'no_key' };
    const answer = await this.#api.send(new URL(`${url}/call/${encodeURIComponent(callId)}`), {
      method: 'GET',
      headers: { authorization: `Bearer ${privateKey}` },
      body: undefined,
      ...options,
    });
    if (answer.kind === 'failed' || answer.status !== 200) return { kind: 'failed', outcome: outcomeOf(answer) };
    const call = parseJson(answer.body);
    return call === undefined ? { kind: 'failed', outcome: 'not_json' } : { kind: 'found', call: callDetails(call) };
  }

  /** Puts a message into a running call, once. Never rejects. */
  async control(controlUrl: string, message: ControlMessage, signal: AbortSignal): Promise<Delivery> {
    let url: URL;
    try {
      url = checkUrl(controlUrl, { kind: 'control', config: this.#options.outbound });
    } catch {
      return { kind: 'failed', outcome: 'refused_url' };
    }
    const answer = await this.#control.send(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(bodyOf(message)),
      timeoutMs: undefined,
      signal,
    });
    const delivered = answer.kind === 'answered' && answer.status >= 200 && answer.status < 300;
    return delivered ? { kind: 'delivered' } : { kind: 'failed', outcome: outcomeOf(answer) };
  }

  /** Ends running requests and closes all connections. */
  async close(): Promise<void> {
    await Promise.all([this.#api.close(), this.#control.close()]);
  }
}

function bodyOf({ kind, content }: ControlMessage): object {
  if (kind === 'say') return { type: 'say', content };
  return { type: 'add-message', message: { role: 'system', content }, triggerResponseEnabled: true };
}

function outcomeOf(answer: GuardedAnswer): string {
  return answer.kind === 'failed' ? answer.reason : `http_${answer.status}`;
}
