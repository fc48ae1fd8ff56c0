import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Request, Response } from 'express';
import { describe, expect, it } from 'vitest';
import { errorHandler } from '../../../src/http/middleware/error-handler.js';
import { openRequestState } from '../../../src/http/request-state.js';
import { createLogger } from '../../../src/observability/logger.js';

describe('an error', () => {
  it('after the head of the answer has gone out breaks the connection off: nobody takes the part for the whole', () => {
    const req = new IncomingMessage(new Socket());
    openRequestState(req, { correlationId: 'c', callId: undefined, signal: new AbortController().signal });
    const res = new ServerResponse(req).writeHead(200);
    const handle = errorHandler(createLogger('silent'));
    handle(new Error('late'), req as Request, res as unknown as Response, () => undefined);
    expect(res.destroyed).toBe(true);
  });
});
