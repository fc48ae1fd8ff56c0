/** When a simulated call's audio is due: pure arithmetic on the time since the connection, so that pacing cannot drift. */

/** How a call's audio is timed. All times are audio time: at `speed` 4 they pass four times as fast. */
export interface Pacing {
  /** 1 = real time; `Infinity` = as fast as the listener reads, stalls left out. */
  readonly speed: number;
  /** Audio sent in one burst on connecting. */
  readonly backlogMs: number;
  /** No audio for `stallMs` from here on; undefined = no stall. What was held back then comes at once. */
  readonly stallAtMs: number | undefined;
  readonly stallMs: number;
}

/**
 * Audio time (ms from the start of the call) that is due `elapsedMs` after connecting: the backlog at once, then `speed`
 * times real time, standing still during a stall and catching up at its end.
 */
export function dueMs(elapsedMs: number, pacing: Pacing): number {
  if (pacing.speed === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  const played = elapsedMs * pacing.speed;
  const { stallAtMs, stallMs, backlogMs } = pacing;
  const stalled = stallAtMs !== undefined && played >= stallAtMs && played < stallAtMs + stallMs;
  return backlogMs + (stalled ? stallAtMs : played);
}
