/** The API document, made from the operations: schemas, scopes, error codes. */
import { OpenAPIRegistry, OpenApiGeneratorV31, type RouteConfig } from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import type { ErrorCode } from '../domain/errors.js';
import { SERVICE_VERSION } from '../version.js';
import { STATUS_BY_CODE } from './error-table.js';
import type { Operation } from './operation.js';
import { errorReply } from './schemas/fields.js';

const DESCRIPTION = [
  'Enroll speakers and verify callers by voice.',
  'Access by API key: `Authorization: Bearer <key>`; each operation names the scope it needs (`admin` has all).',
  'Every answer carries `X-Correlation-ID`; send your own (or `X-Call-ID`) to find it again in logs, attempts and traces.',
  '`score` means: a random other speaker scores at least this high with probability (1 - score)^3.',
  'A voice is one signal and never proof on its own: combine it with another factor.',
].join('\n\n');

const SECURITY = 'apiKey';

/** Ways of VAPI to show who it is; any one of those that are configured will do. */
const WEBHOOK_SECURITY = {
  webhookSecret: { type: 'apiKey', in: 'header', name: 'X-Vapi-Secret' },
  webhookToken: { type: 'http', scheme: 'bearer' },
  webhookSignature: {
    type: 'apiKey',
    in: 'header',
    name: 'X-Signature',
    description: 'HMAC over the time and the raw body; header names, hash and encoding are configured',
  },
} as const;

const correlationHeaders = z.object({
  'x-correlation-id': z.string().optional().meta({ description: 'Your id for this request' }),
  'x-call-id': z.string().optional().meta({ description: "The platform's id of the call" }),
});

/** Builds the OpenAPI 3.1 document. */
export function createOpenApiDocument(operations: readonly Operation[]) {
  const registry = new OpenAPIRegistry();
  registry.registerComponent('securitySchemes', SECURITY, { type: 'http', scheme: 'bearer' });
  for (const [name, scheme] of Object.entries(WEBHOOK_SECURITY)) {
    registry.registerComponent('securitySchemes', name, scheme);
  }
  for (const operation of operations) registry.registerPath(pathOf(operation));
  return new OpenApiGeneratorV31(registry.definitions).generateDocument({
    openapi: '3.1.0',
    info: { title: 'voice-auth', version: SERVICE_VERSION, description: DESCRIPTION, license: { name: 'MIT' } },
    servers: [{ url: '/' }],
  });
}

/** Every code the operation can answer with: its own and those implied by access, limits and input. */
export function errorCodesOf(operation: Operation): ErrorCode[] {
  const { access, limits, body, errors } = operation;
  const guarded: readonly ErrorCode[] = ['Unauthorized', 'Forbidden', 'RateLimited'];
  const limited: readonly ErrorCode[] = ['Busy', 'DatabaseUnavailable'];
  const withBody: readonly ErrorCode[] =
    body?.kind === 'raw' ? ['PayloadTooLarge', 'Busy'] : ['UnsupportedMediaType', 'PayloadTooLarge'];
  return [
    ...new Set<ErrorCode>([
      ...(access === 'public' || access === 'webhook' ? [] : (['ValidationError'] as const)),
      ...(access === 'public' ? [] : guarded),
      ...(limits === 'none' ? [] : limited),
      ...(body ? withBody : []),
      ...errors,
      'InternalError',
    ]),
  ];
}

function pathOf(operation: Operation): RouteConfig {
  const { name, method, path, tag, summary, description, access, params, query } = operation;
  return {
    operationId: name,
    method,
    path,
    tags: [tag],
    summary,
    ...(description ? { description } : {}),
    security: securityOf(access),
    request: {
      ...(params ? { params } : {}),
      ...(query ? { query } : {}),
      ...(access === 'public' ? {} : { headers: correlationHeaders }),
      ...(operation.body ? { body: requestBody(operation.body) } : {}),
    },
    responses: { ...replies(operation), ...errorReplies(operation) },
  };
}

function securityOf(access: Operation['access']): Record<string, string[]>[] {
  if (access === 'public') return [];
  if (access === 'webhook') return Object.keys(WEBHOOK_SECURITY).map((name) => ({ [name]: [] }));
  return [{ [SECURITY]: [access] }];
}

function requestBody(body: NonNullable<Operation['body']>) {
  if (body.kind === 'json') return { required: true, content: { 'application/json': { schema: body.schema } } };
  if (body.kind === 'raw') return { required: true, content: { 'application/json': { schema: body.document } } };
  const audio = z.string().meta({ format: 'binary', description: 'The recording: WAV, MP3, FLAC, Ogg or WebM' });
  return { required: true, content: { 'multipart/form-data': { schema: body.form.extend({ audio }) } } };
}

function replies({ reply, progress }: Operation): RouteConfig['responses'] {
  const content = {
    [reply.mediaType ?? 'application/json']: { schema: reply.schema ?? z.string() },
    ...(progress ? { 'text/event-stream': { schema: eventStreamOf(progress, reply.schema) } } : {}),
  };
  const statuses = { 200: reply.description, ...reply.otherStatuses };
  return Object.fromEntries(
    Object.entries(statuses).map(([status, description]) => [status, { description, content }]),
  );
}

/** The document has no words for events, so each kind of data is given as an alternative. */
function eventStreamOf(progress: z.ZodType, result: z.ZodType | undefined) {
  return z
    .union([progress, ...(result ? [result] : []), errorReply])
    .meta({ description: 'Data of the events `progress` (any number), then one `result` or `error`' });
}

function errorReplies(operation: Operation): RouteConfig['responses'] {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of errorCodesOf(operation)) {
    const status = STATUS_BY_CODE[code];
    if (operation.reply.otherStatuses?.[status] === undefined)
      byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const content = { 'application/json': { schema: errorReply } };
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      { description: codes.map((code) => `\`${code}\``).join(', '), content },
    ]),
  );
}
