import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { readInput } from '../../../src/cli/input-file.js';

const HERE = fileURLToPath(import.meta.url);
const FOLDER = fileURLToPath(new URL('.', import.meta.url));

it('reads a file', async () => {
  expect((await readInput(HERE)).toString()).toContain("it('reads a file'");
});

it.each([
  ['no-such-file.wav', 'no such file'],
  [`${HERE}/below-a-file.wav`, 'no such file'],
  [FOLDER, 'a folder'],
  ['nul\0.wav', 'ERR_INVALID_ARG_VALUE'],
])('says why it cannot: %j', async (file, reason) => {
  await expect(readInput(file)).rejects.toMatchObject({
    name: 'CommandError',
    message: `Cannot read ${file} (${reason})`,
  });
});
