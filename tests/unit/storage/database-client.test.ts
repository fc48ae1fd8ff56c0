import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { describeError } from '../../../src/observability/logger.js';
import { Metrics } from '../../../src/observability/metrics.js';
import { DatabaseClient, DatabaseFailure } from '../../../src/storage/database-client.js';

const metrics = new Metrics();

function clientWith(answer: typeof fetch, timeoutMs = 5000): DatabaseClient {
  return new DatabaseClient({
    url: 'http://database.invalid',
    key: 'a-service-key',
    timeoutMs,
    metrics,
    fetch: answer,
  });
}

function answering(status: number, body: unknown): typeof fetch {
  return async () => new Response(typeof body === 'string' ? body : JSON.stringify(body), { status });
}

const secretText = 'Key (phone)=(+14155550100) already exists';
const sqlError = (code: string) => ({ code, message: secretText, details: secretText, hint: null });

async function failureOf(answer: typeof fetch): Promise<unknown> {
  return clientWith(answer)
    .call('va_ping', {}, z.number())
    .catch((error: unknown) => error);
}

describe('database client', () => {
  it('posts the arguments to the function and returns its validated answer', async () => {
    const requests: { url: string; method: string | undefined; body: unknown; key: string | null }[] = [];
    const client = clientWith(async (input, init) => {
      const headers = new Headers(init?.headers);
      requests.push({
        url: String(input),
        method: init?.method,
        body: JSON.parse(String(init?.body)),
        key: headers.get('apikey'),
      });
      return new Response('{"hits":3}');
    });
    expect(await client.call('va_x', { p_a: 1 }, z.object({ hits: z.number() }))).toEqual({ hits: 3 });
    expect(requests).toEqual([
      { url: 'http://database.invalid/rest/v1/rpc/va_x', method: 'POST', body: { p_a: 1 }, key: 'a-service-key' },
    ]);
  });

  it.each([
    [400, sqlError('VA001'), 'EnrollmentConflict'],
    [400, sqlError('VA002'), 'EnrollmentConflict'],
    [400, sqlError('VA003'), 'VoiceprintModelMismatch'],
    [400, sqlError('VA004'), 'UserNotFoundError'],
    [400, sqlError('22P02'), 'ValidationError'],
    [400, sqlError('23514'), 'InternalError'],
    [409, sqlError('23505'), 'InternalError'],
    [401, { message: 'Invalid API key' }, 'DatabaseUnavailable'],
    [403, sqlError('42501'), 'DatabaseUnavailable'],
    [404, sqlError('PGRST202'), 'DatabaseUnavailable'],
    [429, 'slow down', 'DatabaseUnavailable'],
    [500, sqlError('57014'), 'DatabaseUnavailable'],
    [502, '<html>bad gateway</html>', 'DatabaseUnavailable'],
    [503, sqlError('PGRST001'), 'DatabaseUnavailable'],
    [200, '"not a number"', 'InternalError'],
    [200, '<html>captive portal</html>', 'InternalError'],
  ])('answers %i %j with %s', async (status, body, code) => {
    const failure = await failureOf(answering(status, body));
    expect(failure).toMatchObject({ code });
    if (code === 'DatabaseUnavailable') expect(failure).toMatchObject({ retryAfterSeconds: 1 });
    expect(String(failure)).not.toContain('14155550100');
    expect(JSON.stringify(describeError(failure))).not.toContain('14155550100');
  });

  it('is unavailable when the network fails', async () => {
    const failure = await failureOf(() => Promise.reject(new TypeError('fetch failed')));
    expect(failure).toMatchObject({ code: 'DatabaseUnavailable', cause: expect.any(DatabaseFailure) });
    expect(failure).toMatchObject({ cause: { status: 0 } });
  });

  it('gives up at its deadline', async () => {
    const hanging: typeof fetch = (_, init) =>
      new Promise((_resolve, reject) => {
        init?.signal?.addEventListener('abort', () => reject(init.signal?.reason));
      });
    const failure = await clientWith(hanging, 20)
      .call('va_ping', {}, z.number())
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'DatabaseUnavailable', retryAfterSeconds: 1 });
  });

  it('counts calls that fail, but not those that only ask whether it is there', async () => {
    const errors = async () =>
      (await metrics.databaseErrors.get()).values.find(({ labels }) => labels.outcome === 'DatabaseUnavailable')!.value;
    const before = await errors();
    await failureOf(answering(503, ''));
    await expect(clientWith(answering(503, '')).call('va_key_ids', {}, z.array(z.string()))).rejects.toThrow();
    expect(await errors()).toBe(before);
    await expect(clientWith(answering(503, '')).call('va_find_user', {}, z.number())).rejects.toThrow();
    expect(await errors()).toBe(before + 1);
  });

  it('measures every call by function and outcome', async () => {
    await clientWith(answering(200, '1')).call('va_measured', {}, z.number());
    await failureOf(answering(400, sqlError('VA004')));
    const text = await metrics.registry.getSingleMetricAsString('voice_auth_database_seconds');
    expect(text).toContain('function="va_measured",outcome="ok"');
    expect(text).toContain('function="va_ping",outcome="UserNotFoundError"');
  });
});
