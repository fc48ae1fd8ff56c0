/** Makes Express routes out of operations: the same chain of checks for each, in the same order. */
import type { Express, Request, RequestHandler, Response } from 'express';
import { roundScore, toSeconds } from '../domain/answer-numbers.js';
import type { Scope } from './api-keys.js';
import { addressOf } from './client-address.js';
import { EventStream } from './event-stream.js';
import { stopWhenGone } from './middleware/correlation.js';
import { methodNotAllowed } from './middleware/error-handler.js';
import { validation } from './middleware/validation.js';
import type { Operation, OperationContext, Route } from './operation.js';
import { stateOf } from './request-state.js';

/** The checks that operations share. */
export interface Checks {
  readonly refuseWhileDraining: RequestHandler;
  readonly authenticate: (scope: Scope) => RequestHandler;
  readonly addressLimit: RequestHandler;
  readonly userLimit: RequestHandler;
  readonly jsonBody: RequestHandler;
  readonly multipartBody: RequestHandler;
  /** Refuses webhooks that cannot be authentic, by their headers. */
  readonly screenWebhook: RequestHandler;
  readonly rawBody: (maxBytes: number) => RequestHandler;
}

/** Adds `routes` to `app`, and 405 for the other methods of their paths. */
export function mountRoutes(app: Express, routes: readonly Route[], checks: Checks): void {
  const byPath = new Map<string, Route[]>();
  for (const route of routes) byPath.set(route.operation.path, [...(byPath.get(route.operation.path) ?? []), route]);
  for (const [path, siblings] of byPath) {
    const mounted = app.route(path.replaceAll(/\{(\w+)\}/g, ':$1'));
    for (const { operation, perform } of siblings) {
      mounted[operation.method](...checksOf(operation, checks), performing(operation, perform));
    }
    mounted.all(methodNotAllowed(siblings.flatMap(({ operation }) => allowedMethods(operation))));
  }
}

/** Cheapest first; nothing is read from the body before who asks is known as well as headers can tell. */
function checksOf(operation: Operation, checks: Checks): RequestHandler[] {
  const { access, limits, body } = operation;
  return [
    naming(operation),
    ...(limits === 'none' ? [] : [checks.refuseWhileDraining]),
    ...accessChecks(access, checks),
    ...(limits === 'none' ? [] : [checks.addressLimit, stopWhenGone()]),
    ...(body?.kind === 'json' ? [checks.jsonBody] : []),
    ...(body?.kind === 'multipart' ? [checks.multipartBody] : []),
    ...(body?.kind === 'raw' ? [checks.rawBody(body.maxBytes)] : []),
    validation(operation),
    ...(limits === 'user' ? [checks.userLimit, stopWhenGone()] : []),
  ];
}

function accessChecks(access: Operation['access'], checks: Checks): RequestHandler[] {
  if (access === 'public') return [];
  return [access === 'webhook' ? checks.screenWebhook : checks.authenticate(access)];
}

function naming(operation: Operation): RequestHandler {
  return (req, _res, next) => {
    stateOf(req).operation = operation.name;
    next();
  };
}

function performing(operation: Operation, perform: Route['perform']): RequestHandler {
  return async (req, res) => {
    const state = stateOf(req);
    if (operation.progress && wantsEvents(req)) state.eventStream = new EventStream(res);
    const input = { ...(state.input as object), file: state.upload, context: contextOf(req) };
    const answer = await perform(input);
    if (res.destroyed) return;
    if (state.eventStream) state.eventStream.finish('result', answer.body);
    else send(res, operation, answer);
  };
}

function contextOf(req: Request): OperationContext {
  const state = stateOf(req);
  const { correlationId, callId, signal, eventStream } = state;
  return {
    correlationId,
    callId,
    actor: state.actor ?? 'anonymous',
    isAdmin: state.isAdmin,
    signal,
    client: { address: addressOf(req), headers: req.headers },
    onProgress: eventStream
      ? ({ elapsedMs, netSpeechMs, looks, score }) =>
          eventStream.progress({
            elapsed_seconds: toSeconds(elapsedMs),
            net_speech_seconds: toSeconds(netSpeechMs),
            looks,
            score: score === undefined ? null : roundScore(score),
          })
      : undefined,
  };
}

function send(res: Response, operation: Operation, answer: Awaited<ReturnType<Route['perform']>>): void {
  const mediaType = answer.contentType ?? operation.reply.mediaType;
  res.status(answer.status);
  if (mediaType === undefined) res.json(answer.body);
  else res.type(mediaType).send(answer.body);
}

function wantsEvents(req: Request): boolean {
  return req.accepts(['application/json', 'text/event-stream']) === 'text/event-stream';
}

function allowedMethods({ method }: Operation): string[] {
  return method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()];
}
