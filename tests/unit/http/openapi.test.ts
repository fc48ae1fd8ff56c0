import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../../src/domain/errors.js';
import { STATUS_BY_CODE } from '../../../src/http/error-table.js';
import { createOpenApiDocument, errorCodesOf } from '../../../src/http/openapi.js';
import { createOperations, metricsOperation } from '../../../src/http/operations.js';
import { testApp } from '../../support/http-app.js';

const table = createOperations({ configuredThreshold: 0.82, maxListenSeconds: 65 });
const operations = [...Object.values(table), metricsOperation(false)];
const document = JSON.parse(JSON.stringify(createOpenApiDocument(operations)));

interface PathItem {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content: object }>>;
  readonly security: readonly object[];
}
const documented = Object.entries<Record<string, PathItem>>(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
);

describe('the API document', () => {
  it('lists exactly the routes of the app', () => {
    const { app } = testApp();
    const routed = app.router.stack.flatMap(({ route }) => {
      if (!route) return [];
      const methods = new Set(route.stack.map(({ method }) => method).filter((method) => method !== undefined));
      return [...methods].map((method) => `${method} ${route.path.replaceAll(/:(\w+)/g, '{$1}')}`);
    });
    expect(routed.length).toBeGreaterThan(10);
    expect(routed.sort()).toEqual(documented.map(({ path, method }) => `${method} ${path}`).sort());
  });

  it('names operations uniquely and in the form noun.verb', () => {
    const ids = documented.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[a-z]+\.[a-z]+$/);
  });

  it('has no reference that leads nowhere', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)];
    expect(references.length).toBeGreaterThan(20);
    for (const [, name = ''] of references) expect(document.components.schemas).toHaveProperty(name);
  });

  it('declares every parameter of a path', () => {
    for (const { path, operation } of documented) {
      const inPath = (operation.parameters ?? [])
        .filter((parameter) => parameter.in === 'path')
        .map(({ name }) => name);
      expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
    }
  });

  it('asks for a key exactly where the table does', () => {
    for (const { operation } of documented) {
      const { access } = operations.find(({ name }) => name === operation.operationId)!;
      if (access === 'webhook') continue;
      expect(operation.security).toEqual(access === 'public' ? [] : [{ apiKey: [access] }]);
    }
  });

  it('names the ways of webhooks to show where they come from', () => {
    const { security, requestBody, responses } = document.paths['/vapi/webhook'].post;
    expect(security).toEqual([{ webhookSecret: [] }, { webhookToken: [] }, { webhookSignature: [] }]);
    for (const [name] of security.flatMap(Object.entries)) {
      expect(document.components.securitySchemes).toHaveProperty(name);
    }
    expect(requestBody.content).toHaveProperty('application/json');
    expect(Object.keys(responses)).toEqual(['200', '401', '403', '413', '429', '500', '503']);
  });

  it('gives every error code of an operation under its status', () => {
    for (const operation of operations) {
      const { responses } = documented.find((found) => found.operation.operationId === operation.name)!.operation;
      for (const code of errorCodesOf(operation)) {
        if (operation.name === 'service.ready' && STATUS_BY_CODE[code] === 503) continue;
        expect(responses[STATUS_BY_CODE[code]]?.description).toContain(code);
      }
    }
  });

  it('describes strict bodies with exactly one source', () => {
    for (const name of ['EnrollUser', 'VerifyPassword']) {
      const schema = document.components.schemas[name];
      expect(schema.additionalProperties).toBe(false);
      expect(schema.oneOf).toEqual([{ required: ['audioUrl'] }, { required: ['listenUrl'] }, { required: ['call'] }]);
      expect(schema.required).toContain('userId');
      expect(JSON.stringify(schema.properties.channel)).toMatch(/\[0\].*\[1\]/);
    }
    const form = document.paths['/api/v1/verify'].post.requestBody.content['multipart/form-data'].schema;
    expect(form.required.sort()).toEqual(['audio', 'user_id']);
    expect(form.properties.audio).toMatchObject({ type: 'string', format: 'binary' });
  });

  it('says that a voice is not enough', () => {
    const { additional_factor_required } = document.components.schemas.Verification.properties;
    expect(additional_factor_required.enum ?? [additional_factor_required.const]).toEqual([true]);
    expect(document.components.schemas.Verification.required).toContain('additional_factor_required');
  });
});

describe('the error table', () => {
  it('has an error status for every code', () => {
    expect(Object.keys(STATUS_BY_CODE).sort()).toEqual([...ERROR_CODES].sort());
    for (const status of Object.values(STATUS_BY_CODE)) expect(status >= 400 && status < 600).toBe(true);
  });
});
