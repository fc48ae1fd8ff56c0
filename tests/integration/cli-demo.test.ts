/** `voice-auth demo` stopped in the middle: nothing stays behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { inheritedEnvironment } from '../../src/config/client-environment.js';
import { builtModule } from '../support/built.js';

let temporary: string;
beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), 'voice-auth-test-'));
});
afterEach(() => rm(temporary, { recursive: true, force: true }));

it('removes its data folder, with the voiceprint and its key, when it is stopped', async () => {
  const demo = spawn(process.execPath, [fileURLToPath(builtModule('cli/main.js')), 'demo'], {
    env: { ...inheritedEnvironment(), TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(demo, 'exit');
  let told = '';
  demo.stderr.setEncoding('utf8').on('data', (text: string) => {
    told += text;
  });
  for await (const line of createInterface({ input: demo.stdout })) {
    if (!line.startsWith('2. ')) continue;
    expect(await readdir(temporary)).toHaveLength(1);
    demo.kill('SIGINT');
    break;
  }
  demo.stdout.resume();
  expect(await exited).toEqual([1, null]);
  expect(told).toContain('The demo was stopped');
  expect(await readdir(temporary)).toEqual([]);
}, 180_000);
