/**
 * What supabase-js talks to when there is no Supabase project: a `fetch` that answers `POST /rest/v1/rpc/<function>` from
 * the embedded database the way PostgREST would, errors and status codes included. So there is one storage code path.
 * It is a function in this process, never a network port.
 */
import { z } from 'zod';
import { VoiceAuthError } from '../domain/errors.js';
import { type DatabaseRows, SqlError } from './embedded/embedded-database.js';
import type { SqlFailure, Statement } from './embedded/worker-messages.js';

/** As much of the embedded database as the shim needs. */
export interface TransactionRunner {
  transaction(statements: readonly Statement[], options?: { readonly signal?: AbortSignal }): Promise<DatabaseRows>;
}

export type ApiRole = 'anon' | 'authenticated' | 'service_role';

interface FunctionSignature {
  readonly name: string;
  readonly argumentTypes: ReadonlyMap<string, string>;
  readonly required: readonly string[];
  readonly returnsSet: boolean;
}

const RPC_PATH = /^\/rest\/v1\/rpc\/([A-Za-z0-9_]+)$/;

const signatureRows = z.array(
  z.object({
    name: z.string(),
    argument_names: z.array(z.string()),
    argument_types: z.array(z.string()),
    defaults: z.number().int(),
    returns_set: z.boolean(),
  }),
);

const SIGNATURES_SQL = `
select p.proname as name,
       coalesce(p.proargnames[1:p.pronargs], '{}') as argument_names,
       array(select format_type(t.oid, null) from unnest(p.proargtypes::oid[]) with ordinality as t (oid, n) order by n)
         as argument_types,
       p.pronargdefaults::int as defaults,
       p.proretset as returns_set
from pg_proc p
where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'`;

/**
 * A `fetch` over the embedded database for `createClient(…, { global: { fetch } })`. Every request runs in one transaction
 * as `role` (default `service_role`). Rejects only like fetch does, when the request's signal is aborted.
 */
export function createPostgrestShim(
  database: TransactionRunner,
  options: { readonly role?: ApiRole } = {},
): typeof fetch {
  const role = options.role ?? 'service_role';
  let signatures: Promise<readonly FunctionSignature[]> | undefined;
  const loadSignatures = async (): Promise<readonly FunctionSignature[]> => {
    signatures ??= readSignatures(database);
    try {
      return await signatures;
    } catch (error) {
      signatures = undefined;
      throw error;
    }
  };

  return async (input, init) => {
    const request = new Request(input, init);
    const name = RPC_PATH.exec(new URL(request.url).pathname)?.[1];
    if (!name || request.method !== 'POST') {
      return errorResponse(404, failure('PGRST125', 'Invalid path specified in request URL'));
    }
    const args = await readArguments(request);
    if (!args) return errorResponse(400, failure('PGRST102', 'Empty or invalid json'));
    try {
      const signature = findSignature(await loadSignatures(), name, Object.keys(args));
      if (!signature) {
        return errorResponse(
          404,
          failure('PGRST202', `Could not find the function public.${name} with these arguments`),
        );
      }
      const signal = init?.signal ?? undefined;
      const rows = await database.transaction(callStatements(signature, args, role), signal ? { signal } : {});
      return new Response(String(rows[0]?.body ?? 'null'), { status: 200, headers: JSON_HEADERS });
    } catch (error) {
      if (error instanceof SqlError) return errorResponse(httpStatus(error.failure.code, role), error.failure);
      if (error instanceof VoiceAuthError) return errorResponse(503, failure('PGRST001', error.message));
      throw error;
    }
  };
}

const JSON_HEADERS = { 'content-type': 'application/json; charset=utf-8' };

async function readSignatures(database: TransactionRunner): Promise<readonly FunctionSignature[]> {
  const rows = signatureRows.parse(await database.transaction([{ sql: SIGNATURES_SQL }]));
  return rows.map((row) => ({
    name: row.name,
    argumentTypes: new Map(row.argument_names.map((name, index) => [name, row.argument_types[index] ?? 'text'])),
    required: row.argument_names.slice(0, row.argument_names.length - row.defaults),
    returnsSet: row.returns_set,
  }));
}

function findSignature(
  signatures: readonly FunctionSignature[],
  name: string,
  given: readonly string[],
): FunctionSignature | undefined {
  return signatures.find(
    (signature) =>
      signature.name === name &&
      given.every((argument) => signature.argumentTypes.has(argument)) &&
      signature.required.every((argument) => given.includes(argument)),
  );
}

async function readArguments(request: Request): Promise<Record<string, unknown> | undefined> {
  const text = await request.text();
  if (text === '') return {};
  try {
    const parsed: unknown = JSON.parse(text);
    return z.record(z.string(), z.unknown()).safeParse(parsed).data;
  } catch {
    return undefined;
  }
}

/** PostgreSQL casts the JSON arguments itself, with the function's own argument types. */
function callStatements(
  signature: FunctionSignature,
  args: Readonly<Record<string, unknown>>,
  role: ApiRole,
): readonly Statement[] {
  const names = Object.keys(args);
  const columns = names.map((name) => `${quoted(name)} ${signature.argumentTypes.get(name)}`).join(', ');
  const passed = names.map((name) => `${quoted(name)} => _.${quoted(name)}`).join(', ');
  const call = `public.${quoted(signature.name)}(${passed}) as result`;
  const source = names.length > 0 ? `json_to_record($1::json) as _(${columns}), lateral ${call}` : call;
  const value = signature.returnsSet ? "coalesce(jsonb_agg(to_jsonb(result)), '[]')" : 'to_jsonb(result)';
  return [
    {
      sql: "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)",
      params: [role, JSON.stringify({ role })],
    },
    {
      sql: `select ${value}::text as body from ${source}`,
      ...(names.length > 0 ? { params: [JSON.stringify(args)] } : {}),
    },
  ];
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}

function failure(code: string, message: string): SqlFailure {
  return { code, message, details: null, hint: null };
}

function errorResponse(status: number, body: SqlFailure): Response {
  return new Response(JSON.stringify(body), { status, headers: JSON_HEADERS });
}

/** SQLSTATE -> HTTP status as the PostgREST documentation lists them ("Errors", "HTTP Status Codes"). */
function httpStatus(code: string, role: ApiRole): number {
  const exact = EXACT_STATUS.get(code);
  if (exact !== undefined) return exact;
  if (code === '42501') return role === 'anon' ? 401 : 403;
  return CLASS_STATUS.get(code.slice(0, 2)) ?? 400;
}

const EXACT_STATUS = new Map([
  ['23503', 409],
  ['23505', 409],
  ['25006', 405],
  ['42883', 404],
  ['42P01', 404],
  ['42P17', 500],
  ['53400', 500],
  ['P0001', 400],
]);

const CLASS_STATUS = new Map<string, number>([
  ...['09', '25', '2D', '38', '39', '3B', '40', '54', '55', '57', '58', 'F0', 'HV', 'P0', 'XX'].map(
    (sqlClass): [string, number] => [sqlClass, 500],
  ),
  ...['08', '53'].map((sqlClass): [string, number] => [sqlClass, 503]),
  ...['0L', '0P', '28'].map((sqlClass): [string, number] => [sqlClass, 403]),
]);
