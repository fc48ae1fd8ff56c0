/** When a simulated call's audio is due: pure arithmetic on the time since the connection, so that pacing cannot drift. */
import type { WireVariant } from './variants.js';

/**
 * Audio time (ms from the start of the call) that is due `elapsedMs` after connecting: the backlog at once, then `speed`
 * times real time, standing still during a stall and catching up at its end.
 */
export function dueMs(elapsedMs: number, variant: WireVariant): number {
  if (variant.speed === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  const played = elapsedMs * variant.speed;
  const { stallAtMs, stallMs, backlogMs } = variant;
  const stalled = stallAtMs !== undefined && played >= stallAtMs && played < stallAtMs + stallMs;
  return backlogMs + (stalled ? stallAtMs : played);
}
