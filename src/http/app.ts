/** The HTTP app: everything but listening. */
import express, { type Express, type RequestHandler } from 'express';
import swaggerUi from 'swagger-ui-express';
import type { HttpConfig } from '../config/config.js';
import type { CallsUseCase, StreamsUseCase } from '../domain/calls/calls.js';
import type { EnrollmentUseCase } from '../domain/enrollment/enrollment.js';
import type { RateLimitStore } from '../domain/ports/auth-store.js';
import type { HealthReporter } from '../domain/ports/health.js';
import type { TimerWheel } from '../domain/timing/timer-wheel.js';
import type { UsersUseCase } from '../domain/users/users.js';
import type { VerificationUseCase } from '../domain/verification/verification.js';
import type { Logger } from '../observability/logger.js';
import type { Metrics } from '../observability/metrics.js';
import type { ApiKeyRing } from './api-keys.js';
import { STATUS_BY_CODE } from './error-table.js';
import { AuthenticationFailures, authentication } from './middleware/authentication.js';
import { correlation } from './middleware/correlation.js';
import { closeWhileDraining, refuseWhileDraining } from './middleware/draining.js';
import { errorHandler, notFound } from './middleware/error-handler.js';
import { instrumentation } from './middleware/instrumentation.js';
import { jsonBody } from './middleware/json-body.js';
import { multipartBody } from './middleware/multipart-body.js';
import { addressLimit, userLimit } from './middleware/rate-limits.js';
import { rawBody } from './middleware/raw-body.js';
import { apiHeaders, crossOrigin, documentationHeaders, noStore } from './middleware/security-headers.js';
import { createOpenApiDocument, errorCodesOf } from './openapi.js';
import type { Operation } from './operation.js';
import { createOperations, metricsOperation } from './operations.js';
import { stateOf } from './request-state.js';
import { type Checks, mountRoutes } from './router.js';
import { callRoutes, type StreamGuide } from './routes/calls.js';
import { enrollmentRoutes } from './routes/enrollment.js';
import { serviceRoutes } from './routes/service.js';
import { userRoutes } from './routes/users.js';
import { verificationRoutes } from './routes/verification.js';
import { screenWebhook, webhookRoutes } from './routes/webhook.js';
import type { WebhookHandler } from './webhook-handler.js';

export interface AppDeps {
  readonly config: HttpConfig;
  readonly keys: ApiKeyRing;
  readonly metrics: Metrics;
  /** The metrics of all server processes; undefined = there is only this one. */
  readonly metricsPage?: (() => Promise<string>) | undefined;
  readonly logger: Logger;
  readonly rateLimits: RateLimitStore;
  readonly enrollment: EnrollmentUseCase;
  readonly verification: VerificationUseCase;
  readonly users: UsersUseCase;
  readonly calls: CallsUseCase;
  readonly streams: StreamsUseCase;
  readonly streamGuide: StreamGuide;
  /** Of VAPI. */
  readonly webhook: WebhookHandler;
  readonly health: HealthReporter;
  readonly isDraining: () => boolean;
  /** For giving up what stands still. */
  readonly timers: TimerWheel;
  /** Requests may ask for this threshold or a higher one. */
  readonly configuredThreshold: number;
  /** Longest a request may ask to listen. */
  readonly maxListenSeconds: number;
}

/** Bad keys and unproven webhooks from one address per minute, as a share of all its requests. */
const FAILED_AUTHENTICATION_SHARE = 0.2;

/** Builds the app. It never listens and starts no timers before a request comes; whoever listens also calls `applyServerLimits`. */
export function createApp(deps: AppDeps): Express {
  const { config, logger, metrics, isDraining } = deps;
  const operations = { ...createOperations(deps), metrics: metricsOperation(config.metricsPublic) };
  const document = createOpenApiDocument(Object.values(operations));
  startServerErrors(metrics, Object.values(operations));
  const failures = new AuthenticationFailures({
    metrics,
    maxPerMinute: Math.ceil(config.rateLimitPerMinute * FAILED_AUTHENTICATION_SHARE),
  });

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.set('trust proxy', config.trustProxy);

  app.use(correlation(), instrumentation(logger, metrics), closeWhileDraining(isDraining), apiHeaders());
  if (config.corsOrigins.length > 0) app.use(crossOrigin(config.corsOrigins));
  app.use(
    operations.docs.path,
    named(operations.docs.name),
    withoutManifest(),
    documentationHeaders(),
    swaggerUi.serveFiles(document),
  );
  app.use(noStore());
  const routes = [
    ...enrollmentRoutes(operations, deps),
    ...verificationRoutes(operations, deps),
    ...callRoutes(operations, deps),
    ...userRoutes(operations, deps.users),
    ...webhookRoutes(operations, { handler: deps.webhook, failures }),
    ...serviceRoutes(operations, {
      health: deps.health,
      metrics,
      metricsPage: deps.metricsPage,
      isDraining,
      document,
      documentationPage: swaggerUi.generateHTML(document, { customSiteTitle: 'voice-auth API' }),
    }),
  ];
  mountRoutes(app, routes, checksOf(deps, failures));
  app.use(notFound(), errorHandler(logger));
  return app;
}

/** Server errors are counted from 0 on: a first burst of them would otherwise not be seen to grow. */
function startServerErrors(metrics: Metrics, operations: readonly Operation[]): void {
  for (const operation of operations) {
    const statuses = new Set(errorCodesOf(operation).map((code) => STATUS_BY_CODE[code]));
    for (const status of statuses) {
      if (status >= 500) metrics.httpRequests.inc({ operation: operation.name, status: String(status) }, 0);
    }
  }
}

function checksOf(deps: AppDeps, failures: AuthenticationFailures): Checks {
  const { config, keys, metrics, rateLimits, isDraining, timers, webhook } = deps;
  return {
    refuseWhileDraining: refuseWhileDraining(isDraining),
    authenticate: authentication({ keys, failures }),
    addressLimit: addressLimit({ limit: config.rateLimitPerMinute, store: rateLimits, metrics }),
    userLimit: userLimit({ limit: config.userRateLimitPerMinute, store: rateLimits, metrics }),
    jsonBody: jsonBody(),
    multipartBody: multipartBody({ maxFileBytes: config.maxUploadBytes, timers }),
    screenWebhook: screenWebhook({ handler: webhook, failures }),
    rawBody: rawBody({ failures, timers }),
  };
}

/** Requests for the parts of a page count under the page's name. */
function named(operation: string): RequestHandler {
  return (req, _res, next) => {
    stateOf(req).operation = operation;
    next();
  };
}

/** The page's package answers for its own manifest, in a form that is not ours. */
function withoutManifest(): RequestHandler {
  const refuse = notFound();
  return (req, res, next) => (req.path.endsWith('/package.json') ? refuse(req, res, next) : next());
}
