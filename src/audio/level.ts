/** Levels in dB relative to full scale, where a mean square of 1 is 0 dBFS: one scale for gate, quality and reports. */

/** Bottom of the scale: nothing that came through 16 bits is quieter (their rounding noise is about -101 dBFS). */
export const SILENCE_DB = -120;

/** Nothing quieter is speech, whatever the noise: telephone speech lies 20 to 40 dB above. */
export const AUDIBLE_DB = -60;

const SILENCE_POWER = 10 ** (SILENCE_DB / 10);

/** Mean square (power) as dBFS, never below `SILENCE_DB`, so that silence stays a finite number. */
export function powerToDb(meanSquare: number): number {
  return meanSquare > SILENCE_POWER ? 10 * Math.log10(meanSquare) : SILENCE_DB;
}

/** dBFS as mean square (power). */
export function dbToPower(levelDb: number): number {
  return 10 ** (levelDb / 10);
}
