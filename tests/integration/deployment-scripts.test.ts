/** The small scripts of the image, run for real. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const script = (name: string) => fileURLToPath(new URL(`../../deploy/${name}`, import.meta.url));
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'deployment-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('prune-onnxruntime.sh', () => {
  const PLATFORMS = ['linux/x64', 'linux/arm64', 'darwin/arm64', 'win32/x64'];
  const binaries = () => join(folder, 'onnxruntime-node/bin/napi-v6');

  beforeEach(() => {
    for (const platform of PLATFORMS) {
      mkdirSync(join(binaries(), platform), { recursive: true });
      for (const file of ['onnxruntime_binding.node', 'libonnxruntime.so.1', 'libonnxruntime_providers_cuda.so']) {
        writeFileSync(join(binaries(), platform, file), '');
      }
    }
  });

  const prune = (architecture: string) =>
    spawnSync('sh', [script('prune-onnxruntime.sh'), folder], {
      env: { PATH: process.env.PATH, TARGETARCH: architecture },
      encoding: 'utf8',
    });
  const left = () =>
    readdirSync(binaries(), { recursive: true, encoding: 'utf8' })
      .filter((path) => /\.(node|so)/.test(path))
      .sort();

  it.each([
    ['amd64', 'linux/x64'],
    ['arm64', 'linux/arm64'],
  ])('for %s keeps only %s, without libraries for GPUs', (architecture, platform) => {
    expect(prune(architecture).status).toBe(0);
    expect(left()).toEqual([`${platform}/libonnxruntime.so.1`, `${platform}/onnxruntime_binding.node`]);
    expect(readdirSync(binaries())).toEqual(['linux']);
  });

  it('deletes nothing for a platform that has no binary', () => {
    const before = left();
    const { status, stderr } = prune('riscv64');
    expect(status).toBe(1);
    expect(stderr).toContain('riscv64');
    rmSync(join(binaries(), 'linux/arm64'), { recursive: true });
    expect(prune('arm64').status).toBe(1);
    expect(left()).toEqual(before.filter((path) => !path.startsWith('linux/arm64/')));
  });
});

describe('healthcheck.mjs', () => {
  let server: Server | undefined;
  let status: number;
  const asked: (string | undefined)[] = [];

  async function listen(): Promise<string> {
    server = createServer((request, response) => {
      asked.push(request.url);
      response.writeHead(status).end('{}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return String((server.address() as AddressInfo).port);
  }
  async function check(environment: Readonly<Record<string, string>>): Promise<unknown> {
    const child = spawn(process.execPath, [script('healthcheck.mjs')], { env: environment, stdio: 'ignore' });
    return (await once(child, 'exit'))[0];
  }

  afterEach(() => {
    server?.close();
    server = undefined;
    asked.length = 0;
  });

  it('is content with a service that is alive, whatever address it listens on', async () => {
    status = 200;
    const PORT = await listen();
    for (const HOST of ['', '0.0.0.0', '127.0.0.1']) expect(await check({ PORT, HOST })).toBe(0);
    expect(asked).toEqual(['/healthz', '/healthz', '/healthz']);
  });

  it('complains about a service that answers with an error, redirects, or does not answer', async () => {
    const PORT = await listen();
    for (status of [503, 404, 302]) expect(await check({ PORT }), String(status)).toBe(1);
    server?.close();
    server?.closeAllConnections();
    expect(await check({ PORT })).toBe(1);
  });
});

describe('entrypoint.sh', () => {
  it.skipIf(process.getuid?.() === 0)('as an unprivileged user starts the command and changes nothing', () => {
    const DATA_DIR = join(folder, 'data');
    const { status, stdout } = spawnSync('sh', [script('entrypoint.sh'), 'echo', 'a b', 'c'], {
      env: { PATH: process.env.PATH, DATA_DIR },
      encoding: 'utf8',
    });
    expect({ status, stdout, made: existsSync(DATA_DIR) }).toEqual({ status: 0, stdout: 'a b c\n', made: false });
  });

  it('ends with the exit code of the command', () => {
    const { status } = spawnSync('sh', [script('entrypoint.sh'), 'sh', '-c', 'exit 7'], {
      env: { PATH: process.env.PATH, DATA_DIR: join(folder, 'data'), SERVICE_USER: 'nobody' },
    });
    expect(status).toBe(7);
  });

  it.runIf(process.getuid?.() === 0)('as root hands the data folder over and starts the command as its owner', () => {
    chmodSync(folder, 0o755);
    const DATA_DIR = join(folder, 'data');
    const { stdout } = spawnSync('sh', [script('entrypoint.sh'), 'sh', '-c', 'id -un; stat -c %U "$DATA_DIR"'], {
      env: { PATH: process.env.PATH, DATA_DIR, SERVICE_USER: 'nobody' },
      encoding: 'utf8',
    });
    expect(stdout).toBe('nobody\nnobody\n');
  });
});
