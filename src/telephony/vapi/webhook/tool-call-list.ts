/**
 * Tool calls as they have been seen on the wire. A message repeats them in up to three lists, each in a shape of its own;
 * they are joined by id, and what comes first counts.
 */
import { fieldOf, listOf, parseJson, textOf } from '../../wire-json.js';

export interface ToolCall {
  /** Exactly as sent: the answer names it. */
  readonly id: string;
  /** Empty when the message does not say. */
  readonly name: string;
  /** Undefined when they are no JSON object. */
  readonly arguments: ToolArguments | undefined;
  /** In which VAPI wants the answer; undefined = not said. */
  readonly timeoutMs: number | undefined;
}

export type ToolArguments = ReadonlyMap<string, unknown>;

/** Answers are owed for every id, so this is far above what a language model calls at once. */
const MAX_TOOL_CALLS = 64;
const MAX_ID_LENGTH = 256;
const MAX_NAME_LENGTH = 128;
const MAX_ARGUMENTS = 32;
const MAX_ARGUMENT_TEXT = 16_384;
const MAX_TIMEOUT_SECONDS = 300;

/** What one list entry says; undefined = nothing. */
interface Entry {
  readonly id: string | undefined;
  readonly name: string | undefined;
  readonly rawArguments: unknown;
  readonly timeoutMs: number | undefined;
}

/** The tool calls of a `tool-calls` message in their order, and how many entries could not be used. */
export function readToolCalls(message: unknown): { readonly toolCalls: readonly ToolCall[]; readonly dropped: number } {
  const entries = [
    ...listOf(message, 'toolCallList').map(plainEntry),
    ...listOf(message, 'toolCalls').map(plainEntry),
    ...listOf(message, 'toolWithToolCallList').map(entryWithTool),
  ];
  const joined = new Map<string, Entry>();
  let dropped = 0;
  for (const entry of entries) {
    const before = entry.id === undefined ? undefined : joined.get(entry.id);
    if (entry.id === undefined || (!before && joined.size >= MAX_TOOL_CALLS)) dropped += 1;
    else joined.set(entry.id, before ? join(before, entry) : entry);
  }
  const toolCalls = [...joined].map(([id, { name, rawArguments, timeoutMs }]) => ({
    id,
    name: name ?? '',
    arguments: readArguments(rawArguments),
    timeoutMs,
  }));
  return { toolCalls, dropped };
}

/** The one call of the old `function-call` message, which has no id: it gets the one given. */
export function readFunctionCall(message: unknown, id: string): ToolCall {
  const call = fieldOf(message, 'functionCall');
  return {
    id,
    name: textOf(call, MAX_NAME_LENGTH, 'name') ?? '',
    arguments: readArguments(argumentsIn(call)),
    timeoutMs: undefined,
  };
}

/** `{id, function: {name, arguments | parameters}}`, `{id, name, arguments}` or `{id, name, parameters}`. */
function plainEntry(raw: unknown): Entry {
  return {
    id: textOf(raw, MAX_ID_LENGTH, 'id') ?? textOf(raw, MAX_ID_LENGTH, 'toolCallId'),
    name: nameIn(raw),
    rawArguments: argumentsIn(fieldOf(raw, 'function')) ?? argumentsIn(raw),
    timeoutMs: timeoutIn(raw),
  };
}

/** `{function: {name}, server, toolCall}`, `{name, server, toolCall}` or `{tool: {name, server}, toolCall}`. */
function entryWithTool(raw: unknown): Entry {
  const inner = plainEntry(fieldOf(raw, 'toolCall'));
  return {
    ...inner,
    name: inner.name ?? nameIn(raw) ?? nameIn(fieldOf(raw, 'tool')),
    timeoutMs: inner.timeoutMs ?? timeoutIn(raw) ?? timeoutIn(fieldOf(raw, 'tool')),
  };
}

function nameIn(raw: unknown): string | undefined {
  return textOf(raw, MAX_NAME_LENGTH, 'function', 'name') ?? textOf(raw, MAX_NAME_LENGTH, 'name');
}

function argumentsIn(raw: unknown): unknown {
  return fieldOf(raw, 'arguments') ?? fieldOf(raw, 'parameters');
}

function timeoutIn(raw: unknown): number | undefined {
  const seconds = fieldOf(raw, 'server', 'timeoutSeconds');
  if (typeof seconds !== 'number' || !(seconds > 0)) return undefined;
  return Math.min(seconds, MAX_TIMEOUT_SECONDS) * 1000;
}

function join(first: Entry, second: Entry): Entry {
  return {
    id: first.id,
    name: first.name ?? second.name,
    rawArguments: first.rawArguments ?? second.rawArguments,
    timeoutMs: first.timeoutMs ?? second.timeoutMs,
  };
}

/** An object, or the JSON text of one; nothing at all means no arguments. */
function readArguments(raw: unknown): ToolArguments | undefined {
  if (raw === undefined || raw === null || raw === '') return new Map();
  if (typeof raw === 'string') return raw.length > MAX_ARGUMENT_TEXT ? undefined : ofText(raw);
  if (typeof raw !== 'object' || Array.isArray(raw)) return undefined;
  const entries = Object.entries(raw);
  return entries.length > MAX_ARGUMENTS ? undefined : new Map(entries);
}

function ofText(text: string): ToolArguments | undefined {
  const parsed = parseJson(text);
  // Not a text again: one level of quoting has been seen, more would be somebody's mistake.
  return parsed === undefined || typeof parsed === 'string' ? undefined : readArguments(parsed);
}
