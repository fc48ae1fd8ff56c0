/** What `voice-auth users outdated` prints, over the real HTTP routes. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { inheritedEnvironment } from '../../src/config/client-environment.js';
import { builtModule } from '../support/built.js';
import { KEYS, testApp, USER } from '../support/http-app.js';

const t = testApp();
const server = createServer(t.app);
beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => void server.close());

function outdated(key: string, ...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const command = [fileURLToPath(builtModule('cli/main.js')), 'users', 'outdated', '--server', url, '--api-key', key];
  return new Promise((resolve) => {
    execFile(process.execPath, [...command, ...args], { env: inheritedEnvironment() }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

it('lists who is to be enrolled anew, and how to go on', async () => {
  const user = { userId: USER, modelId: 'toy-1', samples: 3, enrolledAt: new Date('2025-01-01T00:00:00.000Z') };
  const asked: unknown[] = [];
  t.behave.users.outdated = async (page) => {
    asked.push(page);
    return { modelId: 'toy-2', users: [user], total: 12, next: 'c2Vjb25k' };
  };
  const shown = await outdated(KEYS.admin, '--limit', '1', '--before', 'Zmlyc3Q');
  expect(shown).toMatchObject({ code: 0, stderr: '' });
  expect(shown.stdout.split('\n')).toEqual([
    '12 users are enrolled with another model than toy-2:',
    expect.stringMatching(/^user +model +enrolled +samples$/),
    expect.stringMatching(new RegExp(`^${USER} +toy-1 +2025-01-01T00:00:00.000Z +3$`)),
    'More with --before c2Vjb25k',
    '',
  ]);
  expect(asked).toEqual([{ limit: 1, before: 'Zmlyc3Q' }]);
  expect(JSON.parse((await outdated(KEYS.admin, '--json')).stdout)).toMatchObject({
    model: 'toy-2',
    total: 12,
    users: [{ user_id: USER, model: 'toy-1', samples: 3 }],
    next: 'c2Vjb25k',
  });
});

it('says when there is nobody, and exits 1 when it may not ask', async () => {
  t.behave.users.outdated = async () => ({ modelId: 'toy-2', users: [], total: 0, next: undefined });
  expect((await outdated(KEYS.admin)).stdout).toBe('Nobody is enrolled with another model than toy-2.\n');
  const refused = await outdated(KEYS.read, '--json');
  expect(refused.code).toBe(1);
  expect(JSON.parse(refused.stdout)).toMatchObject({ error: 'Forbidden' });
});
