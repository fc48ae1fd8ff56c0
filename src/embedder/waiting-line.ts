/**
 * Requests that wait for an inference child: live calls mostly before uploads, first come first served within each, and never
 * more than a fixed number. Those that can share a run go together. Knows nothing of processes or time.
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

export interface GroupRule<T> {
  readonly atMost: number;
  readonly mayShare: (item: T) => boolean;
  readonly hold: boolean;
}

/** After so many live runs in a row a waiting upload has its turn. */
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

  /**
   * Takes out the item whose turn it is: live ones first, but every so often an upload, so that uploads never starve. Live ones
   * that may not go yet are passed over.
   */
  next(mayGo: (item: T) => boolean = () => true): T | undefined {
    const uploadsTurn = this.uploads.length > 0 && this.liveInARow >= LIVE_PER_UPLOAD;
    const index = uploadsTurn ? -1 : this.live.findIndex(mayGo);
    const live = index < 0 ? undefined : this.live.splice(index, 1)[0];
    this.liveInARow = live ? this.liveInARow + 1 : 0;
    return live ?? this.uploads.shift();
  }

  /**
   * Takes out the item whose turn it is and, if it may share a run, others that may, in the order of arrival, `atMost` in
   * all. Live ones ride along with any; uploads only with an upload while nothing live waits, so that they delay nobody.
   * With `hold`, live ones that may share are held back unless enough of them wait to fill a group.
   */
  nextGroup({ atMost, mayShare, hold }: GroupRule<T>): T[] {
    const held = hold && this.live.filter(mayShare).length < atMost;
    const first = this.next((item) => !held || !mayShare(item));
    if (!first) return [];
    const group = [first];
    if (!mayShare(first)) return group;
    takeInto(group, this.live, atMost, mayShare);
    if (first.priority === 'upload' && this.live.length === 0) takeInto(group, this.uploads, atMost, mayShare);
    return group;
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

/** Moves items from a line to the end of a group until that has `atMost`; the others keep their order. */
function takeInto<T>(group: T[], line: T[], atMost: number, mayMove: (item: T) => boolean): void {
  let kept = 0;
  for (const item of line) {
    if (group.length < atMost && mayMove(item)) group.push(item);
    else line[kept++] = item;
  }
  line.length = kept;
}
