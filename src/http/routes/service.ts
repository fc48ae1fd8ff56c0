/** Health, metrics and documentation: the service about itself. */
import type { ComponentHealth, HealthReporter } from '../../domain/ports/health.js';
import type { Metrics } from '../../observability/metrics.js';
import { SERVICE_VERSION } from '../../version.js';
import { answer, type Operation, type Route, route } from '../operation.js';
import type { metricsOperation, Operations } from '../operations.js';

/** Probes are public, so what they cost is bounded: one look at the components serves all that ask within this time. */
const HEALTH_CACHE_MS = 1000;

export interface ServiceRouteDeps {
  readonly health: HealthReporter;
  readonly metrics: Metrics;
  /** The page of all server processes; undefined = of this one. */
  readonly metricsPage?: (() => Promise<string>) | undefined;
  readonly isDraining: () => boolean;
  readonly document: { readonly openapi: string };
  readonly documentationPage: string;
}

/** Routes of the service itself. */
export function serviceRoutes(
  operations: Operations & { readonly metrics: ReturnType<typeof metricsOperation> },
  deps: ServiceRouteDeps,
): Route[] {
  const components = cachedFor(HEALTH_CACHE_MS, () => deps.health.components());
  return [
    route(operations.live, async () => answer({ status: 'ok' })),
    route(operations.ready, async () => {
      const found = await components();
      const draining = deps.isDraining();
      const ready = !draining && found.every(isOk);
      return answer(
        {
          status: ready ? 'ready' : 'not_ready',
          draining,
          components: found.map(({ name, ok, reason }) => ({ name, ok, ...(reason ? { reason } : {}) })),
        },
        ready ? 200 : 503,
      );
    }),
    route(operations.health, async () => {
      const found = await components();
      return answer({
        status: found.every(isOk) ? 'ok' : 'degraded',
        version: SERVICE_VERSION,
        draining: deps.isDraining(),
        components: found.map(({ detail, ...facts }) => ({ ...facts, detail: { ...detail } })),
      });
    }),
    route(operations.metrics, async () => ({
      status: 200,
      body: await (deps.metricsPage?.() ?? deps.metrics.registry.metrics()),
      contentType: deps.metrics.registry.contentType,
    })),
    route(operations.openApi, async () => answer(deps.document)),
    route(operations.docs, async () => answer(deps.documentationPage)),
    route(operations.index, async () =>
      answer({ name: 'voice-auth', version: SERVICE_VERSION, links: linksTo(operations) }),
    ),
  ];
}

function linksTo(operations: Operations): Record<string, string> {
  const linked: readonly Operation[] = [operations.docs, operations.openApi, operations.live, operations.ready];
  return Object.fromEntries(linked.map(({ name, path }) => [name.replace('service.', ''), path]));
}

function isOk(component: ComponentHealth): boolean {
  return component.ok;
}

function cachedFor<T>(maxAgeMs: number, load: () => Promise<T>): () => Promise<T> {
  let current: { readonly value: Promise<T>; readonly loadedAt: number } | undefined;
  return () => {
    const now = performance.now();
    if (!current || now - current.loadedAt >= maxAgeMs) current = { value: load(), loadedAt: now };
    return current.value;
  };
}
