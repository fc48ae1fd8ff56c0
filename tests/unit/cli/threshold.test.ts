import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { builtModule } from '../../support/built.js';

const threshold = (...args: string[]) => {
  const main = fileURLToPath(builtModule('cli/main.js'));
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'threshold', ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
};

describe('voice-auth threshold', () => {
  it('says what to set for a rate, rounded to the careful side, and what a threshold claims', () => {
    expect(JSON.parse(threshold('--fmr', '1e-3', '--json').stdout)).toEqual({ fmr: 0.001, threshold: 0.9 });
    const { threshold: rounded } = JSON.parse(threshold('--fmr', '0.005', '--json').stdout) as { threshold: number };
    expect((1 - rounded) ** 3).toBeLessThanOrEqual(0.005);
    expect(threshold('--score', '0.82').stdout).toContain('1 time in 171');
    expect(threshold().stdout).toContain('1 time in 10,000');
  });

  it.each([
    ['--fmr', '2'],
    ['--fmr', 'x'],
    ['--fmr', '0.9'],
    ['--fmr', '0.1', '--score', '0.8'],
  ])('refuses %s %s', (...args) => {
    const { status, stderr } = threshold(...args);
    expect([status, stderr.trim().split('\n')[0]]).toEqual([1, expect.stringMatching(/\w/)]);
  });
});
