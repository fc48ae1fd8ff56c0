/** Checks path, query and body against the operation's schemas, all at once, strictly. */
import type { RequestHandler } from 'express';
import { z } from 'zod';
import { type FieldIssue, validationError } from '../../domain/errors.js';
import type { Operation } from '../operation.js';
import { stateOf } from '../request-state.js';
import { fieldIssues } from '../schemas/fields.js';
import { FILE_FIELD } from './multipart-body.js';

const NO_QUERY = z.strictObject({});

/** Stores the parsed input. Throws `ValidationError` with every offending field. */
export function validation(operation: Operation): RequestHandler {
  // Probes, pages and webhooks ignore what is added to their address, e.g. against caches; the API does not.
  const isApi = operation.access !== 'public' && operation.access !== 'webhook';
  const querySchema = operation.query ?? (isApi ? NO_QUERY : undefined);
  const bodySchema = operation.body?.kind === 'raw' ? undefined : operation.body?.schema;
  const bodyFields = operation.body?.kind === 'multipart' ? withFile(operation.body.form) : bodySchema;
  return (req, _res, next) => {
    const state = stateOf(req);
    const issues: FieldIssue[] = [];
    const parse = (schema: z.ZodType | undefined, value: unknown, fields = schema): unknown => {
      if (!schema) return undefined;
      const result = schema.safeParse(value);
      if (!result.success) issues.push(...fieldIssues(result.error, fields ?? schema));
      return result.data;
    };
    const params = parse(operation.params, req.params);
    const query = parse(querySchema, req.query);
    const body = parse(bodySchema, req.body, bodyFields);
    if (issues.length > 0) throw validationError(issues);
    state.input = { params, query, body };
    state.claimedUserId = claimedUser(body);
    next();
  };
}

/** All that a form takes: the file has been read by now, but whoever mistakes a field should see them all. */
function withFile(form: z.ZodObject): z.ZodObject {
  return form.extend({ [FILE_FIELD]: z.unknown() });
}

function claimedUser(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null || !('userId' in body)) return undefined;
  return typeof body.userId === 'string' ? body.userId : undefined;
}
