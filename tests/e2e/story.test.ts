/** The main job, black box: enroll from an audio URL, verify live calls, read the attempts back, see them counted and traced. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '../../src/cli/client.js';
import { type ListenSimulator, startListenSimulator } from '../../src/telephony/simulator/listen-server.js';
import { type LocalService, metricSum, startLocalService } from '../support/local-service.js';
import { VOICE_RATE_HZ, type VoiceFile, voicePath, voiceSamples } from '../support/voices.js';

const PHONE = '+15550100001';
const userId = randomUUID();
let service: LocalService;
let simulator: ListenSimulator;
let files: Server;
let fileUrl: string;

beforeAll(async () => {
  service = await startLocalService({}, { secrets: [PHONE, '5550100001', 'secret-call'] });
  const agent = voiceSamples('agent');
  const script = (name: VoiceFile) => ({
    caller: voiceSamples(name),
    agent,
    sampleRateHz: VOICE_RATE_HZ,
    variant: { speed: 4 },
  });
  const scripts = new Map([
    ['secret-call-alice', script('alice-call-1')],
    ['secret-call-bob', script('bob-call-1')],
  ]);
  simulator = await startListenSimulator({ call: (callId) => scripts.get(callId) });
  files = createServer((request, response) => {
    response.end(readFileSync(voicePath(request.url === '/second.wav' ? 'alice-call-2' : 'alice-enroll')));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => files.once('listening', resolve));
  fileUrl = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;
});

afterAll(async () => {
  await simulator?.close();
  files?.close();
  await service?.close();
});

describe('a caller is enrolled and verified', () => {
  it('enrolls from an audio URL, and a second sample agrees with the first', async () => {
    const first = await service.client.post('/api/v1/enroll-user', {
      userId,
      phone: PHONE,
      audioUrl: `${fileUrl}/first.wav`,
    });
    expect(first).toMatchObject({ status: 'enrolled', score: 1, samples: 1, model: 'phone-resnet-192-v4' });
    expect(first.net_speech_seconds).toBeGreaterThan(10);
    const second = await service.client.post('/api/v1/enroll-user', {
      userId,
      phone: PHONE,
      audioUrl: `${fileUrl}/second.wav`,
    });
    expect(second).toMatchObject({ status: 'enrolled', samples: 2 });
    expect(second.score).toBeGreaterThan(0.55);
  });

  it('accepts the speaker on a live call before the call is over', async () => {
    const progress: Json[] = [];
    const result = await service.client.follow(
      '/api/v1/verify-password',
      { body: { userId, listenUrl: simulator.url('secret-call-alice') } },
      (state) => progress.push(state),
    );
    expect(result).toMatchObject({
      success: true,
      decision: 'accept',
      reason: 'match',
      records: null,
      threshold: 0.82,
      additional_factor_required: true,
    });
    expect(result.score).toBeGreaterThanOrEqual(0.82);
    expect(result.net_speech_seconds).toBeLessThan(8);
    expect(progress.at(-1)).toMatchObject({ score: result.score });
  });

  it('rejects another speaker who claims to be the first', async () => {
    const result = await service.client.post('/api/v1/verify-password', {
      userId,
      listenUrl: simulator.url('secret-call-bob'),
    });
    expect(result).toMatchObject({ success: false, decision: 'reject', reason: 'no_match' });
    expect(result.score).toBeLessThan(0.82);
  });

  it('accepts and rejects uploads, and refuses the very recording that was enrolled', async () => {
    const upload = (name: VoiceFile) => service.client.upload('/api/v1/verify', voicePath(name), { user_id: userId });
    expect(await upload('alice-call-1')).toMatchObject({ decision: 'accept', reason: 'match' });
    expect(await upload('bob-call-2')).toMatchObject({ decision: 'reject', reason: 'no_match' });
    expect(await upload('alice-enroll')).toMatchObject({ decision: 'reject', reason: 'replayed_audio' });
  });

  it('remembers every attempt, newest first, page by page', async () => {
    const all = await service.client.get(`/api/v1/users/${userId}/auth-history?limit=10`);
    const attempts = all.attempts as Json[];
    expect(attempts.map(({ reason }) => reason)).toEqual(['replayed_audio', 'no_match', 'match', 'no_match', 'match']);
    const first = await service.client.get(`/api/v1/users/${userId}/auth-history?limit=3`);
    const second = await service.client.get(
      `/api/v1/users/${userId}/auth-history?limit=3&before=${encodeURIComponent(String(first.next))}`,
    );
    expect([...(first.attempts as Json[]), ...(second.attempts as Json[])]).toEqual(attempts);
    expect(second.next ?? null).toBeNull();
    const status = await service.client.get(`/api/v1/users/${userId}/status`);
    expect(status).toMatchObject({ enrolled: true, samples: 2, model: 'phone-resnet-192-v4' });
  });

  it('counts and traces what it did', async () => {
    const page = await (await fetch(`${service.server.url}/metrics`)).text();
    const verifications = (labels: string) => metricSum(page, 'voice_auth_verifications_total', labels);
    expect(verifications('decision="accept"')).toBe(2);
    expect(verifications('decision="reject"')).toBe(3);
    expect(verifications('reason="replayed_audio"')).toBe(1);
    expect(metricSum(page, 'voice_auth_enrollments_total', 'outcome="enrolled"')).toBe(2);
    expect(metricSum(page, 'voice_auth_audio_frames_dropped_total')).toBe(0);
    expect(service.server.output()).toContain('verification recorded');
    expect(service.server.output()).toMatch(/"trace_id":"[0-9a-f]{32}"/);
  });

  it('erases the person', async () => {
    const response = await fetch(`${service.server.url}/api/v1/users/${userId}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${service.apiKey}` },
    });
    expect(response.status).toBe(200);
    const status = await fetch(`${service.server.url}/api/v1/users/${userId}/status`, {
      headers: { authorization: `Bearer ${service.apiKey}` },
    });
    expect(status.status).toBe(404);
    expect(await status.json()).toMatchObject({ error: 'UserNotFoundError' });
  });

  it('has exported its spans when it has stopped', async () => {
    await service.close();
    for (const span of ['verification', 'enrollment', 'listen.connect', 'window.embed', 'attempt.record']) {
      expect(service.traces()).toContain(span);
    }
  });
});
