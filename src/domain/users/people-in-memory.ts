/**
 * Templates of people outlive their erasure nowhere: whoever is erased here is forgotten here at once, and in the processes
 * beside this one as soon as they hear of it. Whoever was erased elsewhere, or by the end of their retention, or came back
 * into memory by what was under way, is missed by looking after everybody held from time to time.
 */
import type { AuthStore } from '../ports/auth-store.js';
import type { ErasureBell } from '../ports/doorbell.js';

/** Something that holds templates of people in memory. */
export interface PeopleHolder {
  /** Whose templates it holds. */
  people(): readonly string[];
  forget(userId: string): void;
}

export interface PeopleInMemoryDeps {
  readonly store: Pick<AuthStore, 'userStatus'>;
  readonly holders: readonly PeopleHolder[];
  readonly bell: ErasureBell;
}

export class PeopleInMemory {
  private readonly deps: PeopleInMemoryDeps;

  constructor(deps: PeopleInMemoryDeps) {
    this.deps = deps;
    deps.bell.onRing((userId) => this.forget(userId));
  }

  /** Forgets somebody who was erased just now, and tells the other processes of this machine. */
  erased(userId: string): void {
    this.forget(userId);
    this.deps.bell.ring(userId);
  }

  /** Forgets everybody who is no user any more; ends early when aborted. Throws `DatabaseUnavailable`. */
  async forgetTheErased(signal: AbortSignal): Promise<void> {
    const held = new Set(this.deps.holders.flatMap((holder) => holder.people()));
    for (const userId of held) {
      if (signal.aborted) return;
      if (!(await this.deps.store.userStatus(userId))) this.forget(userId);
    }
  }

  private forget(userId: string): void {
    for (const holder of this.deps.holders) holder.forget(userId);
  }
}
