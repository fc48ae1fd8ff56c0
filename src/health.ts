/** Puts the health of the parts together for /readyz and /api/v1/health. */
import type { AuthStore } from './domain/ports/auth-store.js';
import type { ComponentHealth, HealthReporter } from './domain/ports/health.js';

export interface HealthParts {
  readonly store: AuthStore;
  readonly backend: string;
  /** The components of the model's room. */
  readonly embedder: () => readonly ComponentHealth[];
  readonly activeWork: () => number;
  /** Undefined when this is the only server process. */
  readonly workers: (() => { readonly configured: number; readonly ready: number }) | undefined;
  readonly isDraining: () => boolean;
}

const PING_TIMEOUT_MS = 1_000;

/** A reporter that asks every part anew, each within a second. */
export function createHealthReporter(parts: HealthParts): HealthReporter {
  return {
    components: async () => {
      const draining = parts.isDraining();
      return [
        { name: 'database', ok: await answersInTime(parts.store), detail: { backend: parts.backend } },
        ...parts.embedder(),
        // Whoever asks was answered by one that serves, so it is no reason to send callers elsewhere when others are missing.
        ...(parts.workers ? [{ name: 'workers' as const, ok: true, detail: parts.workers() }] : []),
        { name: 'lifecycle', ok: !draining, detail: { draining, active: parts.activeWork() } },
      ];
    },
  };
}

async function answersInTime(store: AuthStore): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), PING_TIMEOUT_MS);
  });
  const ping = store.ping().then(
    () => true,
    () => false,
  );
  const ok = await Promise.race([ping, late]);
  clearTimeout(timer);
  return ok;
}
