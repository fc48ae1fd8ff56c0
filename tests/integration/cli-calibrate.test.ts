/** `voice-auth cohort` and `voice-auth calibrate` as people run them, on generated speech and a toy network, in their own processes. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resample } from '../../src/audio/resampler.js';
import { writeWav } from '../../src/audio/wav.js';
import { inheritedEnvironment } from '../../src/config/client-environment.js';
import { calibrationSchema } from '../../src/domain/scoring/calibration.js';
import { loadCohort, loadModelPackage } from '../../src/embedder/model-package.js';
import { builtModule } from '../support/built.js';
import { type ModelFolder, TOY_NETWORK_ID, toyNetworkFolder } from '../support/model-folder.js';
import { VOICE_RATE_HZ, type VoiceFile, voiceSamples } from '../support/voices.js';

const MAIN = fileURLToPath(builtModule('cli/main.js'));
const PEOPLE = ['alice', 'bob', 'carol', 'dave'] as const;
/** Played so much faster, a voice is somebody else's, as in training. */
const TRAINING_SPEEDS = [1, 0.9, 1.1] as const;
/** 28 people, three more than a calibration needs. */
const CALL_SPEEDS = [...TRAINING_SPEEDS, 0.85, 0.95, 1.05, 0.8] as const;

let folder: string;
let models: ModelFolder;
let training: string;
let calls: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'calibrate-'));
  models = toyNetworkFolder('features', { raw: true });
  training = join(folder, 'training');
  calls = join(folder, 'calls');
  for (const person of PEOPLE) {
    for (const speed of TRAINING_SPEEDS) {
      write(join(training, `${person}-${speed}`, 'speech.wav'), `${person}-enroll`, speed);
    }
    for (const speed of CALL_SPEEDS) {
      for (const call of ['enroll', 'call-1'] as const) {
        write(join(calls, `${person}-${speed}`, call, 'audio.wav'), `${person}-${call}`, speed);
      }
    }
  }
});
afterAll(() => {
  models.remove();
  rmSync(folder, { recursive: true });
});

function write(path: string, voice: VoiceFile, speed: number): void {
  mkdirSync(join(path, '..'), { recursive: true });
  const samples = resample(voiceSamples(voice), Math.round(VOICE_RATE_HZ * speed), VOICE_RATE_HZ);
  writeFileSync(path, writeWav(samples, VOICE_RATE_HZ, { encoding: 'pcm_s16le' }));
}

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Without ffmpeg: whether it is installed must not matter. */
function voiceAuth(...args: readonly string[]): Promise<Outcome> {
  const env = { ...inheritedEnvironment(), PATH: '', MODELS_DIR: models.modelsDir, MODEL_ID: TOY_NETWORK_ID };
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { env }, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, out, err });
    });
  });
}

describe('from a raw package to one that can be used', { timeout: 240_000 }, () => {
  it('cohort makes one, calibrate fits, and the loader is content', async () => {
    const made = await voiceAuth('cohort', training, '--jobs', '1', '--skip-last', 'training=1');
    expect(made).toMatchObject({ code: 0 });
    expect(made.out).toMatch(/11 speakers in the cohort; 0 have too little speech; held out: 1 of training/);
    expect(made.out).toMatch(/calibration must be made anew: voice-auth calibrate/);
    expect(made.err).toMatch(/gsm is left out: ffmpeg is not installed/);
    expect(made.err).toMatch(/100 % of 11 speakers embedded/);
    expect(made.err).toMatch(/11 speakers are few/);
    const cohort = await loadCohort(models.modelsDir, TOY_NETWORK_ID);
    expect(cohort.rows).toHaveLength(11 * 16);
    const manifest = readFileSync(join(models.packageDir, 'manifest.json'), 'utf8');
    expect(manifest).toContain('voice-auth cohort training --model <package folder>');
    // What was left out is not part of how this cohort is made again.
    expect(manifest).toContain('--condition mulaw alaw --skip-last');
    expect(manifest).not.toContain(folder);

    const fitted = await voiceAuth('calibrate', calls, '--check', '--jobs', '1');
    expect(fitted).toMatchObject({ code: 0 });
    expect(fitted.out).toMatch(/56 calls of 28 people\nEqual error rate: .*all speech/);
    expect(fitted.out).toMatch(/pairs of people.*\n2 s +378 +7\.9 % *\n/);
    expect(fitted.err).toContain('--check: half of 28 people are fewer than 25, too few to fit on.');
    expect(fitted.out).toMatch(/threshold +claimed +observed, whole calls/);
    const text = readFileSync(join(models.packageDir, 'calibration.json'), 'utf8');
    expect(calibrationSchema.parse(JSON.parse(text)).tails.length).toBeGreaterThan(0);
    expect(JSON.parse(text)).toMatchObject({
      modelId: TOY_NETWORK_ID,
      cohortTop: 11,
      cohortSha256: cohort.sha256,
      speechDetector: 'silero',
      fittedOn: '56 calls of 28 people (calls), strangers in different calls',
    });
    await loadModelPackage(models.modelsDir, TOY_NETWORK_ID);

    const refused = await voiceAuth('calibrate', training, '--jobs', '1');
    expect([refused.code, refused.err]).toEqual([
      1,
      expect.stringMatching(/12 calls of 12 people.* needs 25 \(docs\/models.md says why\)\. Nothing was changed\./),
    ]);
    expect(readFileSync(join(models.packageDir, 'calibration.json'), 'utf8')).toBe(text);
    expect(readdirSync(models.packageDir).sort()).toEqual([
      'calibration.json',
      'cohort.f32',
      'manifest.json',
      'model.onnx',
    ]);
  });

  it('compares sizes of cohorts on calls, and writes nothing when told so', async () => {
    const strangers = join(folder, 'strangers');
    for (const person of ['alice', 'bob', 'carol', 'dave'] as const) {
      for (const call of ['enroll', 'call-1'] as const) {
        write(join(strangers, person, call, 'audio.wav'), `${person}-${call}`, 1.2);
      }
    }
    const before = readdirSync(models.packageDir);
    const args = [
      '--choose-on',
      strangers,
      '--sizes',
      '10',
      '50',
      'all',
      '--top-n',
      '5',
      '10',
      '50',
      '--resamples',
      '10',
    ];
    const run = await voiceAuth('cohort', training, ...args, '--dry-run', '--jobs', '1');
    expect(run).toMatchObject({ code: 0 });
    const rows = run.out.split('\n').map((line) => line.split(/ {2,}/));
    expect(rows.map(([size, top]) => `${size} ${top}`).slice(0, 7)).toEqual([
      'cohort top N',
      'none -',
      '10 5',
      '10 10',
      '12 5',
      '12 10',
      '12 12',
    ]);
    expect(run.err).toContain('12 speakers make no cohort of 50: left out.');
    expect(run.out).toMatch(/actDCF, 1 in 20.*Nothing was written/s);
    expect(readdirSync(models.packageDir)).toEqual(before);
  });
});

describe('what cannot be done', { timeout: 120_000 }, () => {
  it.each([
    ['only impossible conditions', ['--condition', 'gsm'], /None of the conditions is possible/],
    ['too few speakers', ['--speakers', '3', '--condition', 'alaw'], /needs at least 10/],
  ])('%s is explained in a line, and the package stays as it was', async (_, args, message) => {
    const before = readdirSync(models.packageDir);
    const { code, out, err } = await voiceAuth('cohort', training, '--jobs', '1', ...args);
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(message);
    expect(err).not.toMatch(/^\s+at /m);
    expect(readdirSync(models.packageDir)).toEqual(before);
  });
});
