/**
 * How fast the signal code of a call is, against real time: `npx tsx bench/audio.ts`. The numbers that matter are the
 * ratios, which say where the time of a call goes; each row is the best of several rounds. The last column is the part of
 * one core that 100 calls take.
 */
import { EnergyGate } from '../src/audio/energy-gate.js';
import { decodeMulaw, encodeMulaw } from '../src/audio/g711.js';
import { decodeS16le, encodeS16le } from '../src/audio/pcm.js';
import { StreamingResampler } from '../src/audio/resampler.js';

const AUDIO_SECONDS = 10;
const FRAME_MS = 20;
const ROUNDS = 15;

interface Case {
  readonly name: string;
  /** Works through `AUDIO_SECONDS` of one call, in frames as they come from the wire. */
  readonly work: () => number;
}

const cases: Case[] = [
  resamplerCase(8_000, 16_000),
  resamplerCase(24_000, 16_000),
  resamplerCase(32_000, 16_000),
  resamplerCase(44_100, 16_000),
  resamplerCase(48_000, 16_000),
  mulawCase(),
  deinterleaveCase(),
  energyGateCase(),
];

let checksum = 0;
const best = new Map<Case, number>();
// Round by round, not case by case, so that a busy spell of the machine meets every case.
for (let round = 0; round < ROUNDS; round++) {
  for (const each of cases) {
    const startedAt = performance.now();
    checksum += each.work();
    best.set(each, Math.min(best.get(each) ?? Number.POSITIVE_INFINITY, (performance.now() - startedAt) / 1000));
  }
}
const rows = cases.map((each) => ({ name: each.name, seconds: best.get(each) ?? Number.NaN }));
const fastest = Math.min(...rows.map((row) => row.seconds));
console.log(
  `${AUDIO_SECONDS} s of one call in ${FRAME_MS} ms frames, best of ${ROUNDS} rounds (checksum ${checksum.toFixed(3)})\n`,
);
console.log(`${'step'.padEnd(28)}${'x real time'.padStart(14)}${'cost ratio'.padStart(14)}${'100 calls'.padStart(16)}`);
for (const { name, seconds } of rows) {
  const realTime = AUDIO_SECONDS / seconds;
  console.log(
    name.padEnd(28) +
      Math.round(realTime).toLocaleString('en').padStart(14) +
      (seconds / fastest).toFixed(1).padStart(14) +
      `${((100 / realTime) * 100).toFixed(2)} % core`.padStart(16),
  );
}

function resamplerCase(fromHz: number, toHz: number): Case {
  const input = noise(AUDIO_SECONDS * fromHz);
  const frameSamples = (fromHz * FRAME_MS) / 1000;
  return {
    name: `resample ${fromHz} -> ${toHz}`,
    work: () => {
      const resampler = new StreamingResampler(fromHz, toHz);
      let sum = 0;
      for (let at = 0; at < input.length; at += frameSamples) {
        sum += resampler.process(input.subarray(at, at + frameSamples))[0] ?? 0;
      }
      return sum;
    },
  };
}

function mulawCase(): Case {
  const input = encodeMulaw(noise(AUDIO_SECONDS * 8_000));
  const out = new Float32Array(160);
  return {
    name: 'mu-law decode 8000',
    work: () => {
      let sum = 0;
      for (let at = 0; at < input.length; at += out.length) {
        decodeMulaw(input.subarray(at, at + out.length), out);
        sum += out[0] ?? 0;
      }
      return sum;
    },
  };
}

function deinterleaveCase(): Case {
  const input = encodeS16le([noise(AUDIO_SECONDS * 16_000), noise(AUDIO_SECONDS * 16_000)]);
  const out = new Float32Array(320);
  return {
    name: 's16le stereo 16000, one side',
    work: () => {
      let sum = 0;
      for (let at = 0; at < input.length; at += out.length * 4) {
        decodeS16le(input.subarray(at, at + out.length * 4), out, { channels: 2, channel: 0 });
        sum += out[0] ?? 0;
      }
      return sum;
    },
  };
}

function energyGateCase(): Case {
  const frameSamples = 512;
  const input = noise(Math.floor((AUDIO_SECONDS * 16_000) / frameSamples) * frameSamples);
  return {
    name: 'energy gate 16000',
    work: () => {
      const gate = new EnergyGate({ sampleRateHz: 16_000, frameSamples });
      let open = 0;
      for (let at = 0; at < input.length; at += frameSamples) {
        if (gate.push(input.subarray(at, at + frameSamples))) open++;
      }
      return open;
    },
  };
}

/** Reproducible white noise at about -15 dBFS (a linear congruential generator: Numerical Recipes, chapter 7). */
function noise(samples: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length: samples }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state / 2 ** 32 - 0.5) * 0.6;
  });
}
