/** GSM 06.10 and Opus through an installed `ffmpeg`: encoded and decoded again, over pipes, without any file. */
import { spawn } from 'node:child_process';
import { readWav, writeWav } from '../audio/wav.js';
import { findProgram } from '../recordings/ffmpeg.js';
import type { Degradation, DegradationStep, Sound } from './degradations.js';
import { EvaluationError } from './eval-error.js';

export type Codec = (sound: Sound, step: DegradationStep) => Promise<Sound>;

const TIMEOUT_MS = 120_000;
const PROBE: Sound = { samples: new Float32Array(8000), sampleRateHz: 8000 };

/** A codec by the ffmpeg in the search path, or undefined when there is none. */
export function findCodec(searchPath: string, signal: AbortSignal): Codec | undefined {
  const program = findProgram('ffmpeg', searchPath);
  if (program === undefined) return undefined;
  return async (sound, step) => {
    const { encode, decode } = codecArguments(step);
    const wav = writeWav(sound.samples, sound.sampleRateHz, { encoding: 'pcm_s16le' });
    const coded = await pipeThrough(program, ['-f', 'wav', '-i', 'pipe:0', ...encode, 'pipe:1'], wav, signal);
    const decoded = await pipeThrough(program, [...decode, '-i', 'pipe:0', '-f', 'wav', 'pipe:1'], coded, signal);
    const { channels, sampleRateHz } = readWav(decoded);
    return { samples: channels[0]!, sampleRateHz };
  };
}

/** Undefined when the steps can be done here, else what is missing. */
export async function missingForCodec(degradation: Degradation, codec: Codec | undefined): Promise<string | undefined> {
  for (const step of degradation.steps) {
    if (step.kind !== 'gsm' && step.kind !== 'opus') continue;
    if (!codec) return 'ffmpeg is not installed';
    try {
      await codec(PROBE, step);
    } catch {
      return `the installed ffmpeg has no encoder for ${step.kind}`;
    }
  }
  return undefined;
}

function codecArguments(step: DegradationStep): { encode: readonly string[]; decode: readonly string[] } {
  switch (step.kind) {
    case 'gsm':
      return { encode: ['-ar', '8000', '-ac', '1', '-c:a', 'libgsm', '-f', 'gsm'], decode: ['-f', 'gsm'] };
    case 'opus':
      return {
        encode: ['-ac', '1', '-c:a', 'libopus', '-application', 'voip', '-b:a', `${step.kbitPerS}k`, '-f', 'ogg'],
        decode: ['-f', 'ogg'],
      };
    default:
      throw new EvaluationError(`${step.kind} is no codec of ffmpeg`);
  }
}

async function pipeThrough(
  program: string,
  args: readonly string[],
  input: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const child = spawn(program, ['-nostdin', '-hide_banner', '-loglevel', 'quiet', ...args], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: {},
    timeout: TIMEOUT_MS,
    signal,
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', reject);
  });
  // The program may end before it has read everything; its exit code says whether that was right.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const code = await closed;
  const output = Buffer.concat(chunks);
  if (code !== 0 || output.length === 0) throw new EvaluationError('ffmpeg could not encode or decode a recording');
  return output;
}
