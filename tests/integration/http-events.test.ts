/** Live progress, and clients that leave. */
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import request from 'supertest';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { VerificationRequest } from '../../src/domain/verification/verification.js';
import { errorReply } from '../../src/http/schemas/fields.js';
import { progressEvent, verifyReply } from '../../src/http/schemas/verification.js';
import { eventually } from '../support/eventually.js';
import {
  ACCEPTED,
  AUDIO_URL,
  bearer,
  failing,
  LISTEN_URL,
  PHONE,
  type TestApp,
  testApp,
  USER,
} from '../support/http-app.js';

const BODY = { userId: USER, listenUrl: LISTEN_URL };

interface Event {
  readonly event: string;
  readonly data: unknown;
}

function eventsOf(text: string): Event[] {
  return text
    .split('\n\n')
    .filter((block) => block !== '' && !block.startsWith(':'))
    .map((block) => {
      const [, event = '', data = 'null'] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
      return { event, data: JSON.parse(data) };
    });
}

let t: TestApp;
beforeEach(() => {
  t = testApp();
});

describe('verification as an event stream', () => {
  const stream = () =>
    request(t.app)
      .post('/api/v1/verify-password')
      .set({ Authorization: bearer('verify'), Accept: 'text/event-stream', 'X-Correlation-ID': 'stream-0001' })
      .send(BODY);

  it('tells progress and then the result', async () => {
    t.behave.verify = async ({ onProgress }) => {
      onProgress?.({ elapsedMs: 700, netSpeechMs: 0, looks: 0, score: undefined });
      onProgress?.({ elapsedMs: 1612.4, netSpeechMs: 1500, looks: 1, score: 0.71234567 });
      return ACCEPTED;
    };
    const res = await stream();
    expect(res.status).toBe(200);
    expect(res.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-correlation-id': 'stream-0001',
    });
    const events = eventsOf(res.text);
    expect(events.map(({ event }) => event)).toEqual(['progress', 'progress', 'result']);
    expect(progressEvent.parse(events[0]?.data)).toEqual({
      elapsed_seconds: 0.7,
      net_speech_seconds: 0,
      looks: 0,
      score: null,
    });
    expect(progressEvent.parse(events[1]?.data)).toEqual({
      elapsed_seconds: 1.612,
      net_speech_seconds: 1.5,
      looks: 1,
      score: 0.712346,
    });
    expect(verifyReply.parse(events[2]?.data)).toMatchObject({ success: true, correlation_id: 'stream-0001' });
  });

  it('is a stream even when the result comes first', async () => {
    const res = await stream();
    expect(eventsOf(res.text).map(({ event }) => event)).toEqual(['result']);
  });

  it('keeps the status of errors that come before the first event', async () => {
    t.behave.verify = failing('AccountLockedError', 'Locked', { retryAfterSeconds: 9 });
    const res = await stream();
    expect(res.status).toBe(423);
    expect(res.headers['content-type']).toContain('application/json');
    expect(res.headers['retry-after']).toBe('9');
    expect(errorReply.parse(res.body).error).toBe('AccountLockedError');
    const invalid = await stream().send({ userId: 'nobody' });
    expect(invalid.status).toBe(400);
  });

  it('ends with an error event after the first', async () => {
    for (const [thrown, code] of [
      [new VoiceAuthError('DatabaseUnavailable', 'No answer'), 'DatabaseUnavailable'],
      [new Error(LISTEN_URL), 'InternalError'],
    ] as const) {
      t.behave.verify = async ({ onProgress }) => {
        onProgress?.({ elapsedMs: 700, netSpeechMs: 0, looks: 0, score: undefined });
        throw thrown;
      };
      const res = await stream();
      expect(res.status).toBe(200);
      const events = eventsOf(res.text);
      expect(events.map(({ event }) => event)).toEqual(['progress', 'error']);
      expect(errorReply.parse(events[1]?.data)).toMatchObject({ error: code, correlation_id: 'stream-0001' });
      expect(res.text).not.toContain(LISTEN_URL);
    }
    await eventually(() => expect(t.logText()).toContain('"error":"InternalError","msg":"request"'));
  });

  it('works for uploads, and only where asked for', async () => {
    t.behave.verify = async ({ onProgress }) => {
      onProgress?.({ elapsedMs: 5, netSpeechMs: 2000, looks: 1, score: 0.9 });
      return ACCEPTED;
    };
    const upload = await request(t.app)
      .post('/api/v1/verify')
      .set({ Authorization: bearer('verify'), Accept: 'text/event-stream' })
      .field('user_id', USER)
      .attach('audio', Buffer.alloc(10), 'a');
    expect(eventsOf(upload.text).map(({ event }) => event)).toEqual(['progress', 'result']);
    for (const accept of ['application/json', '*/*', 'text/html', 'application/json, text/event-stream;q=0.5']) {
      const res = await stream().set('Accept', accept);
      expect(verifyReply.parse(res.body).success).toBe(true);
    }
    const enrollment = await request(t.app)
      .post('/api/v1/enroll-user')
      .set({ Authorization: bearer('enroll'), Accept: 'text/event-stream' })
      .send({ userId: USER, phone: PHONE, audioUrl: AUDIO_URL });
    expect(enrollment.body.status).toBe('enrolled');
  });
});

describe('a client that leaves', () => {
  let server: Server;
  beforeEach(async () => {
    server = createServer(t.app);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  function send(path: string, options: { readonly accept: string; readonly body: object }) {
    const req = httpRequest({
      host: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
      path,
      method: 'POST',
      headers: { Authorization: bearer('admin'), 'Content-Type': 'application/json', Accept: options.accept },
    });
    req.on('error', () => undefined);
    req.end(JSON.stringify(options.body));
    return req;
  }

  /** Waits for the request's end by its signal, as the real use cases do. */
  function untilAborted(signal: AbortSignal): Promise<never> {
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new VoiceAuthError('Timeout', 'Nobody waits')), { once: true });
    });
  }

  it.each(['application/json', 'text/event-stream'])('as %s aborts the verification', async (accept) => {
    const asked = new Promise<VerificationRequest>((resolve) => {
      t.behave.verify = (verification) => {
        resolve(verification);
        verification.onProgress?.({ elapsedMs: 1, netSpeechMs: 0, looks: 0, score: undefined });
        return untilAborted(verification.signal);
      };
    });
    const req = send('/api/v1/verify-password', { accept, body: BODY });
    if (accept === 'text/event-stream') {
      const res = await new Promise<IncomingMessage>((resolve) => req.once('response', resolve));
      await new Promise((resolve) => res.once('data', resolve));
      res.on('error', () => undefined);
    }
    const { signal } = await asked;
    expect(signal.aborted).toBe(false);
    req.destroy();
    await eventually(() => expect(signal.aborted).toBe(true));
    await eventually(() => expect(t.logText()).toContain('"status":499'));
    expect(t.logText()).not.toContain('request failed');
  });

  it('aborts the enrollment, too', async () => {
    const asked = new Promise<AbortSignal>((resolve) => {
      t.behave.enroll = ({ signal }) => {
        resolve(signal);
        return untilAborted(signal);
      };
    });
    const body = { userId: USER, phone: PHONE, audioUrl: AUDIO_URL };
    const req = send('/api/v1/enroll-user', { accept: 'application/json', body });
    const signal = await asked;
    req.destroy();
    await eventually(() => expect(signal.aborted).toBe(true));
  });

  it('is not confused with one that was answered', async () => {
    const res = await request(t.app).post('/api/v1/verify-password').set('Authorization', bearer('verify')).send(BODY);
    expect(res.status).toBe(200);
    await eventually(() => expect(t.logText()).toContain('"status":200'));
    expect(t.verifications[0]?.signal.aborted).toBe(false);
  });
});
