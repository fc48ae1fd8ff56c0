/**
 * Rooms and handsets that nobody measured: drawn at random within what calls are like, so that many recordings of one session each sound
 * like many calls. `training/channels.py` draws from the same ranges.
 */

/** Uniform numbers in [0, 1), as of `randomGenerator`. */
export type Random = () => number;

/** The tail is cut where it is 40 dB down, at the latest after 0.4 s (30 dB down in the most reverberant room). */
const LONGEST_TAIL_S = 0.4;
const TAIL_END_DB = 40;
/** Impulses per second from which on a sequence of them sounds like smooth noise. */
const IMPULSES_PER_S = 1500;

const HANDSET_RATE_HZ = 8000;
/** 32 ms: two lines of the response are 31 Hz apart. */
const HANDSET_TAPS = 256;
const LEAST_GAIN_DB = -60;

/**
 * Sound in a simulated room, as long as before: the direct sound and a diffuse tail whose power falls by 60 dB in 0.12 to 0.8 s (J.-D. Polack,
 * 1988), 3 dB above to 15 dB below the direct sound. The tail is velvet noise (M. Karjalainen, H. Jarvelainen, 2007): one impulse of
 * either sign in every stretch of 1/1500 s, which sounds like Gaussian noise and costs a fifth (8 kHz) to a tenth (16 kHz) of the convolution.
 */
export function throughRoom(samples: Float32Array, sampleRateHz: number, random: Random): Float32Array {
  const decayS = between(random, 0.12, 0.8);
  const directToTailDb = between(random, -3, 15);
  const firstAt = Math.round(between(random, 0.001, 0.02) * sampleRateHz);
  const length = Math.round(Math.min(LONGEST_TAIL_S, (decayS * TAIL_END_DB) / 60) * sampleRateHz);
  const stretch = sampleRateHz / IMPULSES_PER_S;
  const tail = new Float32Array(length);
  for (let index = 0; index < Math.floor(length / stretch); index++) {
    const at = Math.floor((index + random()) * stretch);
    const size = 10 ** ((-3 * at) / (decayS * sampleRateHz));
    // Two that meet add up, or cancel.
    tail[at]! += random() < 0.5 ? -size : size;
  }
  const tailPower = tail.reduce((sum, value) => sum + value * value, 0);
  const scale = Math.sqrt(10 ** (-directToTailDb / 10) / tailPower);
  const heard = Float32Array.from(samples);
  for (const [at, value] of tail.entries()) {
    if (value === 0) continue;
    const gain = value * scale;
    const delay = firstAt + at;
    for (let i = delay; i < heard.length; i++) heard[i]! += gain * samples[i - delay]!;
  }
  return heard;
}

/**
 * Telephone speech (8 kHz) through a simulated microphone and line: a low cut at 80 to 500 Hz, a high cut at 2.8 to 4.2 kHz, a tilt of up to
 * 5 dB per octave and up to three resonances of up to 9 dB. The level stays. Delayed by 16 ms, as long as before.
 */
export function throughHandset(samples: Float32Array, random: Random): Float32Array {
  const taps = linearPhaseFilter(drawResponse(random));
  const out = new Float32Array(samples.length);
  let before = 0;
  let after = 0;
  for (let i = 0; i < samples.length; i++) {
    let sum = 0;
    for (let tap = Math.min(i, taps.length - 1); tap >= 0; tap--) sum += taps[tap]! * samples[i - tap]!;
    out[i] = sum;
    before += samples[i]! ** 2;
    after += sum * sum;
  }
  const gain = after === 0 ? 1 : Math.sqrt(before / after);
  for (let i = 0; i < out.length; i++) out[i]! *= gain;
  return out;
}

/** Gain in dB by frequency in Hz. */
function drawResponse(random: Random): (hz: number) => number {
  const lowHz = Math.exp(between(random, Math.log(80), Math.log(500)));
  const highHz = between(random, 2800, 4200);
  const [lowOrder, highOrder] = [between(random, 1, 5), between(random, 4, 16)];
  const tilt = between(random, -5, 5);
  const resonances = Array.from({ length: Math.floor(random() * 4) }, () => ({
    gainDb: between(random, -9, 9),
    octave: between(random, -1.7, 1.9),
    width: between(random, 0.1, 0.7),
  }));
  return (hz) => {
    const octave = Math.log2(Math.max(hz, 50) / 1000);
    const cutsDb =
      10 * Math.log10(1 + (lowHz / Math.max(hz, 1)) ** (2 * lowOrder)) +
      10 * Math.log10(1 + (hz / highHz) ** (2 * highOrder));
    const bumpsDb = resonances.map(
      ({ gainDb, octave: at, width }) => gainDb * Math.exp(-0.5 * ((octave - at) / width) ** 2),
    );
    return Math.max(LEAST_GAIN_DB, tilt * octave - cutsDb + bumpsDb.reduce((sum, db) => sum + db, 0));
  };
}

/** The response at evenly spaced frequencies as a symmetric filter, smoothed between them by a Hann window. */
function linearPhaseFilter(gainDb: (hz: number) => number): Float32Array {
  const lines = HANDSET_TAPS / 2;
  const gains = Array.from(
    { length: lines + 1 },
    (_, line) => 10 ** (gainDb((line * HANDSET_RATE_HZ) / HANDSET_TAPS) / 20),
  );
  return Float32Array.from({ length: HANDSET_TAPS + 1 }, (_, tap) => {
    const from = tap - lines;
    let sum = gains[0]! + gains[lines]! * Math.cos(Math.PI * from);
    for (let line = 1; line < lines; line++)
      sum += 2 * gains[line]! * Math.cos((2 * Math.PI * line * from) / HANDSET_TAPS);
    return (sum / HANDSET_TAPS) * (0.5 + 0.5 * Math.cos((Math.PI * from) / lines));
  });
}

function between(random: Random, least: number, most: number): number {
  return least + (most - least) * random();
}
