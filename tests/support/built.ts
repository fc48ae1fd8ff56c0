/** Child processes and worker threads run compiled files: tests that start one point at the build. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const DIST = new URL('../../dist/', import.meta.url);

/** URL of a compiled module, e.g. `embedder/inference-child.js`. Throws when the project has not been built. */
export function builtModule(path: string): URL {
  const url = new URL(path, DIST);
  if (!existsSync(fileURLToPath(url))) throw new Error(`${path} is not built: run "npm run build" first`);
  return url;
}
