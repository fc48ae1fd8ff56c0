/** Response headers that tell browsers what they may do: nothing, except on the documentation page. */
import cors from 'cors';
import type { RequestHandler } from 'express';
import helmet from 'helmet';

/** Helmet with a policy under which an answer can load nothing. */
export function apiHeaders(): RequestHandler {
  return helmet({
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  });
}

/** The policy of the documentation page: own scripts only; its styles are inline, its icons data URLs. */
export function documentationHeaders(): RequestHandler {
  return helmet.contentSecurityPolicy({
    useDefaults: false,
    directives: {
      defaultSrc: ["'self'"],
      styleSrc: ["'self'", "'unsafe-inline'"],
      imgSrc: ["'self'", 'data:'],
      objectSrc: ["'none'"],
      baseUri: ["'self'"],
      frameAncestors: ["'none'"],
    },
  });
}

/** Answers about people are not kept by anyone on the way. */
export function noStore(): RequestHandler {
  return (_req, res, next) => {
    res.setHeader('Cache-Control', 'no-store');
    next();
  };
}

/** CORS for the configured origins (`*` = any); never with credentials, since access is by bearer key. */
export function crossOrigin(origins: readonly string[]): RequestHandler {
  return cors({
    origin: origins.includes('*') ? '*' : [...origins],
    methods: ['GET', 'POST', 'DELETE'],
    allowedHeaders: ['Authorization', 'Content-Type', 'X-Correlation-ID', 'X-Call-ID'],
    exposedHeaders: ['X-Correlation-ID', 'Retry-After', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'],
    maxAge: 600,
  });
}
