/**
 * A hint between the processes of one machine that there is something new about a call in the store. Only a hint: it may get
 * lost, and whoever waits looks by itself from time to time.
 */

export interface Doorbell {
  /** Rings at all other processes. */
  ring(): void;
  /** Tells about rings of others. */
  onRing(listener: () => void): void;
}

/** For a process without others beside it. */
export const NO_DOORBELL: Doorbell = { ring: () => undefined, onRing: () => undefined };
