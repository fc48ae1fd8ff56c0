/** What `voice-auth cohort` and `voice-auth calibrate` refuse before any work, and what they say. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registerCalibrate } from '../../../src/cli/calibrate.js';
import { registerCohort } from '../../../src/cli/cohort.js';
import { type ModelFolder, toyNetworkFolder } from '../../support/model-folder.js';

let folder: string;
let raw: ModelFolder;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'calibrate-'));
  raw = toyNetworkFolder('features', { raw: true });
  mkdirSync(join(folder, 'training', 'somebody'), { recursive: true });
  writeFileSync(join(folder, 'training', 'somebody', 'speech.wav'), 'never decoded');
});
afterAll(() => {
  raw.remove();
  rmSync(folder, { recursive: true });
});

/** What is said on standard output (help) or thrown. */
async function said(args: readonly string[]): Promise<string> {
  let text = '';
  const program = new Command('voice-auth');
  for (const register of [registerCohort, registerCalibrate]) register(program);
  for (const command of [program, ...program.commands]) {
    const keep = (part: string) => {
      text += part;
    };
    command.exitOverride().configureOutput({ writeOut: keep, writeErr: keep });
  }
  const training = join(folder, 'training');
  const words = args.map((arg) => (arg === '@training' ? training : arg === '@raw' ? raw.packageDir : arg));
  try {
    await program.parseAsync(words, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) text += (error as Error).message;
  }
  return text;
}

describe('cohort and calibrate refuse', () => {
  it.each([
    ['a folder that is not there', ['cohort', 'nowhere-at-all', '--model', '@raw'], /cannot be read/],
    [
      'no package',
      ['cohort', '@training', '--model', '/nowhere/at-all'],
      /There is no model package "at-all" in \/nowhere; there are none/,
    ],
    [
      'no condition',
      ['cohort', '@training', '--model', '@raw', '--condition', 'shouting'],
      /"shouting" is no condition/,
    ],
    ['missing noise', ['cohort', '@training', '--model', '@raw', '--condition', 'noise-5db'], /needs --noise/],
    ['a misspelt corpus', ['cohort', '@training', '--model', '@raw', '--skip-last', 'trainin=1'], /no corpus trainin/],
    ['a malformed --skip-last', ['cohort', '@training', '--skip-last', '1'], /<corpus>=<n>/],
    [
      'calls of the cohort',
      ['cohort', '@training', '--model', '@raw', '--choose-on', '@training'],
      /are in the cohort/,
    ],
    ['one resample', ['cohort', '@training', '--resamples', '1'], /whole number above 1/],
    ['a cohort of own users', ['cohort', '@training', '--recorded'], /unknown option '--recorded'/],
    [
      'a package without a cohort',
      ['calibrate', '@training', '--model', '@raw'],
      /run `voice-auth cohort` for toy-network/,
    ],
    ['no calls', ['calibrate'], /Give a folder of telephone calls, or --recorded/],
    ['both at once', ['calibrate', '@training', '--recorded'], /Give a folder of calls or --recorded/],
    ['another top-N with --recorded', ['calibrate', '--recorded', '--top-n', '5'], /--top-n cannot change/],
    ['a number that is none', ['calibrate', '@training', '--jobs', '0'], /whole number above 0/],
  ])('%s', async (_, args, message) => {
    expect(await said(args)).toMatch(message);
  });

  it('and their help has examples, and says why there is no cohort of own users', async () => {
    expect(await said(['cohort', '--help'])).toMatch(/no cohort from a deployment's own users.*Examples:/s);
    expect(await said(['calibrate', '--help'])).toMatch(/Examples:.*--recorded/s);
  });
});
