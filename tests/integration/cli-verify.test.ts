/** What `voice-auth verify` asks of the server, which options it takes, and what it says when the server goes away. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { inheritedEnvironment } from '../../src/config/client-environment.js';
import { builtModule } from '../support/built.js';
import { ACCEPTED } from '../support/http-app.js';

const USER = '3f1c7a52-8c1e-4a57-9d0e-2b7a4c6d8e90';
const LISTEN = ['--listen', 'wss://calls.example/tapped'];
const RESULT = { decision: 'accept', reason: 'match', score: 0.93, threshold: 0.82, attempt_id: ACCEPTED.attemptId };
const EVENTS = { 'content-type': 'text/event-stream' };
const PROGRESS = 'event: progress\ndata: {"net_speech_seconds":1}\n\n';

const bodies: string[] = [];
let answer: RequestListener;
const server = createServer(async (request, response) => {
  bodies.push(await text(request));
  answer(request, response);
});
beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => void server.close());
beforeEach(() => {
  bodies.splice(0);
  answer = (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(RESULT));
  };
});

interface Outcome {
  readonly code: unknown;
  readonly out: string;
  readonly err: string;
}

function run(verb: 'verify' | 'enroll', ...args: readonly string[]): Promise<Outcome> {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const command = [fileURLToPath(builtModule('cli/main.js')), verb, '-u', USER, '--server', url, ...args];
  return new Promise((resolve) => {
    execFile(process.execPath, command, { env: inheritedEnvironment() }, (error, out, err) =>
      resolve({ code: error?.code ?? 0, out, err }),
    );
  });
}

describe('options', () => {
  it('go along as they were given', async () => {
    const strict = ['--threshold', '0.95', '--max-seconds', '12.5', '--channel', '1'];
    expect(await run('verify', ...LISTEN, ...strict)).toMatchObject({ code: 0 });
    expect(await run('verify', ...LISTEN)).toMatchObject({ code: 0 });
    const asked = { userId: USER, listenUrl: 'wss://calls.example/tapped' };
    expect(bodies.map((body) => JSON.parse(body) as unknown)).toEqual([
      { ...asked, threshold: 0.95, maxSeconds: 12.5, channel: 1 },
      asked,
    ]);
  });

  it('go along with an upload, too', async () => {
    const file = fileURLToPath(new URL('../fixtures/voices/alice-call-1.wav', import.meta.url));
    expect(await run('verify', '--file', file, '--threshold', '0.95', '--channel', '1')).toMatchObject({ code: 0 });
    expect(bodies[0]).toMatch(/name="threshold"\r\n\r\n0\.95\r\n/);
    expect(bodies[0]).toMatch(/name="channel"\r\n\r\n1\r\n/);
  });

  it.each<['verify' | 'enroll', string, string]>([
    ['verify', '--threshold', ''],
    ['verify', '--threshold', ' '],
    ['verify', '--threshold', 'high'],
    ['verify', '--max-seconds', ''],
    ['verify', '--channel', ''],
    ['verify', '--channel', '2'],
    ['enroll', '--max-seconds', ''],
    ['enroll', '--channel', ''],
  ])('that say nothing are refused and not left out: %s %s %j', async (verb, option, value) => {
    const { code, err } = await run(verb, ...LISTEN, option, value);
    expect({ code, named: err.includes(option), asked: bodies.length }).toEqual({ code: 1, named: true, asked: 0 });
  });

  it.each([
    ['phone', { phone: '' }],
    ['consent', { consentReference: '' }],
  ])('of a text are left to the server: --%s', async (option, expected) => {
    await run('enroll', ...LISTEN, `--${option}`, '');
    expect(JSON.parse(bodies[0] ?? '')).toMatchObject(expected);
  });
});

describe('a connection that breaks off', () => {
  const ENDS: readonly [string, RequestListener][] = [
    [
      'after some progress',
      (_request, response) => {
        response.writeHead(200, EVENTS).write(PROGRESS, () => response.destroy());
      },
    ],
    [
      'in the middle of an answer',
      (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 });
        response.write('{"decision":', () => response.destroy());
      },
    ],
  ];

  it.each(ENDS)('%s is told in one line', async (_when, ends) => {
    answer = ends;
    const { code, out, err } = await run('verify', ...LISTEN);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err.trim().split('\n').at(-1)).toMatch(
      /^The connection to http:\/\/127\.0\.0\.1:\d+ broke off before there was a result$/,
    );
    expect(err).not.toMatch(/\n\s+at |TypeError/);
  });

  it('is told to programs, too', async () => {
    answer = ENDS[0]![1];
    const { code, out } = await run('verify', ...LISTEN, '--json');
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ error: 'CommandError', message: expect.stringContaining('broke off') });
  });
});

it('does not wait for the end of the stream once the result is there', async () => {
  answer = (_request, response) => {
    response.writeHead(200, EVENTS).write(`${PROGRESS}event: result\ndata: ${JSON.stringify(RESULT)}\n\n`);
  };
  expect(await run('verify', ...LISTEN)).toMatchObject({ code: 0, out: expect.stringContaining('accept (match)') });
});
