/** Builds when there is no build or a source is newer than it, so that `npm start` works right after `npm ci`, and says so when that is missing. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const marker = join(root, 'dist/cli/main.js');
const sources = ['src', 'supabase', 'package.json', 'tsconfig.json'];

function newestChangeMs(path) {
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.mtimeMs;
  return Math.max(stats.mtimeMs, ...readdirSync(path).map((name) => newestChangeMs(join(path, name))));
}

const stale =
  !existsSync(marker) || sources.some((name) => newestChangeMs(join(root, name)) > statSync(marker).mtimeMs);
if (!existsSync(join(root, 'node_modules'))) {
  process.stderr.write('Run `npm ci` first.\n');
  process.exit(1);
}
// Images carry the build without compiler and sources' dates: what is there is used as it is.
if (stale && existsSync(join(root, 'node_modules/typescript'))) {
  process.stderr.write('Building ...\n');
  const { status } = spawnSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'inherit' });
  process.exitCode = status ?? 1;
}
