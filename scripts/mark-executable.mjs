/**
 * Last step of the build: the compiler writes plain files, and the command line must be executable for `npx voice-auth`.
 * Its date also tells `build-if-needed.mjs` when the last build was; the compiler leaves unchanged files alone.
 */
import { chmodSync, utimesSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
chmodSync(main, 0o755);
utimesSync(main, new Date(), new Date());
