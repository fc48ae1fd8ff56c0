import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiClient, type ClientOptions } from '../../../src/cli/client.js';
import { DEVELOPMENT_KEY_FILE } from '../../../src/config/client-environment.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'voice-auth-client-'));
  vi.stubEnv('DATA_DIR', folder);
  vi.stubEnv('VOICE_AUTH_URL', '');
  vi.stubEnv('VOICE_AUTH_API_KEY', '');
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

describe('a server that is no URL', () => {
  it.each(['127.0.0.1:8000', 'localhost:8000', 'ftp://127.0.0.1', 'http://', ''])('is refused: %j', (server) => {
    const message = '--server must be a URL such as http://127.0.0.1:8000';
    expect(() => new ApiClient({ server })).toThrow(message);
  });

  it('is refused from the environment, too', () => {
    vi.stubEnv('VOICE_AUTH_URL', 'localhost:8000');
    expect(() => new ApiClient({})).toThrow('VOICE_AUTH_URL must be a URL');
  });
});

describe('a key that the server does not accept', () => {
  const server = createServer((_request, response) => {
    const body = { error: 'Unauthorized', message: 'A valid API key is required', correlation_id: 'c-1' };
    response.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  beforeEach(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const refusal = async (options: ClientOptions = {}) =>
    new ApiClient({ server: url(), ...options }).get('/').catch((error: unknown) => error);
  const message = (what: string) =>
    `Unauthorized: the server at ${url()} ${what}; give --api-key or VOICE_AUTH_API_KEY (correlation id c-1)`;

  it('is told with the server and where it came from, and not itself', async () => {
    expect(await refusal()).toMatchObject({ message: message('wants an API key') });
    writeFileSync(join(folder, DEVELOPMENT_KEY_FILE), 'hush');
    const file = join(folder, DEVELOPMENT_KEY_FILE);
    expect(await refusal()).toMatchObject({ message: message(`does not accept the key from ${file}`) });
    vi.stubEnv('VOICE_AUTH_API_KEY', 'hush');
    expect(await refusal()).toMatchObject({ message: message('does not accept the key from VOICE_AUTH_API_KEY') });
    const given = await refusal({ apiKey: 'hush' });
    expect(given).toMatchObject({ message: message('does not accept the key from --api-key') });
    // Programs get the server's own words.
    expect(given).toMatchObject({ body: { error: 'Unauthorized', message: 'A valid API key is required' } });
  });
});
