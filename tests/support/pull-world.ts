/** A models folder, a server with a file, and a registry entry of it, for tests that pull. */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import type { ModelPullError } from '../../src/model-registry/model-pull-error.js';
import { type PulledModel, type PullOptions, pullModel } from '../../src/model-registry/pull-model.js';
import type { RegistryEntry } from '../../src/model-registry/registry-entry.js';
import { begin, type FileHandler, type FileServer, fileServer, serve } from './file-server.js';
import { TOY_NETWORK_ID as ID, toyManifest } from './model-folder.js';

/** The file that the entry is of, and another one. */
export const BODY = randomBytes(300_000, 7);
export const OTHER = randomBytes(290_000, 11);
/** Changes of an entry whose publisher says neither size nor checksum. */
export const UNKNOWN = { bytes: null, sha256: null };

export class PullWorld {
  modelsDir = '';
  notes: string[] = [];
  private servers: FileServer[] = [];
  private own: FileServer | undefined;

  get server(): FileServer {
    if (!this.own) throw new Error('there is a server in tests only');
    return this.own;
  }

  get packageDir(): string {
    return join(this.modelsDir, ID);
  }

  get partPath(): string {
    return join(this.modelsDir, `.pull-${ID}`, 'model.onnx');
  }

  async open(): Promise<void> {
    this.modelsDir = mkdtempSync(join(tmpdir(), 'voice-auth-pull-'));
    this.notes = [];
    this.own = await this.start(serve(BODY));
  }

  async close(): Promise<void> {
    await Promise.all(this.servers.splice(0).map((one) => one.close()));
    rmSync(this.modelsDir, { recursive: true, force: true });
  }

  /** A further server. */
  async start(handler: FileHandler, host?: string): Promise<FileServer> {
    const files = await fileServer(handler, host);
    this.servers.push(files);
    return files;
  }

  entry(file: Partial<RegistryEntry['file']> = {}): RegistryEntry {
    const { model, cohort, errorRates, ...contract } = toyManifest('waveform');
    return {
      ...(contract as unknown as RegistryEntry),
      name: 'A toy',
      file: {
        url: `${this.server.url}/model.onnx`,
        hosts: ['127.0.0.1'],
        bytes: BODY.length,
        sha256: sha256(BODY),
        maxBytes: 1_000_000,
        ...file,
      },
      parameters: null,
      publishedErrorRates: [
        { data: 'nothing', conditions: 'none', equalErrorRate: 0.5, source: 'https://example.org/' },
      ],
      sources: [],
      unverified: ['that it is of any use'],
    };
  }

  pull(file: Partial<RegistryEntry['file']> = {}, options: Partial<PullOptions> = {}): Promise<PulledModel> {
    return pullModel(this.entry(file), {
      modelsDir: this.modelsDir,
      allowPrivateNetwork: true,
      onProgress: () => undefined,
      onNote: (note) => this.notes.push(note),
      tryModel: () => Promise.resolve(),
      retries: 2,
      backOff: () => Promise.resolve(),
      ...options,
    });
  }

  /** What a pull fails with; checks that there is no package then, nor half of one. */
  async failure(work: Promise<unknown>): Promise<ModelPullError> {
    const error: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ name: 'ModelPullError' });
    expect(existsSync(this.packageDir)).toBe(false);
    return error as ModelPullError;
  }

  /** Sends the first bytes and cuts the connection when they have arrived; later requests go to `then`. */
  cutAt(cut: number, then: FileHandler, etag?: string): Partial<PullOptions> {
    let open: ServerResponse | undefined;
    this.server.handler = (request, response, index) => {
      if (index > 0) return then(request, response, index);
      open = response;
      begin(BODY, cut, etag)(request, response, index);
    };
    return {
      onProgress: (received) => {
        if (received === cut) open?.destroy();
      },
    };
  }
}

/** Registers the hooks and returns what they fill. */
export function pullWorld(): PullWorld {
  const world = new PullWorld();
  beforeEach(() => world.open());
  afterEach(() => world.close());
  return world;
}

export function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/** The Range and If-Range of a request. */
export function rangeOf({ headers }: IncomingMessage): readonly (string | undefined)[] {
  return [headers.range, headers['if-range'] as string | undefined];
}

function randomBytes(length: number, seed: number): Buffer {
  let state = seed;
  return Buffer.alloc(length).map(() => {
    state = Math.imul(state, 48_271) >>> 0;
    return state >>> 24;
  }) as Buffer;
}
