/** `replaceModel` over HTTP: in a body, in a form, and for a call that is listened to already. */
import request from 'supertest';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { CallEnrollmentQuestion } from '../../src/domain/calls/calls.js';
import { bearer, ENROLLED, type KEYS, LISTEN_URL, PHONE, type TestApp, testApp, USER } from '../support/http-app.js';

let t: TestApp;
beforeEach(() => {
  t = testApp();
});

const post = (path: string, scope: keyof typeof KEYS) => request(t.app).post(path).set('Authorization', bearer(scope));

describe('replacing a voiceprint of another model', () => {
  const body = { userId: USER, phone: PHONE, listenUrl: LISTEN_URL, replaceModel: true };

  it('is for keys of scope admin, in a body', async () => {
    expect((await post('/api/v1/enroll-user', 'admin').send(body)).status).toBe(200);
    expect(t.enrollments).toMatchObject([{ replaceModel: true, actor: 'admin' }]);
    const refused = await post('/api/v1/enroll-user', 'enroll').send(body);
    expect([refused.status, refused.body.error]).toEqual([403, 'Forbidden']);
    expect((await post('/api/v1/enroll-user', 'enroll').send({ ...body, replaceModel: false })).status).toBe(200);
    expect(t.enrollments).toHaveLength(2);
    expect((await post('/api/v1/enroll-user', 'admin').send({ ...body, replaceModel: 'yes' })).status).toBe(400);
  });

  it('is for keys of scope admin, in a form', async () => {
    const upload = (scope: 'enroll' | 'admin', replace: string) =>
      post('/api/v1/enroll', scope)
        .field('user_id', USER)
        .field('replace_model', replace)
        .attach('audio', Buffer.from('x'), 'a');
    expect((await upload('admin', 'true')).status).toBe(200);
    expect(t.enrollments).toMatchObject([{ replaceModel: true }]);
    expect((await upload('enroll', 'true')).status).toBe(403);
    expect((await upload('enroll', 'false')).status).toBe(200);
    expect((await upload('admin', '1')).status).toBe(400);
    expect(t.enrollments).toHaveLength(2);
  });

  it('is for keys of scope admin, from a call', async () => {
    const enroll = vi.fn(async (_question: CallEnrollmentQuestion) => ({
      kind: 'enrolled' as const,
      userId: USER,
      result: ENROLLED,
    }));
    t.behave.calls.enroll = enroll;
    const fromCall = {
      userId: USER,
      phone: PHONE,
      call: { platform: 'twilio', id: 'CA0123456789' },
      replaceModel: true,
    };
    expect((await post('/api/v1/enroll-user', 'enroll').send(fromCall)).status).toBe(403);
    expect(enroll).not.toHaveBeenCalled();
    expect((await post('/api/v1/enroll-user', 'admin').send(fromCall)).status).toBe(200);
    expect(enroll.mock.calls).toMatchObject([[{ userId: USER, replaceModel: true, actor: 'admin' }]]);
  });
});
