/**
 * Room that those who send something share while it is received and worked on: bytes of memory, or places. Each may have a
 * part of it only, so that the others find some left whatever one of them does.
 */

export interface SharedRoomOptions {
  readonly total: number;
  /** Most that one holder may have. */
  readonly share: number;
}

/** `full`: all of it is held. `share_used_up`: this holder has as much as one may have. */
export type RoomAnswer = 'taken' | 'full' | 'share_used_up';

export class SharedRoom {
  readonly #options: SharedRoomOptions;
  readonly #held = new Map<string, number>();
  #total = 0;

  constructor(options: SharedRoomOptions) {
    this.#options = options;
  }

  /** Gives `holder` so much more, or nothing. */
  take(holder: string, amount: number): RoomAnswer {
    const { total, share } = this.#options;
    const held = (this.#held.get(holder) ?? 0) + amount;
    if (held > share) return 'share_used_up';
    if (this.#total + amount > total) return 'full';
    this.#held.set(holder, held);
    this.#total += amount;
    return 'taken';
  }

  /** Takes back what `holder` was given. */
  giveBack(holder: string, amount: number): void {
    const left = (this.#held.get(holder) ?? 0) - amount;
    if (left > 0) this.#held.set(holder, left);
    else this.#held.delete(holder);
    this.#total -= amount;
  }
}
