import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ENVIRONMENT, parseEnvironment, type Variable } from '../../../src/config/environment.js';

interface Entry {
  readonly name: string;
  readonly value: string;
  readonly description: string;
  readonly active: boolean;
}

const COMPOSE_HEADING = '# ---- Only for docker-compose.yml: the service does not read these ----';
const [forService, forCompose, ...more] = readFileSync(new URL('../../../.env.example', import.meta.url), 'utf8').split(
  COMPOSE_HEADING,
);
const entries = entriesOf(forService ?? '');

/** `NAME=value` lines, commented out or not, each with the comment lines right above it. */
function entriesOf(text: string): Entry[] {
  return text.split('\n\n').flatMap((paragraph) => {
    const lines = paragraph.trim().split('\n');
    const match = /^(# )?([A-Z][A-Z0-9_]*)=(.*)$/.exec(lines.at(-1) ?? '');
    if (!match) return [];
    const description = lines.slice(0, -1).map((line) => line.replace(/^# /, ''));
    return [{ name: match[2]!, value: match[3]!, description: description.join(' '), active: match[1] === undefined }];
  });
}

function defaultOf({ schema }: Variable): string {
  const value: unknown = schema.safeParse(undefined).data;
  return value === undefined ? '' : Array.isArray(value) ? value.join(',') : String(value);
}

describe('.env.example', () => {
  it('has every variable of the schema, in its order, with its description and default', () => {
    const expected = Object.entries<Variable>(ENVIRONMENT).map(([name, variable]) => ({
      name,
      value: defaultOf(variable),
      description: variable.description,
    }));
    expect(entries.map(({ name, value, description }) => ({ name, value, description }))).toEqual(expected);
  });

  it('has no other line that sets anything', () => {
    const lines = (forService ?? '').split('\n').filter((line) => /^(# ?)?[A-Za-z_]\w*=/.test(line));
    expect(lines).toHaveLength(entries.length);
    expect(more).toEqual([]);
  });

  it('asks for API keys and leaves everything else to the defaults', () => {
    expect(entries.filter(({ active }) => active)).toEqual([expect.objectContaining({ name: 'API_KEYS', value: '' })]);
  });

  it('means the defaults when everything is uncommented', () => {
    const uncommented = Object.fromEntries(entries.map(({ name, value }) => [name, value]));
    expect(parseEnvironment(uncommented)).toEqual(parseEnvironment({}));
  });

  it('keeps the variables of docker-compose.yml apart, without values for secrets', () => {
    const compose = readFileSync(new URL('../../../docker-compose.yml', import.meta.url), 'utf8');
    const interpolated = [...compose.matchAll(/\$\{([A-Z_]+)(?::-([^}]*))?/g)].map(([, name, fallback]) => ({
      name,
      value: fallback ?? '',
    }));
    const foreign = interpolated.filter(({ name }) => !Object.hasOwn(ENVIRONMENT, name!));
    const listed = entriesOf(forCompose ?? '').map(({ name, value }) => ({ name, value }));
    const byName = (a: { name?: string | undefined }, b: { name?: string | undefined }) =>
      String(a.name).localeCompare(String(b.name));
    expect(listed.sort(byName)).toEqual(foreign.sort(byName));
  });
});
