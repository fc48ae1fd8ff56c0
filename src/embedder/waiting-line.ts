/**
 * Requests that wait for an inference child: live calls mostly before uploads, first come first served within each, and never
 * more than a fixed number. Knows nothing of processes or time.
 */
import type { InferenceOptions } from '../domain/ports/speaker-model.js';

export type Priority = InferenceOptions['priority'];

export interface Waiting {
  readonly priority: Priority;
}

export type Admission<T> =
  | { readonly kind: 'admitted' }
  /** Admitted in place of the upload that came last, which has to be told. */
  | { readonly kind: 'displaced'; readonly upload: T }
  | { readonly kind: 'full' };

/** After so many live requests in a row a waiting upload has its turn. */
const LIVE_PER_UPLOAD = 8;

export class WaitingLine<T extends Waiting> {
  private readonly live: T[] = [];
  private readonly uploads: T[] = [];
  private liveInARow = 0;

  constructor(private readonly capacity: number) {}

  get length(): number {
    return this.live.length + this.uploads.length;
  }

  /** Adds at the end of its priority. In a full line a live request takes the place of the newest upload, if there is one. */
  join(item: T): Admission<T> {
    const line = this.lineOf(item);
    if (this.length < this.capacity) {
      line.push(item);
      return { kind: 'admitted' };
    }
    const upload = item.priority === 'live' ? this.uploads.pop() : undefined;
    if (!upload) return { kind: 'full' };
    line.push(item);
    return { kind: 'displaced', upload };
  }

  /** Puts an item that was already admitted once before all others of its priority, beyond the capacity if need be. */
  rejoin(item: T): void {
    this.lineOf(item).unshift(item);
  }

  /** Takes out the item whose turn it is: live ones first, but every so often an upload, so that uploads never starve. */
  next(): T | undefined {
    const uploadsTurn = this.uploads.length > 0 && this.liveInARow >= LIVE_PER_UPLOAD;
    const live = uploadsTurn ? undefined : this.live.shift();
    this.liveInARow = live ? this.liveInARow + 1 : 0;
    return live ?? this.uploads.shift();
  }

  /** Takes out this item; false when it was not waiting. */
  leave(item: T): boolean {
    const line = this.lineOf(item);
    const index = line.indexOf(item);
    if (index < 0) return false;
    line.splice(index, 1);
    return true;
  }

  private lineOf(item: T): T[] {
    return item.priority === 'live' ? this.live : this.uploads;
  }
}
