/** How a part of the service is: the shape that readiness and the health page are made of. */

export interface ComponentHealth {
  readonly name: 'database' | 'model' | 'inference' | 'workers' | 'lifecycle';
  readonly ok: boolean;
  /** Facts safe to show, e.g. `{ backend: 'embedded' }` or `{ children: 2, waiting: 0 }`. */
  readonly detail: Readonly<Record<string, string | number | boolean>>;
}

export interface HealthReporter {
  /** Health of every component, each within a second. Never rejects. */
  components(): Promise<readonly ComponentHealth[]>;
}
