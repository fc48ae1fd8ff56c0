/**
 * Hints between the processes of one machine: only hints, they may get lost, and whoever waits looks by itself from time to
 * time.
 */

/** There is something new about a call in the store. */
export interface Doorbell {
  /** Rings at all other processes. */
  ring(): void;
  /** Tells about rings of others. */
  onRing(listener: () => void): void;
}

/** Somebody was erased. */
export interface ErasureBell {
  /** Tells all other processes. */
  ring(userId: string): void;
  /** Tells who was erased by others. */
  onRing(listener: (userId: string) => void): void;
}

/** For a process without others beside it. */
export const NO_DOORBELL = { ring: () => undefined, onRing: () => undefined } satisfies Doorbell & ErasureBell;
