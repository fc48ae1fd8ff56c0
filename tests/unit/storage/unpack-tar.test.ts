import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { unpackTar } from '../../../src/storage/embedded/unpack-tar.js';
import { temporaryFolder } from '../../support/embedded-storage.js';

interface Entry {
  readonly name: string;
  readonly kind?: string;
  readonly content?: Buffer;
}

function tar(...entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap(({ name, kind = '0', content = Buffer.alloc(0) }) => {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write(`${content.length.toString(8).padStart(11, '0')} `, 124);
    header.write(kind, 156);
    header.fill(0x20, 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

describe('unpacking a tar archive', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(() => folder.remove());

  it('writes files and folders for their owner only', async () => {
    const target = join(folder.path, 'out');
    const content = Buffer.from(Array.from({ length: 1300 }, (_, index) => index % 251));
    unpackTar(
      tar({ name: '/base', kind: '5' }, { name: '/base/1', content }, { name: '/empty' }, { name: '/a', content }),
      target,
    );
    expect(await readFile(join(target, 'base/1'))).toEqual(content);
    expect(await readFile(join(target, 'a'))).toEqual(content);
    expect(await readFile(join(target, 'empty'))).toHaveLength(0);
    expect((await stat(join(target, 'a'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(target, 'base'))).mode & 0o777).toBe(0o700);
  });

  it.each(['../escaped', '/a/../../escaped', '..', '/', './a'])('refuses the name %s', (name) => {
    expect(() => unpackTar(tar({ name }), join(folder.path, 'out'))).toThrow('unusable name');
    expect(existsSync(join(folder.path, 'escaped'))).toBe(false);
  });

  it('refuses links, damaged headers and archives that are cut short', () => {
    const target = join(folder.path, 'out');
    expect(() => unpackTar(tar({ name: 'link', kind: '2' }), target)).toThrow('neither file nor folder');
    const damaged = tar({ name: 'a' });
    damaged[0] = 0x62;
    expect(() => unpackTar(damaged, target)).toThrow('damaged header');
    const whole = tar({ name: 'a', content: Buffer.alloc(2000, 1) });
    expect(() => unpackTar(whole.subarray(0, 1500), target)).toThrow('cut short');
  });
});
