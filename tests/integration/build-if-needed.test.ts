/** What `npm start` does before it starts, in folders that lack something. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { inheritedEnvironment } from '../../src/config/client-environment.js';

const SCRIPT = fileURLToPath(new URL('../../scripts/build-if-needed.mjs', import.meta.url));

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'voice-auth-start-'));
  cpSync(SCRIPT, join(root, 'scripts', 'build-if-needed.mjs'));
});
afterEach(() => rmSync(root, { recursive: true }));

const run = () =>
  spawnSync(process.execPath, [join(root, 'scripts', 'build-if-needed.mjs')], {
    encoding: 'utf8',
    env: { ...inheritedEnvironment() },
  });

it('asks for npm ci where nothing is installed', () => {
  expect(run()).toMatchObject({ status: 1, stdout: '', stderr: 'Run `npm ci` first.\n' });
});

it('leaves an image alone, which has packages and no compiler', () => {
  mkdirSync(join(root, 'node_modules'));
  expect(run()).toMatchObject({ status: 0, stdout: '', stderr: '' });
});
