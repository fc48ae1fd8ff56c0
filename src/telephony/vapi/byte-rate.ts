/**
 * How fast audio comes in, in bytes per second of real time: the one thing about a headerless stream that can be measured
 * whatever it contains. Robust against a backlog sent on connecting, bursts, jitter and single stalls.
 */

/** Arrivals this close together count as one: TCP and busy event loops deliver frames in clumps. */
const SLOT_MS = 25;
/** Arrivals this early are ignored: the sender empties its backlog. */
const HEAD_SKIP_MS = 250;
/** Slopes are taken between arrivals this far apart: closer ones are mostly jitter, farther ones mostly span stalls. */
const MIN_BASELINE_MS = 600;
const MAX_BASELINE_MS = 1_500;
/** The last two to four seconds count; older arrivals are forgotten. */
const MAX_POINTS = 160;
const MIN_SLOPES = 3;

/** A slope votes for a rate within this factor of it. Neighbouring rates of real formats are 1.33 apart. */
const TOLERANCE = Math.log(1.12);
/** Part of all slopes that must agree. */
const MAJORITY = 0.6;

/**
 * Counts arrivals and finds the rate on which most pairs of them agree (a vote over pairwise slopes, after Theil and Sen).
 * Between two arrivals the slope does not depend on what came before both, so a backlog drops out by itself.
 */
export class ByteRateEstimator {
  readonly #atMs = new Float64Array(MAX_POINTS);
  readonly #bytes = new Float64Array(MAX_POINTS);
  #points = 0;
  #slotStartMs = Number.NEGATIVE_INFINITY;
  #firstMs: number | undefined;
  #total = 0;

  /** Tells that `bytes` arrived at `nowMs` (any monotonic clock). */
  add(bytes: number, nowMs: number): void {
    this.#firstMs ??= nowMs;
    this.#total += bytes;
    if (nowMs - this.#firstMs < HEAD_SKIP_MS) return;
    if (nowMs - this.#slotStartMs >= SLOT_MS) {
      this.#slotStartMs = nowMs;
      if (this.#points === MAX_POINTS) this.#forgetOldest();
      this.#points++;
    }
    this.#atMs[this.#points - 1] = nowMs;
    this.#bytes[this.#points - 1] = this.#total;
  }

  /** The one of `rates` (bytes per second) that most slopes agree on, or undefined while there is no such majority. */
  vote(rates: readonly number[]): number | undefined {
    const slopes = this.#slopes();
    if (slopes.length < MIN_SLOPES) return undefined;
    const needed = slopes.length * MAJORITY;
    return rates.find(
      (rate) => slopes.filter((slope) => Math.abs(Math.log(slope / rate)) <= TOLERANCE).length >= needed,
    );
  }

  /** Median slope in bytes per second; undefined while too little has come. */
  median(): number | undefined {
    const slopes = this.#slopes().sort((a, b) => a - b);
    return slopes.length < MIN_SLOPES ? undefined : slopes[slopes.length >> 1];
  }

  #slopes(): number[] {
    const slopes: number[] = [];
    for (let late = 1; late < this.#points; late++) {
      for (let early = late - 1; early >= 0; early--) {
        const baselineMs = this.#atMs[late]! - this.#atMs[early]!;
        if (baselineMs > MAX_BASELINE_MS) break;
        if (baselineMs < MIN_BASELINE_MS) continue;
        slopes.push(((this.#bytes[late]! - this.#bytes[early]!) * 1_000) / baselineMs);
      }
    }
    return slopes;
  }

  #forgetOldest(): void {
    const half = MAX_POINTS >> 1;
    this.#atMs.copyWithin(0, half);
    this.#bytes.copyWithin(0, half);
    this.#points = MAX_POINTS - half;
  }
}
