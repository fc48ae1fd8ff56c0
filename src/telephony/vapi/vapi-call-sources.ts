/** Makes call sources from listen URLs: the door where a URL from a caller is checked before anything dials it. */
import type { OutboundConfig, VapiListenConfig } from '../../config/config.js';
import type { CallSourceFactory } from '../../domain/ports/call-source.js';
import type { Logger } from '../../observability/logger.js';
import type { Metrics } from '../../observability/metrics.js';
import { checkUrl } from '../../outbound/address-policy.js';
import { createGuardedLookup } from '../../outbound/guarded-lookup.js';
import { VapiListenSource } from './listen-source.js';

export interface CallSourcesOptions {
  readonly vapi: VapiListenConfig;
  readonly outbound: OutboundConfig;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** The factory the domain gets. `vapiListen` throws `ValidationError` for a URL that may not be dialled. */
export function createCallSources({ vapi, outbound, metrics, logger }: CallSourcesOptions): CallSourceFactory {
  const lookup = createGuardedLookup({ allowPrivateNetwork: outbound.allowPrivateNetwork });
  return {
    vapiListen: (listenUrl) =>
      new VapiListenSource(checkUrl(listenUrl, { kind: 'listen', config: outbound }), {
        config: vapi,
        lookup,
        metrics,
        logger,
      }),
  };
}
