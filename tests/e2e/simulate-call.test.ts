/** `voice-auth simulate-call` and `voice-auth call` as processes of their own, against a running server. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '../../src/cli/client.js';
import { inheritedEnvironment } from '../../src/config/client-environment.js';
import { builtModule } from '../support/built.js';
import { type LocalService, metricSum, startLocalService } from '../support/local-service.js';
import { type VoiceFile, voicePath } from '../support/voices.js';

const [SECRET, HMAC, AUTH_TOKEN] = ['s3cret-of-webhooks', 'h3mac-of-webhooks', 'tw1lio-auth-token'];
const ALICE = '+15550100001';
const CAROL = '+15550100003';
const userId = randomUUID();
let service: LocalService;

beforeAll(async () => {
  service = await startLocalService(
    {
      VAPI_WEBHOOK_SECRET: SECRET,
      VAPI_WEBHOOK_HMAC_SECRET: HMAC,
      VAPI_LATE_VERDICT: 'message',
      TWILIO_AUTH_TOKEN: AUTH_TOKEN,
      PUBLIC_URL: 'https://auth.example.com',
      CALL_ENROLL_NEW_NUMBERS: 'true',
    },
    { secrets: [SECRET, HMAC, AUTH_TOKEN, ALICE, CAROL] },
  );
  await service.client.upload('/api/v1/enroll', voicePath('alice-enroll'), { user_id: userId, phone: ALICE });
});

afterAll(() => service?.close());

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function run(...args: string[]): Promise<Run> {
  const main = fileURLToPath(builtModule('cli/main.js'));
  const env = {
    ...inheritedEnvironment(),
    VOICE_AUTH_URL: service.server.url,
    VOICE_AUTH_API_KEY: service.apiKey,
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { env }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}

const play = (voice: VoiceFile, ...args: string[]) =>
  run('simulate-call', '--speed', '4', '--ask-after', '4', '-c', voicePath(voice), ...args);
const answersIn = ({ out }: Run) => (JSON.parse(out) as { answers: Json[] }).answers;

describe('a VAPI call', () => {
  it('is verified by the number of the caller', async () => {
    const { code, out, err } = await play('alice-call-1', '--secret', SECRET, '--from', ALICE);
    expect(out).toMatch(/^verified: /);
    expect(err).toContain(`from ${ALICE}: in progress`);
    expect(code).toBe(0);
  });

  it('of somebody else is not, whatever the webhooks look like', async () => {
    const { code, out } = await play('bob-call-1', '--hmac', HMAC, '-u', userId, '--webhook-variant', 'flat-json-text');
    expect(out).toMatch(/^not_verified: /);
    expect(code).toBe(2);
  });

  it('enrolls who agrees, and tells all answers as JSON', async () => {
    const refused = await play('carol-enroll', '--secret', SECRET, '--from', CAROL, '--tool', 'enroll_caller');
    expect([refused.code, refused.out]).toEqual([3, expect.stringMatching(/^consent_required: /)]);
    const tools = ['--tool', 'enroll_caller', 'call_status', '--consent', '--json'];
    const enrolled = await play('carol-enroll', '--secret', SECRET, '--from', CAROL, ...tools);
    expect(answersIn(enrolled)).toMatchObject([
      { tool: 'enroll_caller', text: expect.stringMatching(/^enrolled: /) },
      { tool: 'call_status', seconds: expect.any(Number) },
    ]);
    expect([enrolled.code, enrolled.err]).toEqual([0, '']);
  });

  it('hears of the verdict that comes late', async () => {
    const early = ['--secret', SECRET, '--from', ALICE, '--ask-after', '0', '--tool-timeout', '1'];
    const { code, out } = await play('alice-call-1', ...early);
    expect(out).toMatch(/^inconclusive: .*the verdict follows.*\nLate result of verify_caller: verified: /);
    expect(code).toBe(0);
  });

  it('that is not believed says what is missing', async () => {
    const { code, err } = await play('alice-call-1', '--secret', 'other', '--from', ALICE);
    expect(err).toMatch(/answered the webhook with 401: .*VAPI_WEBHOOK_SECRET.*--hmac-variant .*VAPI_WEBHOOK_HMAC_/);
    expect(code).toBe(1);
  });
});

describe('a call of a platform that dials', () => {
  it.each(['twilio', 'telnyx', 'plivo', 'vapi_transcriber'])('(%s) is verified', async (platform) => {
    const { code, out, err } = await play(
      'alice-call-1',
      '--platform',
      platform,
      '-u',
      userId,
      '--auth-token',
      AUTH_TOKEN,
    );
    expect(out).toMatch(/^accept \(match\): /);
    expect(err).toContain('wss://auth.example.com/api/v1/streams/');
    expect(code).toBe(0);
  });

  it('enrolls a new person', async () => {
    const person = ['-u', randomUUID(), '--from', '+15550100004', '--tool', 'enroll_caller'];
    const dial = ['--platform', 'telnyx', ...person];
    expect(await play('dave-enroll', ...dial)).toMatchObject({ code: 1, err: expect.stringContaining('--consent') });
    expect(await play('dave-enroll', ...dial, '--consent')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^enrolled: /),
    });
  });

  it('is refused without the signature, and without the token', async () => {
    const unsigned = await play('alice-call-1', '--platform', 'twilio', '-u', userId);
    expect(unsigned).toMatchObject({ code: 1, err: expect.stringContaining('refused the stream with 401') });
    const wrong = await play('alice-call-1', '--platform', 'twilio', '-u', userId, '--auth-token', 'other');
    expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining('PUBLIC_URL') });
    const tokenless = await play('alice-call-1', '--platform', 'plivo', '-u', userId, '--variant', 'no-token');
    expect(tokenless).toMatchObject({ code: 1, err: expect.stringContaining('the token was not accepted') });
  });
});

describe('the command line', () => {
  it('shows how a call stands', async () => {
    const played = await play('alice-call-1', '--secret', SECRET, '--from', ALICE, '--call-id', 'a-call-of-alice');
    expect(played.code).toBe(0);
    const { code, out } = await run('call', 'vapi', 'a-call-of-alice');
    expect(out).toMatch(/^ended: \d+\.\d s of the caller's speech heard, \d+ comparison\(s\) made, /);
    expect(code).toBe(0);
    expect(await run('call', 'vapi', 'no-call-of-ours')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^CallNotFoundError: /),
    });
  });

  it('lists what a platform can do to the wire, and knows nothing else', async () => {
    const { out } = await run('simulate-call', '--platform', 'telnyx', '--list-variants');
    expect(out).toContain('out-of-order');
    expect(out).not.toContain('transcriber-mono');
    expect((await run('simulate-call', '--list-variants')).out).toContain('function-call');
    expect(await play('alice-call-1', '--platform', 'twilio', '--variant', 'stereo-8k')).toMatchObject({ code: 1 });
    expect(await play('alice-call-1', '--secret', 'a', '--bearer', 'b')).toMatchObject({ code: 1 });
  });

  it('has made the service count what was refused', async () => {
    const page = await (await fetch(`${service.server.url}/metrics`)).text();
    expect(metricSum(page, 'voice_auth_webhooks_total', 'outcome="unauthorized"')).toBe(1);
    expect(metricSum(page, 'voice_auth_tool_calls_total', 'tool="late_verdict",outcome="delivered"')).toBe(1);
    expect(metricSum(page, 'voice_auth_stream_connections_total', 'outcome="signature_missing"')).toBe(1);
    expect(metricSum(page, 'voice_auth_stream_connections_total', 'outcome="signature_wrong"')).toBe(1);
    expect(metricSum(page, 'voice_auth_stream_connections_total', 'outcome="no_token"')).toBe(1);
  });
});
