/** Puts the health of the parts together for /readyz and /api/v1/health. */
import type { DatabaseWatch } from './database-watch.js';
import type { ComponentHealth, HealthReporter } from './domain/ports/health.js';

export interface HealthParts {
  readonly database: Pick<DatabaseWatch, 'look'>;
  readonly backend: string;
  /** The components of the model's room. */
  readonly embedder: () => readonly ComponentHealth[];
  readonly activeWork: () => number;
  /** Undefined when this is the only server process. */
  readonly workers: (() => { readonly configured: number; readonly ready: number }) | undefined;
  readonly isDraining: () => boolean;
}

/** A reporter that asks every part anew, each within a second. */
export function createHealthReporter(parts: HealthParts): HealthReporter {
  return {
    components: async () => {
      const draining = parts.isDraining();
      const reason = await parts.database.look();
      return [
        { name: 'database', ok: !reason, ...(reason ? { reason } : {}), detail: { backend: parts.backend } },
        ...parts.embedder(),
        // Whoever asks was answered by one that serves, so it is no reason to send callers elsewhere when others are missing.
        ...(parts.workers ? [{ name: 'workers' as const, ok: true, detail: parts.workers() }] : []),
        { name: 'lifecycle', ok: !draining, detail: { draining, active: parts.activeWork() } },
      ];
    },
  };
}
