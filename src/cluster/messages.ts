/**
 * What the primary and its workers say to each other, and the check of every message at the door. The channel belongs to
 * node:cluster, with structured clone; nothing else in the service speaks on it.
 */
import { z } from 'zod';
import type { MetricsReading } from '../observability/cluster-metrics.js';
import type { SqlFailure, Statement } from '../storage/embedded/worker-messages.js';

const id = z.number().int().positive();

const statement: z.ZodType<Statement> = z.strictObject({
  sql: z.string(),
  params: z.exactOptional(z.array(z.union([z.string(), z.number(), z.null()]))),
});

const failure: z.ZodType<SqlFailure> = z.strictObject({
  code: z.string(),
  message: z.string(),
  details: z.string().nullable(),
  hint: z.string().nullable(),
});

/** Enough of prom-client's form that adding up cannot fail on it. Values may be NaN. */
const metric = z.looseObject({
  name: z.string(),
  type: z.enum(['counter', 'gauge', 'histogram', 'summary']),
  aggregator: z.enum(['omit', 'sum', 'first', 'min', 'max', 'average']),
  values: z.array(
    z.looseObject({ value: z.custom<number>((value) => typeof value === 'number'), labels: z.looseObject({}) }),
  ),
});
const reading = z.custom<MetricsReading>((value) => z.array(metric).safeParse(value).success);

/** A notification for the other workers: a doorbell, not a parcel. */
const ring = z.strictObject({
  kind: z.literal('ring'),
  topic: z.string().min(1).max(64),
  payload: z.string().max(4096),
});

const workerMessage = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready'), url: z.url() }),
  /** The worker cannot start and ends; the text is for the terminal. */
  z.strictObject({ kind: z.literal('failed'), message: z.string() }),
  z.strictObject({ kind: z.literal('transaction'), id, statements: z.array(statement) }),
  z.strictObject({ kind: z.literal('abort'), id }),
  /** Asks for the metrics page of all processes. */
  z.strictObject({ kind: z.literal('page'), id }),
  z.strictObject({ kind: z.literal('reading'), id, reading }),
  ring,
]);

const primaryMessage = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('rows'), id, rows: z.array(z.record(z.string(), z.unknown())) }),
  z.strictObject({ kind: z.literal('page'), id, page: z.string() }),
  z.strictObject({ kind: z.literal('refused'), id, failure }),
  z.strictObject({ kind: z.literal('unavailable'), id, message: z.string() }),
  /** Asks for the worker's own metrics. */
  z.strictObject({ kind: z.literal('read'), id }),
  z.strictObject({ kind: z.literal('workers'), configured: z.number(), ready: z.number() }),
  z.strictObject({ kind: z.literal('drain') }),
  ring,
]);

export type WorkerMessage = z.infer<typeof workerMessage>;
export type PrimaryMessage = z.infer<typeof primaryMessage>;

/** Undefined for what no worker of this version says. */
export function parseWorkerMessage(message: unknown): WorkerMessage | undefined {
  return workerMessage.safeParse(message).data;
}

/** Undefined for what no primary of this version says. */
export function parsePrimaryMessage(message: unknown): PrimaryMessage | undefined {
  return primaryMessage.safeParse(message).data;
}
