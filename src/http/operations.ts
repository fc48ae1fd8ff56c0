/** The table of all operations. */
import { type Operation, defineOperation as operation } from './operation.js';
import * as calls from './schemas/calls.js';
import * as enrollment from './schemas/enrollment.js';
import type { ApiLimits } from './schemas/fields.js';
import * as service from './schemas/service.js';
import * as users from './schemas/users.js';
import * as verification from './schemas/verification.js';
import * as webhook from './schemas/webhook.js';

const INFERENCE_ERRORS = ['Busy', 'InferenceUnavailable', 'DatabaseUnavailable', 'Timeout'] as const;
const AUDIO_ERRORS = ['UnsupportedAudioError', 'AudioProcessingError', ...INFERENCE_ERRORS] as const;
const SOURCE_ERRORS = ['AudioDownloadError', 'ListenConnectionError', 'CallNotFoundError', ...AUDIO_ERRORS] as const;
const ENROLLMENT_ERRORS = [
  'EnrollmentConflict',
  'VoiceprintModelMismatch',
  'AccountLockedError',
  'UserNotFoundError',
] as const;
const VERIFICATION_ERRORS = ['UserNotFoundError', 'AccountLockedError', 'VoiceprintModelMismatch'] as const;

const ENROLLING =
  'Adds a voice sample. The first sample makes the voiceprint; up to five are kept. A further one must match it as a caller must, ' +
  'and be no copy of a kept one; one that does not match counts as a failed attempt. ' +
  'A voiceprint of another model than the service now uses is only replaced with `replaceModel`.';
const VERIFYING =
  'Checks whether the caller is who they claim to be. A failed match is an answer, not an error: 200 with `success: false`. ' +
  'Voice is one signal, never proof on its own: combine it with another factor. ' +
  'With `Accept: text/event-stream` the answer comes as server-sent events: `progress` while listening, then `result` or `error`. ' +
  'Closing the connection before the answer accepts nobody; a voice that did not match until then is a failed attempt.';

/** The operations under these limits. */
export function createOperations(limits: ApiLimits) {
  return {
    enroll: operation({
      name: 'enrollment.create',
      method: 'post',
      path: '/api/v1/enroll-user',
      tag: 'Enrollment',
      summary: 'Enroll from a recording or a live call',
      description: ENROLLING,
      access: 'enroll',
      limits: 'user',
      body: { kind: 'json', schema: enrollment.enrollUserBody(limits) },
      reply: { description: 'Enrolled', schema: enrollment.enrollReply },
      errors: [...ENROLLMENT_ERRORS, ...SOURCE_ERRORS],
    }),
    enrollUpload: operation({
      name: 'enrollment.upload',
      method: 'post',
      path: '/api/v1/enroll',
      tag: 'Enrollment',
      summary: 'Enroll from an uploaded recording',
      description: ENROLLING,
      access: 'enroll',
      limits: 'user',
      body: { kind: 'multipart', form: enrollment.enrollForm, schema: enrollment.enrollFields },
      reply: { description: 'Enrolled', schema: enrollment.enrollReply },
      errors: [...ENROLLMENT_ERRORS, ...AUDIO_ERRORS],
    }),
    verify: operation({
      name: 'verification.create',
      method: 'post',
      path: '/api/v1/verify-password',
      tag: 'Verification',
      summary: 'Verify the caller of a live call, or a recording',
      description: VERIFYING,
      access: 'verify',
      limits: 'user',
      body: { kind: 'json', schema: verification.verifyPasswordBody(limits) },
      reply: { description: 'Decided and recorded', schema: verification.verifyReply },
      progress: verification.progressEvent,
      errors: [...VERIFICATION_ERRORS, ...SOURCE_ERRORS, 'CallConflict'],
    }),
    verifyUpload: operation({
      name: 'verification.upload',
      method: 'post',
      path: '/api/v1/verify',
      tag: 'Verification',
      summary: 'Verify an uploaded recording',
      description: VERIFYING,
      access: 'verify',
      limits: 'user',
      body: { kind: 'multipart', form: verification.verifyForm(limits), schema: verification.verifyFields(limits) },
      reply: { description: 'Decided and recorded', schema: verification.verifyReply },
      progress: verification.progressEvent,
      errors: [...VERIFICATION_ERRORS, ...AUDIO_ERRORS],
    }),
    callStatus: operation({
      name: 'call.status',
      method: 'get',
      path: '/api/v1/calls/{platform}/{id}',
      tag: 'Calls',
      summary: 'How a running call stands',
      description:
        'A call that is listened to from its start, by webhook or stream. Verify it with `call` instead of a URL.',
      access: 'read',
      limits: 'address',
      params: calls.callPath,
      reply: { description: 'The call', schema: calls.callStatusReply },
      errors: ['CallNotFoundError', 'DatabaseUnavailable'],
    }),
    expectStream: operation({
      name: 'stream.expect',
      method: 'post',
      path: '/api/v1/streams',
      tag: 'Calls',
      summary: 'Expect the audio of a call from a platform that dials us',
      description:
        'Makes a one-time token and says what to paste where (TwiML for Twilio). Once the stream has come, verify the call with ' +
        '`call: {platform, id: call_id}`.',
      access: 'verify',
      limits: 'address',
      body: { kind: 'json', schema: calls.expectStreamBody },
      reply: { description: 'Expected', schema: calls.expectStreamReply },
      errors: ['CallConflict', 'UserNotFoundError', 'DatabaseUnavailable'],
    }),
    userStatus: operation({
      name: 'user.status',
      method: 'get',
      path: '/api/v1/users/{id}/status',
      tag: 'Users',
      summary: 'Enrollment, lock and last attempt of a user',
      access: 'read',
      limits: 'address',
      params: users.userPath,
      reply: { description: 'The user', schema: users.statusReply },
      errors: ['UserNotFoundError', 'DatabaseUnavailable'],
    }),
    authHistory: operation({
      name: 'user.history',
      method: 'get',
      path: '/api/v1/users/{id}/auth-history',
      tag: 'Users',
      summary: 'Verification attempts of a user',
      access: 'read',
      limits: 'address',
      params: users.userPath,
      query: users.historyQuery,
      reply: { description: 'One page of attempts', schema: users.historyReply },
      errors: ['UserNotFoundError', 'DatabaseUnavailable'],
    }),
    outdatedUsers: operation({
      name: 'user.outdated',
      method: 'get',
      path: '/api/v1/users/outdated',
      tag: 'Users',
      summary: 'Users enrolled with another model than the one in use',
      description:
        'Who is to be enrolled anew, with `replaceModel`, after a change of model: until then their attempts are answered ' +
        '409 `VoiceprintModelMismatch`. Lists ids of everybody, hence the scope.',
      access: 'admin',
      limits: 'address',
      query: users.outdatedQuery,
      reply: { description: 'One page of users', schema: users.outdatedReply },
      errors: ['DatabaseUnavailable'],
    }),
    eraseUser: operation({
      name: 'user.erase',
      method: 'delete',
      path: '/api/v1/users/{id}',
      tag: 'Users',
      summary: 'Erase a user',
      description: 'Voiceprint and samples are gone at once, attempts are made anonymous, the erasure is audited.',
      access: 'admin',
      limits: 'address',
      params: users.userPath,
      reply: { description: 'Erased', schema: users.erasedReply },
      errors: ['UserNotFoundError', 'DatabaseUnavailable'],
    }),
    vapiWebhook: operation({
      name: 'webhook.vapi',
      method: 'post',
      path: '/vapi/webhook',
      tag: 'Webhooks',
      summary: 'Server messages of VAPI',
      description:
        'The server URL for VAPI: `status-update`, `tool-calls` (`verify_caller`, `enroll_caller`, `call_status`), ' +
        '`end-of-call-report` and the rest. Once it is known who sends them, the answer is always 200; what is wrong with a ' +
        'tool call is said in its result.',
      access: 'webhook',
      limits: 'none',
      body: { kind: 'raw', maxBytes: webhook.MAX_WEBHOOK_BYTES, document: webhook.vapiMessage },
      reply: { description: 'Taken in; with results when tools were called', schema: webhook.vapiReply },
      errors: [],
    }),
    health: operation({
      name: 'service.health',
      method: 'get',
      path: '/api/v1/health',
      tag: 'Service',
      summary: 'Health of every component, in detail',
      access: 'read',
      limits: 'none',
      reply: { description: 'How the components are, healthy or not', schema: service.healthReply },
      errors: [],
    }),
    live: operation({
      name: 'service.live',
      method: 'get',
      path: '/healthz',
      tag: 'Service',
      summary: 'Liveness: the process answers',
      access: 'public',
      limits: 'none',
      reply: { description: 'Alive', schema: service.liveReply },
      errors: [],
    }),
    ready: operation({
      name: 'service.ready',
      method: 'get',
      path: '/readyz',
      tag: 'Service',
      summary: 'Readiness: send traffic here',
      access: 'public',
      limits: 'none',
      reply: {
        description: 'Ready',
        schema: service.readyReply,
        otherStatuses: { 503: 'Not ready: shutting down, or a component is not well' },
      },
      errors: [],
    }),
    openApi: operation({
      name: 'service.openapi',
      method: 'get',
      path: '/openapi.json',
      tag: 'Service',
      summary: 'This document',
      access: 'public',
      limits: 'none',
      reply: { description: 'OpenAPI 3.1', schema: service.documentReply },
      errors: [],
    }),
    docs: operation({
      name: 'service.docs',
      method: 'get',
      path: '/docs',
      tag: 'Service',
      summary: 'This document as a page to read and try',
      access: 'public',
      limits: 'none',
      reply: { description: 'A page', mediaType: 'text/html' },
      errors: [],
    }),
    index: operation({
      name: 'service.index',
      method: 'get',
      path: '/',
      tag: 'Service',
      summary: 'Where to find what',
      access: 'public',
      limits: 'none',
      reply: { description: 'Links', schema: service.indexReply },
      errors: [],
    }),
  };
}

/** Prometheus metrics; whether a key is needed is configured. */
export function metricsOperation(isPublic: boolean) {
  return operation({
    name: 'service.metrics',
    method: 'get',
    path: '/metrics',
    tag: 'Service',
    summary: 'Metrics for Prometheus',
    access: isPublic ? 'public' : 'read',
    limits: 'none',
    reply: { description: 'Prometheus text format', mediaType: 'text/plain' },
    errors: [],
  } satisfies Operation);
}

export type Operations = ReturnType<typeof createOperations>;
