/** How a part of the service is: the shape that readiness and the health page are made of. */

/**
 * Why the database cannot be used: it does not answer in time, lacks migrations, has templates of keys that the ring lacks, or
 * refuses the configured service key.
 */
export const DATABASE_FAULTS = ['no_answer', 'migrations_missing', 'keys_missing', 'key_refused'] as const;
export type DatabaseFault = (typeof DATABASE_FAULTS)[number];

export interface ComponentHealth {
  readonly name: 'database' | 'model' | 'inference' | 'workers' | 'lifecycle';
  readonly ok: boolean;
  /** Why it is not well, where that is known. */
  readonly reason?: DatabaseFault;
  /** Facts safe to show, e.g. `{ backend: 'embedded' }` or `{ children: 2, waiting: 0 }`. */
  readonly detail: Readonly<Record<string, string | number | boolean>>;
}

export interface HealthReporter {
  /** Health of every component, each within a second. Never rejects. */
  components(): Promise<readonly ComponentHealth[]>;
}
