/**
 * Starts OpenTelemetry when an OTLP endpoint is configured. The SDK is loaded only then: it costs start-up time, and its
 * default exporter makes shutdown slow when nobody listens.
 */
import { SERVICE_VERSION } from '../version.js';

export interface TracingOptions {
  readonly endpoint: string;
  readonly serviceName: string;
}

/** Starts the SDK; returns a function that flushes and stops it (bounded to `timeoutMs`). */
export async function startTracing(options: TracingOptions): Promise<(timeoutMs: number) => Promise<void>> {
  const [{ NodeSDK, resources, tracing }, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/sdk-node'),
    import('@opentelemetry/exporter-trace-otlp-proto'),
  ]);
  const url = options.endpoint.endsWith('/v1/traces')
    ? options.endpoint
    : `${options.endpoint.replace(/\/$/, '')}/v1/traces`;
  const sdk = new NodeSDK({
    resource: resources.resourceFromAttributes({
      'service.name': options.serviceName,
      'service.version': SERVICE_VERSION,
    }),
    spanProcessors: [new tracing.BatchSpanProcessor(new OTLPTraceExporter({ url }), { scheduledDelayMillis: 1_000 })],
    instrumentations: [],
    // The detectors would put the command line, the user and the host's id on every span.
    autoDetectResources: false,
  });
  sdk.start();
  return async (timeoutMs) => {
    let timer: NodeJS.Timeout | undefined;
    const expiry = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([sdk.shutdown().catch(() => undefined), expiry]);
    clearTimeout(timer);
  };
}
