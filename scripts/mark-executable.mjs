/** The compiler writes plain files; the command line must be executable for `npx voice-auth`. */
import { chmodSync } from 'node:fs';

chmodSync(new URL('../dist/cli/main.js', import.meta.url), 0o755);
