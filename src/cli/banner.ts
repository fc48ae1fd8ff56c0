/** What `voice-auth serve` tells a person at the terminal: where it listens, and what to try next. */
import { resolve } from 'node:path';
import { clientEnvironment, DEFAULT_DATA_DIR } from '../config/client-environment.js';
import type { RunningServer } from '../server.js';

/** A made-up user, with a number that simulated calls come from, for the commands that are suggested. */
const EXAMPLE_USER = '6f1d7c5e-8a51-4c0e-9d0e-2f7d5f6a0001';
const EXAMPLE_PHONE = '+15550100001';

const ALL_ADDRESSES = ['0.0.0.0', '::'];

export interface BannerOptions {
  /** That the server listens on. */
  readonly host: string;
  /** Its data folder, as an absolute path. */
  readonly dataDir: string;
}

/** The text, with a line of suggestions for a server with a development key. */
export function banner(
  { url, developmentKey }: Pick<RunningServer, 'url' | 'developmentKey'>,
  { host, dataDir }: BannerOptions,
): string {
  const lines = [
    '',
    `  voice-auth is ready at ${url}`,
    ...(ALL_ADDRESSES.includes(host)
      ? ['    (listening on all addresses, in plain HTTP; HOST=127.0.0.1 for this machine only)']
      : []),
    `    API      ${url}/docs  (OpenAPI: ${url}/openapi.json)`,
    `    health   ${url}/readyz    metrics  ${url}/metrics`,
  ];
  // The command line looks for the default port and the default data folder by itself.
  const elsewhere = url === clientEnvironment({}).url ? '' : ` --server ${url}`;
  const command = dataDir === resolve(DEFAULT_DATA_DIR) ? 'npx' : `DATA_DIR=${quoted(dataDir)} npx`;
  if (developmentKey) {
    lines.push(
      `    API key  ${developmentKey}`,
      '             (development key, kept in the data folder; the commands below find it there)',
      '',
      '  Try in another terminal:',
      `    ${command} voice-auth enroll -u ${EXAMPLE_USER} -p ${EXAMPLE_PHONE} -f tests/fixtures/voices/alice-enroll.wav${elsewhere}`,
      `    ${command} voice-auth verify -u ${EXAMPLE_USER} -f tests/fixtures/voices/alice-call-1.wav${elsewhere}`,
    );
  }
  return `${lines.join('\n')}\n\n`;
}

/** As a shell takes it for one word. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
