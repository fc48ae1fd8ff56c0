/** What `voice-auth enroll` sends to the server. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { inheritedEnvironment } from '../../src/config/client-environment.js';
import { builtModule } from '../support/built.js';

const USER = '3f1c7a52-8c1e-4a57-9d0e-2b7a4c6d8e90';
const FILE = fileURLToPath(new URL('../fixtures/voices/alice-enroll.wav', import.meta.url));
const bodies: string[] = [];
const server = createServer(async (request, response) => {
  bodies.push(await text(request));
  const reply = { status: 'enrolled', samples: 1, net_speech_seconds: 4, score: 1, model: 'newer' };
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(reply));
});
beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => void server.close());
beforeEach(() => void bodies.splice(0));

function enroll(...args: readonly string[]): Promise<string> {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const command = [fileURLToPath(builtModule('cli/main.js')), 'enroll', '-u', USER, '--server', url, ...args];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, command, { env: inheritedEnvironment() }, (error, out) =>
      error ? reject(error) : resolve(out),
    );
  });
}

it('asks to replace a voiceprint of another model only when told to', async () => {
  expect(await enroll('--url', 'https://recordings.example/a.wav', '--replace-model')).toContain('model newer');
  await enroll('--url', 'https://recordings.example/a.wav');
  expect(bodies.map((body) => JSON.parse(body) as unknown)).toEqual([
    { userId: USER, audioUrl: 'https://recordings.example/a.wav', replaceModel: true },
    { userId: USER, audioUrl: 'https://recordings.example/a.wav' },
  ]);
});

it('does so with an upload, too', async () => {
  await enroll('--file', FILE, '--replace-model', '--consent', 'form 12');
  await enroll('--file', FILE);
  const field = /name="replace_model"\r\n\r\ntrue\r\n/;
  expect(bodies.map((body) => field.test(body))).toEqual([true, false]);
});
