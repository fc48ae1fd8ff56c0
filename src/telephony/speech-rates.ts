/** Which sample rates a peer may announce. */

/** Rates in use for speech. Others are refused: every new rate costs the design of a filter, which a peer could ask for at will. */
export const SPEECH_RATES_HZ: readonly number[] = [
  8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000,
];
