/** What a pull refuses: files that are not the wanted one, disks without room, and addresses that may not be dialled. */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { begin, serve } from '../support/file-server.js';
import { TOY_NETWORK_ID as ID } from '../support/model-folder.js';
import { BODY, OTHER, pullWorld, rangeOf, sha256, UNKNOWN } from '../support/pull-world.js';

const world = pullWorld();

describe('a file that is not the right one', () => {
  it('by its checksum is thrown away', async () => {
    const wrong = Buffer.from(BODY);
    wrong[200_000] = wrong[200_000]! ^ 1;
    world.server.handler = serve(wrong);
    expect(await world.failure(world.pull())).toMatchObject({
      reason: 'wrong_checksum',
      message: expect.stringContaining(sha256(wrong)),
    });
    expect(statSync(world.partPath).size).toBe(0);
    world.server.handler = serve(BODY);
    await world.pull();
    expect(rangeOf(world.server.requests[1]!)).toEqual([undefined, undefined]);
  });

  it.each([
    ['announced', OTHER, { 'content-length': OTHER.length }, 'wrong_size'],
    ['too short, and not announced', OTHER, {}, 'wrong_size'],
    ['too long, and not announced', Buffer.concat([BODY, OTHER]), {}, 'too_large'],
    ['nothing', Buffer.alloc(0), {}, 'wrong_size'],
  ])('by its size is refused: %s', async (_, body, headers, reason) => {
    world.server.handler = (_request, response) => void response.writeHead(200, { etag: '"v1"', ...headers }).end(body);
    expect(await world.failure(world.pull())).toMatchObject({ reason });
    expect(world.server.requests).toHaveLength(1);
    expect(statSync(world.partPath).size).toBe(0);
  });

  it('is not taken beyond the cap when its size is not known', async () => {
    let sent = 0;
    world.server.handler = (_, response) => {
      response.writeHead(200);
      const more = () => {
        while (!response.destroyed && sent < 200_000_000) {
          sent += BODY.length;
          if (!response.write(BODY)) return void response.once('drain', more);
        }
      };
      more();
    };
    expect(await world.failure(world.pull({ ...UNKNOWN }))).toMatchObject({ reason: 'too_large' });
    expect(sent).toBeLessThan(100_000_000);
    world.server.handler = (_, response) => void response.writeHead(200, { 'content-length': 1_000_001 }).end();
    expect(await world.failure(world.pull({ ...UNKNOWN }))).toMatchObject({ reason: 'too_large' });
  });

  it.each([404, 403, 204, 304])('is status %i, which is not tried again', async (status) => {
    world.server.handler = (_, response) => void response.writeHead(status).end();
    expect(await world.failure(world.pull())).toMatchObject({
      reason: 'status',
      message: expect.stringContaining(String(status)),
    });
    expect(world.server.requests).toHaveLength(1);
  });

  it.each([429, 500, 503])('is status %i, which is tried again', async (status) => {
    world.server.handler = (request, response, index) => {
      if (index < 2) response.writeHead(status).end();
      else serve(BODY)(request, response, index);
    };
    await world.pull();
    expect(world.server.requests).toHaveLength(3);
  });

  it('is compressed although that was not asked for', async () => {
    world.server.handler = (_, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(BODY);
    expect(await world.failure(world.pull())).toMatchObject({ reason: 'status' });
  });
});

describe('a disk without room', () => {
  // /dev/full is a real device of the kernel's: every write to it fails with ENOSPC, and no privilege is needed.
  it.skipIf(!existsSync('/dev/full'))(
    'is said, and the pull works once there is room (skips without /dev/full)',
    async () => {
      mkdirSync(join(world.modelsDir, `.pull-${ID}`));
      symlinkSync('/dev/full', world.partPath);
      expect(await world.failure(world.pull())).toMatchObject({
        reason: 'disk_full',
        message: expect.stringContaining('make room'),
      });
      expect(world.server.requests).toHaveLength(1);
      rmSync(world.partPath);
      await world.pull();
      expect(readFileSync(join(world.packageDir, 'model.onnx'))).toEqual(BODY);
    },
  );

  it('is said before anything is downloaded when the size is known', async () => {
    const failed = await world.failure(world.pull({ bytes: 1e15, maxBytes: 1e15 }));
    expect(failed).toMatchObject({
      reason: 'disk_full',
      message: expect.stringContaining('needs 1000000000000000 bytes'),
    });
    expect(world.server.requests).toEqual([]);
  });
});

describe('redirects', () => {
  it('are followed to allowed hosts, from the first address again after a cut', async () => {
    let open: ServerResponse | undefined;
    world.server.handler = (request, response, index) => {
      if (request.url === '/model.onnx') response.writeHead(302, { location: `/cdn?signature=${index}` }).end();
      else if (index === 1) {
        open = response;
        begin(BODY, 100_000)(request, response, index);
      } else serve(BODY)(request, response, index);
    };
    await world.pull({}, { onProgress: (received) => void (received === 100_000 && open?.destroy()) });
    expect(world.server.requests.map(({ url }) => url)).toEqual([
      '/model.onnx',
      '/cdn?signature=0',
      '/model.onnx',
      '/cdn?signature=2',
    ]);
    expect(rangeOf(world.server.requests[3]!)).toEqual(['bytes=100000-', '"v1"']);
  });

  it('to another host are refused, and it is not contacted', async () => {
    const other = await world.start(serve(BODY), 'localhost');
    world.server.handler = (_, response) => void response.writeHead(302, { location: `${other.url}/model.onnx` }).end();
    expect(await world.failure(world.pull())).toMatchObject({
      reason: 'refused_url',
      message: expect.stringContaining('127.0.0.1'),
    });
    expect(other.requests).toEqual([]);
    expect(world.server.requests).toHaveLength(1);
  });

  it.each([
    ['another scheme', 'ftp://127.0.0.1/model.onnx'],
    ['a file', 'file:///etc/passwd'],
    ['credentials', 'http://user:password@127.0.0.1/model.onnx'],
    ['no URL', 'http://['],
  ])('to %s are refused', async (_, location) => {
    world.server.handler = (_request, response) => void response.writeHead(307, { location }).end();
    expect(await world.failure(world.pull())).toMatchObject({ reason: 'refused_url' });
    expect(world.server.requests).toHaveLength(1);
  });

  it('without end, or to nowhere, are refused', async () => {
    world.server.handler = (_, response) => void response.writeHead(302, { location: '/again' }).end();
    expect(await world.failure(world.pull())).toMatchObject({ reason: 'refused_url' });
    expect(world.server.requests).toHaveLength(6);
    world.server.handler = (_, response) => void response.writeHead(302).end();
    expect(await world.failure(world.pull())).toMatchObject({ reason: 'refused_url' });
  });
});

describe('addresses', () => {
  it.each(['http://127.0.0.1:1/model.onnx', 'https://127.0.0.1:1/model.onnx', 'https://10.0.0.1/model.onnx'])(
    'of private networks are refused: %s',
    async (url) => {
      const hosts = ['127.0.0.1', '10.0.0.1'];
      expect(await world.failure(world.pull({ url, hosts }, { allowPrivateNetwork: false }))).toMatchObject({
        reason: 'refused_url',
      });
    },
  );

  it('of hosts that the entry does not name are refused', async () => {
    const failed = await world.failure(world.pull({ hosts: ['models.example'] }));
    expect(failed).toMatchObject({ reason: 'refused_url', message: expect.stringContaining('models.example') });
    expect(world.server.requests).toEqual([]);
  });

  it('of a mirror may be any host, but only with https outside development', async () => {
    const mirror = await world.start(serve(BODY), 'localhost');
    const from = { kind: 'url', url: `${mirror.url}/copy.onnx` } as const;
    expect(await world.failure(world.pull({}, { from, allowPrivateNetwork: false }))).toMatchObject({
      reason: 'refused_url',
      message: expect.stringContaining('https'),
    });
    expect(mirror.requests).toEqual([]);
    expect(await world.pull({}, { from })).toMatchObject({ outcome: 'installed' });
    expect(world.server.requests).toEqual([]);
  });

  it('that a mirror redirects to must be its own or the entry’s', async () => {
    const mirror = await world.start(
      (_, response) => void response.writeHead(302, { location: `${world.server.url}/x` }).end(),
      'localhost',
    );
    const from = { kind: 'url', url: `${mirror.url}/copy.onnx` } as const;
    expect(await world.failure(world.pull({ hosts: ['models.example'] }, { from }))).toMatchObject({
      reason: 'refused_url',
    });
    expect(await world.pull({}, { from })).toMatchObject({ outcome: 'installed' });
  });

  it('that are none are refused', async () => {
    const from = { kind: 'url', url: 'https://' } as const;
    expect(await world.failure(world.pull({}, { from }))).toMatchObject({ reason: 'refused_url' });
  });
});
