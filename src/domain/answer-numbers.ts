/** How numbers are written in answers, over HTTP and in results of tool calls. */

/** Milliseconds as seconds, to the millisecond. */
export function toSeconds(milliseconds: number): number {
  return Math.round(milliseconds) / 1000;
}

/** A score to six places: enough to tell it from any threshold. */
export function roundScore(score: number): number {
  return Math.round(score * 1e6) / 1e6;
}
