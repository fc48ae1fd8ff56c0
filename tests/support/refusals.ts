/** What every refusal must be like, and what must still hold after many of them. */
import { expect } from 'vitest';
import type { ErrorCode } from '../../src/domain/errors.js';
import { errorReply } from '../../src/http/schemas/fields.js';
import { exchange, type Reply } from './http-exchange.js';
import { type LocalService, metricSum } from './local-service.js';
import { privacyLeaks } from './privacy.js';

export interface Refusal {
  readonly status: number;
  readonly error: ErrorCode;
  /** Must match the `details` of the answer (`toMatchObject`). */
  readonly details?: object;
  /** Further headers, in lower case. */
  readonly headers?: Readonly<Record<string, RegExp>>;
}

/** Shorter texts would be found in answers by chance. */
const MIN_ECHO_CHARACTERS = 4;

/** Fails unless `reply` is exactly this refusal, well-formed, and repeats none of the `hostile` texts. */
export function expectRefusal(reply: Reply, expected: Refusal, hostile: readonly string[] = []): void {
  const named = { status: reply.status, error: /"error":"(\w+)"/.exec(reply.text)?.[1] ?? reply.text };
  expect(named).toEqual({ status: expected.status, error: expected.error });
  expect(reply.headers['content-type']).toMatch(/^application\/json\b/);
  // The schema is strict: code, message, correlation id, ISO time stamp, details, and nothing else.
  const body = errorReply.parse(JSON.parse(reply.text));
  expect(body.message).not.toBe('');
  expect(body.correlation_id).toBe(reply.headers['x-correlation-id']);
  expect(Math.abs(Date.parse(body.timestamp) - Date.now())).toBeLessThan(60_000);
  if (expected.details !== undefined) expect(body.details).toMatchObject(expected.details);
  for (const [name, pattern] of Object.entries(expected.headers ?? {})) expect(reply.headers[name]).toMatch(pattern);
  for (const value of hostile) {
    if (value.length >= MIN_ECHO_CHARACTERS) expect(reply.text).not.toContain(value);
  }
}

/** Every text in a JSON value, names of unknown fields left out. */
export function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsIn);
}

export interface Aftermath {
  /** Samples that were really enrolled and attempts that were really recorded. */
  readonly enrolled: number;
  readonly recorded: number;
  /** Users nobody enrolled. */
  readonly strangers: readonly string[];
  /** What must not be in the logs. */
  readonly secrets: readonly string[];
  /** A key that may read. */
  readonly key: string;
}

/** Fails unless the server is as well as before, holds nothing it should not, and has kept everything to itself. */
export async function expectUnharmed(service: LocalService, aftermath: Aftermath): Promise<void> {
  const get = (path: string) =>
    exchange(service.server.url, {
      path,
      headers: { authorization: `Bearer ${aftermath.key}`, 'x-forwarded-for': '192.0.2.1' },
    });
  const ready = await get('/readyz');
  expect({ status: ready.status, ...JSON.parse(ready.text) }).toMatchObject({ status: 'ready', draining: false });
  expect(ready.status).toBe(200);
  for (const userId of aftermath.strangers) {
    expectRefusal(await get(`/api/v1/users/${userId}/status`), { status: 404, error: 'UserNotFoundError' }, [userId]);
  }
  const metrics = (await get('/metrics')).text;
  const counts = {
    enrolled: metricSum(metrics, 'voice_auth_enrollments_total', 'outcome="enrolled"'),
    recorded: metricSum(metrics, 'voice_auth_verifications_total'),
    internalErrors: metricSum(metrics, 'voice_auth_http_requests_total', 'status="500"'),
    active: metricSum(metrics, 'voice_auth_active_calls'),
  };
  expect(counts).toEqual({ enrolled: aftermath.enrolled, recorded: aftermath.recorded, internalErrors: 0, active: 0 });
  const logLines = service.server.output().split('\n');
  expect(logLines.filter((line) => /"level":[56]0/.test(line))).toEqual([]);
  const requestLines = logLines.filter((line) => line.includes('"msg":"request"'));
  expect(requestLines.length).toBeGreaterThan(0);
  expect(requestLines.filter((line) => !/"correlation_id":"[^"]{8,}"/.test(line))).toEqual([]);
  expect(privacyLeaks(logLines.filter((line) => line.startsWith('{')).join('\n'), aftermath.secrets)).toEqual([]);
}
