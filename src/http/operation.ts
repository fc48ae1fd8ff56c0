/**
 * What an operation of the API is: one description from which the route, its checks, its name in metrics and its place
 * in the API document are all made, so that they cannot drift apart.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { z } from 'zod';
import type { ErrorCode } from '../domain/errors.js';
import type { VerificationProgress } from '../domain/verification/verification.js';
import type { Scope } from './api-keys.js';

export type OperationBody =
  | { readonly kind: 'json'; readonly schema: z.ZodType }
  /** One file named `audio` beside the text fields of `form`, which `schema` parses. */
  | { readonly kind: 'multipart'; readonly form: z.ZodObject; readonly schema: z.ZodType }
  /** Handed over as bytes, whatever they are; `document` is for readers only. */
  | { readonly kind: 'raw'; readonly maxBytes: number; readonly document: z.ZodType };

export interface Operation {
  /** Stable, e.g. `enrollment.create`: label in metrics, logs and traces, operation id in the API document. */
  readonly name: string;
  readonly method: 'get' | 'post' | 'delete';
  /** OpenAPI template, e.g. `/api/v1/users/{id}/status`. */
  readonly path: string;
  readonly tag: 'Enrollment' | 'Verification' | 'Calls' | 'Users' | 'Webhooks' | 'Service';
  readonly summary: string;
  readonly description?: string;
  /** Scope a key needs; `public` = no key; `webhook` = no key, the platform's own ways to show who it is. */
  readonly access: Scope | 'public' | 'webhook';
  /** `address`: counted per client; `user`: and per claimed user; `none`: neither, and not refused while draining. */
  readonly limits: 'none' | 'address' | 'user';
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: OperationBody;
  readonly reply: {
    readonly description: string;
    readonly schema?: z.ZodType;
    /** Default `application/json`. */
    readonly mediaType?: string;
    /** Statuses other than 200 with the same body. */
    readonly otherStatuses?: Readonly<Record<number, string>>;
  };
  /** Data of `progress` events, for operations that can answer as an event stream. */
  readonly progress?: z.ZodType;
  /** Codes beyond those that access, limits and input imply. */
  readonly errors: readonly ErrorCode[];
}

/** Who asks, and how to keep in touch. */
export interface OperationContext {
  readonly correlationId: string;
  readonly callId: string | undefined;
  /** Id of the API key; `anonymous` on operations without one. */
  readonly actor: string;
  /** The key has the scope `admin`. */
  readonly isAdmin: boolean;
  /** Aborted when the client has gone away. */
  readonly signal: AbortSignal;
  /** Who is at the other end of the connection: the address as rate limits see it, and all that was sent as headers. */
  readonly client: { readonly address: string; readonly headers: IncomingHttpHeaders };
  /** Set when the client asked for progress events. */
  readonly onProgress: ((progress: VerificationProgress) => void) | undefined;
}

type Parsed<S> = S extends z.ZodType ? z.output<S> : undefined;
type ParsedBody<B> = B extends { readonly schema: infer S } ? Parsed<S> : undefined;
type File<B> = B extends { readonly kind: 'multipart' | 'raw' } ? Uint8Array : undefined;

/** Validated input of an operation. */
export interface Input<O extends Operation> {
  readonly params: Parsed<O['params']>;
  readonly query: Parsed<O['query']>;
  readonly body: ParsedBody<O['body']>;
  /** The uploaded file, or the raw body. */
  readonly file: File<O['body']>;
  readonly context: OperationContext;
}

type ReplyOf<O extends Operation> = O['reply'] extends { readonly schema: infer S extends z.ZodType }
  ? z.input<S>
  : string;

export interface Answer<T> {
  readonly status: number;
  /** JSON value, or the text itself when the operation's media type is not JSON. */
  readonly body: T;
  /** Overrides the operation's media type. */
  readonly contentType?: string;
}

/** An operation with the code that performs it. */
export interface Route {
  readonly operation: Operation;
  readonly perform: (input: unknown) => Promise<Answer<unknown>>;
}

/** Keeps the literal types of an operation, from which its handler is typed. */
export function defineOperation<const O extends Operation>(operation: O): O {
  return operation;
}

/** A JSON answer, with the literal types of its body. */
export function answer<const T>(body: T, status = 200): Answer<T> {
  return { status, body };
}

/** Ties an operation to its handler; the compiler checks input and reply against the schemas. */
export function route<O extends Operation>(
  operation: O,
  handler: (input: Input<O>) => Promise<Answer<ReplyOf<O>>>,
): Route {
  // The router hands over what this operation's own schemas have parsed.
  return { operation, perform: (input) => handler(input as Input<O>) };
}
