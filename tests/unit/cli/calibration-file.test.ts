import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { presentCohortTop } from '../../../src/cli/calibration-file.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'calibration-file-'));
});
afterEach(() => rmSync(folder, { recursive: true }));
const write = (name: string, text: string) => writeFileSync(join(folder, name), text);

describe('how many cohort speakers judge when nobody says', () => {
  it('is nothing that a package without a calibration knows', async () => {
    expect(await presentCohortTop(folder)).toBeUndefined();
  });

  it('is what the calibration says, or the one that a new cohort set aside', async () => {
    write('calibration.former.json', '{"cohortTop": 300, "modelId": "m"}');
    expect(await presentCohortTop(folder)).toBe(300);
    write('calibration.json', '{"cohortTop": 50}');
    expect(await presentCohortTop(folder)).toBe(50);
  });

  it.each(['', '{', '{"cohortTop": "many"}', '{"cohortTop": 1}'])('is not in "%s"', async (text) => {
    write('calibration.json', text);
    expect(await presentCohortTop(folder)).toBeUndefined();
  });
});
