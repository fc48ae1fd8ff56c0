/** Pulling a model from a server on loopback that cuts, changes its file and keeps silent, and what lies there afterwards. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModelFiles, type ModelFiles, verifyModelPackage } from '../../src/embedder/model-package.js';
import { begin, type FileHandler, serve } from '../support/file-server.js';
import { TOY_NETWORK_ID as ID } from '../support/model-folder.js';
import { BODY, OTHER, pullWorld, rangeOf, sha256, UNKNOWN } from '../support/pull-world.js';

const world = pullWorld();

describe('pull', () => {
  it('leaves a package of manifest and model, and nothing else', async () => {
    const progress: [number, number | undefined][] = [];
    const pulled = await world.pull({}, { onProgress: (received, total) => progress.push([received, total]) });
    expect(pulled).toEqual({
      outcome: 'installed',
      folder: world.packageDir,
      sha256: sha256(BODY),
      bytes: BODY.length,
      pinned: false,
    });
    expect(readdirSync(world.modelsDir)).toEqual([ID]);
    expect(readdirSync(world.packageDir).sort()).toEqual(['manifest.json', 'model.onnx']);
    expect(readFileSync(join(world.packageDir, 'model.onnx'))).toEqual(BODY);
    const { manifest } = await loadModelFiles(world.modelsDir, ID);
    expect(manifest).toMatchObject({
      cohort: null,
      sourceUrl: `${world.server.url}/model.onnx`,
      unverified: ['that it is of any use'],
    });
    expect(progress.at(-1)).toEqual([BODY.length, BODY.length]);
    expect(world.server.requests[0]?.headers['accept-encoding']).toBe('identity');
    expect(rangeOf(world.server.requests[0]!)).toEqual([undefined, undefined]);
  });

  it('pins what came when no checksum is published, and says so', async () => {
    expect(await world.pull(UNKNOWN)).toMatchObject({ pinned: true, sha256: sha256(BODY), bytes: BODY.length });
    expect((await loadModelFiles(world.modelsDir, ID)).manifest.model).toEqual({
      sha256: sha256(BODY),
      bytes: BODY.length,
    });
    // Pinned: another file under the same id does not come in by itself.
    world.server.handler = serve(OTHER);
    expect(await world.pull(UNKNOWN)).toMatchObject({ outcome: 'present', sha256: sha256(BODY) });
    expect(world.server.requests).toHaveLength(1);
  });

  it('tries what came before it is installed, and throws away what does not run', async () => {
    const tried: boolean[] = [];
    const tryModel = (model: ModelFiles) => {
      tried.push(existsSync(world.packageDir));
      return readFileSync(model.modelPath).equals(BODY) ? Promise.resolve() : Promise.reject(new Error('does not run'));
    };
    world.server.handler = serve(OTHER);
    await expect(world.pull(UNKNOWN, { tryModel })).rejects.toThrow('does not run');
    expect(readdirSync(world.modelsDir)).toEqual([]);
    world.server.handler = serve(BODY);
    expect(await world.pull(UNKNOWN, { tryModel })).toMatchObject({ outcome: 'installed', sha256: sha256(BODY) });
    expect(rangeOf(world.server.requests[1]!)).toEqual([undefined, undefined]);
    expect(tried).toEqual([false, false]);
  });

  it('takes a checksum of the person, but not against that of the registry', async () => {
    expect(await world.pull(UNKNOWN, { sha256: sha256(BODY) })).toMatchObject({ pinned: false });
    rmSync(world.packageDir, { recursive: true });
    expect(await world.failure(world.pull({}, { sha256: sha256(OTHER) }))).toMatchObject({ reason: 'wrong_checksum' });
    expect(await world.failure(world.pull(UNKNOWN, { sha256: sha256(OTHER) }))).toMatchObject({
      reason: 'wrong_checksum',
    });
  });
});

describe('an interrupted download', () => {
  it('goes on where it broke off', async () => {
    await world.pull({}, world.cutAt(100_000, serve(BODY)));
    expect(world.server.requests.map(rangeOf)).toEqual([
      [undefined, undefined],
      ['bytes=100000-', '"v1"'],
    ]);
    expect(world.notes).toEqual([expect.stringContaining('trying again'), 'Going on after 100000 bytes']);
    expect(readFileSync(join(world.packageDir, 'model.onnx'))).toEqual(BODY);
  });

  it('goes on in another process, later', async () => {
    expect(await world.failure(world.pull({}, { ...world.cutAt(150_000, serve(BODY)), retries: 0 }))).toMatchObject({
      reason: 'connection',
    });
    expect(statSync(world.partPath).size).toBe(150_000);
    await world.pull();
    expect(rangeOf(world.server.requests[1]!)).toEqual(['bytes=150000-', '"v1"']);
    expect(readdirSync(world.modelsDir)).toEqual([ID]);
  });

  it('is not asked for again when only its last byte had come and not been checked', async () => {
    mkdirSync(join(world.modelsDir, `.pull-${ID}`));
    writeFileSync(world.partPath, BODY);
    writeFileSync(`${world.partPath}.origin`, JSON.stringify({ url: `${world.server.url}/model.onnx`, etag: '"v1"' }));
    await world.pull();
    expect(world.server.requests).toEqual([]);
  });

  it.each([
    ['is complete when the server says that nothing follows', '"v1"', BODY.length, ['bytes=300000-']],
    ['starts over when that is said of another file', '"v2"', BODY.length, ['bytes=300000-', undefined]],
    ['starts over when that is said of another size', '"v1"', BODY.length - 1, ['bytes=300000-', undefined]],
  ])('of a size that nobody publishes %s', async (_, etag, total, asked) => {
    mkdirSync(join(world.modelsDir, `.pull-${ID}`));
    writeFileSync(world.partPath, BODY);
    writeFileSync(`${world.partPath}.origin`, JSON.stringify({ url: `${world.server.url}/model.onnx`, etag: '"v1"' }));
    world.server.handler = (request, response, index) => {
      if (request.headers.range === undefined) serve(BODY)(request, response, index);
      else response.writeHead(416, { etag, 'content-range': `bytes */${total}` }).end();
    };
    expect(await world.pull(UNKNOWN)).toMatchObject({ outcome: 'installed', sha256: sha256(BODY) });
    expect(world.server.requests.map(rangeOf).map(([range]) => range)).toEqual(asked);
  });

  it('starts over when the file has changed meanwhile', async () => {
    await world.pull({ ...UNKNOWN }, world.cutAt(100_000, serve(OTHER, '"v2"')));
    expect(rangeOf(world.server.requests[1]!)).toEqual(['bytes=100000-', '"v1"']);
    expect(world.notes.at(-1)).toContain('starting over');
    expect(readFileSync(join(world.packageDir, 'model.onnx'))).toEqual(OTHER);
  });

  it('starts over when the server cannot go on', async () => {
    await world.pull(
      {},
      world.cutAt(100_000, (_, response) => void response.writeHead(200, { etag: '"v1"' }).end(BODY)),
    );
    expect(world.server.requests).toHaveLength(2);
    expect(readFileSync(join(world.packageDir, 'model.onnx'))).toEqual(BODY);
  });

  it.each([
    [
      'sends a part of another file',
      { etag: '"v2"', 'content-range': `bytes 100000-${OTHER.length - 1}/${OTHER.length}` },
    ],
    ['goes on somewhere else', { etag: '"v1"', 'content-range': `bytes 90000-${BODY.length - 1}/${BODY.length}` }],
    ['does not say where it goes on', { etag: '"v1"' }],
  ])('is not mixed with anything else when the server %s', async (_, headers) => {
    const then: FileHandler = (request, response, index) => {
      if (request.headers.range === undefined) serve(BODY)(request, response, index);
      else response.writeHead(206, headers).end(OTHER.subarray(100_000));
    };
    await world.pull({}, world.cutAt(100_000, then));
    expect(world.server.requests.map(rangeOf).map(([range]) => range)).toEqual([undefined, 'bytes=100000-', undefined]);
    expect(readFileSync(join(world.packageDir, 'model.onnx'))).toEqual(BODY);
  });

  it('starts over when there are fewer bytes now than have come', async () => {
    const then: FileHandler = (request, response, index) => {
      if (request.headers.range === undefined) serve(OTHER)(request, response, index);
      else response.writeHead(416).end();
    };
    await world.pull(UNKNOWN, world.cutAt(100_000, then));
    expect(readFileSync(join(world.packageDir, 'model.onnx'))).toEqual(OTHER);
  });

  it.each(['W/"v1"', 'v1', ''])('starts over when its ETag %j does not vouch for its bytes', async (etag) => {
    await world.pull({}, world.cutAt(100_000, serve(BODY), etag));
    expect(world.server.requests.map(rangeOf)).toEqual([
      [undefined, undefined],
      [undefined, undefined],
    ]);
  });

  it('of another address is not continued', async () => {
    await world.failure(world.pull({}, { ...world.cutAt(100_000, serve(BODY)), retries: 0 }));
    await world.pull({}, { from: { kind: 'url', url: `${world.server.url}/mirror/model.onnx` } });
    expect(rangeOf(world.server.requests[1]!)).toEqual([undefined, undefined]);
  });

  it('is given up after so many attempts without a byte of progress', async () => {
    world.server.handler = (_, response) => void response.destroy();
    expect(await world.failure(world.pull())).toMatchObject({ reason: 'connection' });
    expect(world.server.requests).toHaveLength(3);
  });
});

describe('a slow server', () => {
  it('that goes silent is left and asked again', async () => {
    world.server.handler = (request, response, index) => {
      if (index === 0) begin(BODY, 100_000)(request, response, index);
      else serve(BODY)(request, response, index);
    };
    await world.pull({}, { silenceMs: 1000 });
    expect(world.notes[0]).toContain('stops sending');
    expect(rangeOf(world.server.requests[1]!)).toEqual(['bytes=100000-', '"v1"']);
  });

  it('that never answers is given up', async () => {
    world.server.handler = () => undefined;
    expect(await world.failure(world.pull({}, { silenceMs: 200, retries: 1 }))).toMatchObject({ reason: 'timeout' });
    expect(world.server.requests).toHaveLength(2);
  });

  it('that drips is given up at the deadline, and what has come is kept', async () => {
    let sent = 0;
    world.server.handler = (_, response) => {
      response.writeHead(200, { 'content-length': BODY.length, etag: '"v1"' });
      const drip = setInterval(() => response.write(BODY.subarray(sent, ++sent)), 20);
      response.on('close', () => clearInterval(drip));
    };
    let received = 0;
    const onProgress = (soFar: number) => {
      received = soFar;
    };
    expect(await world.failure(world.pull({}, { timeoutMs: 2000, onProgress }))).toMatchObject({ reason: 'timeout' });
    expect(statSync(world.partPath).size).toBe(received);
    world.server.handler = serve(BODY);
    await world.pull();
    expect(rangeOf(world.server.requests[1]!)).toEqual([`bytes=${received}-`, '"v1"']);
    expect(readFileSync(join(world.packageDir, 'model.onnx'))).toEqual(BODY);
  });
});

describe('a file brought by hand', () => {
  const bring = (data: Uint8Array) => {
    const path = join(world.modelsDir, 'brought.onnx');
    writeFileSync(path, data);
    return { kind: 'file', path } as const;
  };

  it('is checked and installed like a downloaded one', async () => {
    const progress: number[] = [];
    const pulled = await world.pull({}, { from: bring(BODY), onProgress: (received) => progress.push(received) });
    expect(pulled).toMatchObject({ outcome: 'installed', sha256: sha256(BODY) });
    expect(progress.at(-1)).toBe(BODY.length);
    expect(world.server.requests).toEqual([]);
    expect((await verifyModelPackage(world.modelsDir, ID)).slice(0, 2).map(({ problem }) => problem)).toEqual([
      undefined,
      undefined,
    ]);
  });

  it.each([
    ['another file', OTHER, 'wrong_size'],
    ['a damaged one', Buffer.from(BODY.map((byte, i) => (i === 5 ? byte ^ 1 : byte))), 'wrong_checksum'],
    ['a very large one', Buffer.alloc(1_000_001), 'too_large'],
    ['an empty one', Buffer.alloc(0), 'wrong_size'],
  ])('is refused when it is %s', async (_, data, reason) => {
    expect(await world.failure(world.pull({}, { from: bring(data) }))).toMatchObject({ reason });
  });

  it.each(['missing.onnx', '.'])('must be a file: %s', async (name) => {
    const from = { kind: 'file', path: join(world.modelsDir, name) } as const;
    expect(await world.failure(world.pull({}, { from }))).toMatchObject({ reason: 'unreadable' });
  });
});

describe('a package that is there', () => {
  it('is left alone when its model is right', async () => {
    await world.pull();
    expect(await world.pull()).toMatchObject({ outcome: 'present' });
    expect(world.server.requests).toHaveLength(1);
    expect(readdirSync(world.modelsDir)).toEqual([ID]);
  });

  it('is tried by the rules that a server goes by, also where its manifest leaves them out', async () => {
    await world.pull();
    const path = join(world.packageDir, 'manifest.json');
    const { output, ...manifest } = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...manifest, output: { tensor: output.tensor } }));
    const tried: boolean[] = [];
    const tryModel = async (model: ModelFiles) => void tried.push(model.manifest.output.unitLength);
    expect(await world.pull({}, { tryModel })).toMatchObject({ outcome: 'present' });
    expect(tried).toEqual([true]);
  });

  it('gets its model file back, and keeps what was made for it', async () => {
    await world.pull();
    writeFileSync(join(world.packageDir, 'calibration.json'), '{"made":"here"}');
    writeFileSync(join(world.packageDir, 'model.onnx'), 'damaged');
    const tried: string[] = [];
    const tryModel = async (model: ModelFiles) => void tried.push(model.modelPath);
    expect(await world.pull({}, { tryModel })).toMatchObject({ outcome: 'repaired', sha256: sha256(BODY) });
    expect(readFileSync(join(world.packageDir, 'model.onnx'))).toEqual(BODY);
    expect(tried).toEqual([world.partPath]);
    expect(readFileSync(join(world.packageDir, 'calibration.json'), 'utf8')).toBe('{"made":"here"}');
    expect(readdirSync(world.modelsDir)).toEqual([ID]);
  });

  it('of another file, or that is no package, is not touched', async () => {
    await world.pull();
    const asked = world.pull({ sha256: sha256(OTHER), bytes: OTHER.length });
    await expect(asked).rejects.toMatchObject({ reason: 'occupied', message: expect.stringContaining(sha256(BODY)) });
    writeFileSync(join(world.packageDir, 'manifest.json'), 'damaged');
    await expect(world.pull()).rejects.toMatchObject({ reason: 'occupied' });
    expect(readFileSync(join(world.packageDir, 'manifest.json'), 'utf8')).toBe('damaged');
  });
});

describe('two pulls of a model', () => {
  const lock = () => join(world.modelsDir, `.pull-${ID}.lock`);

  it('do not run at the same time', async () => {
    let answer: (() => void) | undefined;
    const asked = new Promise<void>((resolve) => {
      world.server.handler = (request, response, index) => {
        answer = () => serve(BODY)(request, response, index);
        resolve();
      };
    });
    const first = world.pull();
    await asked;
    await expect(world.pull()).rejects.toMatchObject({
      reason: 'busy',
      message: expect.stringContaining(String(process.pid)),
    });
    answer?.();
    expect(await first).toMatchObject({ outcome: 'installed' });
    expect(existsSync(lock())).toBe(false);
  });

  it('are not kept apart by a lock that a dead process has left', async () => {
    // Larger than any process id of Linux.
    writeFileSync(lock(), '4194305');
    expect(await world.pull()).toMatchObject({ outcome: 'installed' });
  });

  it('are not kept apart by a lock of the same process id before the container was started again', async () => {
    writeFileSync(lock(), String(process.pid));
    expect(await world.pull()).toMatchObject({ outcome: 'installed' });
    expect(existsSync(lock())).toBe(false);
  });
});
