/** What is known of a call: what its events have said, and, where they have not said enough, what VAPI answers. */
import type { CallFacts } from '../../../domain/calls/calls.js';
import type { Logger } from '../../../observability/logger.js';
import type { CallMemory } from './call-memory.js';
import type { VapiApi } from './vapi-api.js';
import type { WireCall } from './wire-call.js';

export interface CallFinderDeps {
  readonly memory: CallMemory;
  readonly api: Pick<VapiApi, 'canFindCalls' | 'findCall'>;
  readonly logger: Logger;
}

export class CallFinder {
  readonly #deps: CallFinderDeps;

  constructor(deps: CallFinderDeps) {
    this.#deps = deps;
  }

  /** The call with everything that can be learned of it; asks VAPI only when it is not known where to listen. */
  async complete(
    call: WireCall,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<WireCall> {
    const { memory, api, logger } = this.#deps;
    const known = memory.learn(call);
    if (known.listenUrl !== undefined || !api.canFindCalls) return known;
    const lookup = await api.findCall(call.callId, options);
    if (lookup.kind === 'found') return memory.learn({ ...lookup.call, callId: call.callId });
    logger.warn({ event: 'call_lookup_failed', outcome: lookup.outcome }, 'VAPI could not be asked about a call');
    return known;
  }
}

/** A call as the use cases want it. */
export function factsOf({ callId, callerNumber, listenUrl }: WireCall, correlationId: string): CallFacts {
  return { platform: 'vapi', callId, callerNumber, listenUrl, correlationId };
}
