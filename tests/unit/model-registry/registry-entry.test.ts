import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { REGISTRY_DIR } from '../../../src/config/config.js';
import { manifestSchema } from '../../../src/embedder/manifest.js';
import { diskError } from '../../../src/model-registry/model-pull-error.js';
import { findEntry, packageManifest, readRegistry } from '../../../src/model-registry/registry-entry.js';
import { checkModelUrl } from '../../../src/outbound/address-policy.js';

const SHA256 = 'a'.repeat(64);

describe('the registry', async () => {
  const entries = await readRegistry(REGISTRY_DIR);

  it('has the published models of every family', () => {
    const ids = entries.map(({ id }) => id);
    for (const family of ['ecapa', 'resnet34', 'campplus', 'redimnet-b2']) {
      expect(
        ids.some((id) => id.includes(family)),
        family,
      ).toBe(true);
    }
  });

  it.each(entries.map((entry) => [entry.id, entry] as const))(
    '%s makes a package and may be fetched from its URL',
    (_, entry) => {
      const manifest = packageManifest(entry, { sha256: SHA256, bytes: 5 });
      expect(manifestSchema.parse(JSON.parse(JSON.stringify(manifest)))).toEqual(manifest);
      const policy = { hosts: entry.file.hosts, allowPrivateNetwork: false, allowPlainHttp: false };
      expect(checkModelUrl(entry.file.url, policy).href).toBe(entry.file.url);
      // What is not known is said, and a name that may come to mean something else is not pinned by a checksum alone.
      if (entry.file.sha256 === null || entry.file.bytes === null) expect(entry.unverified.join()).toMatch(/SHA-256/);
      else expect(entry.file.url).toMatch(/\/[0-9a-f]{40}\//);
    },
  );
});

describe('an entry', () => {
  const shipped = JSON.parse(readFileSync(join(REGISTRY_DIR, 'wespeaker-resnet34-lm.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  const [file, input] = [shipped.file, shipped.input] as Record<string, unknown>[];
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'voice-auth-registry-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const write = (changes: Record<string, unknown>, name = 'wespeaker-resnet34-lm') =>
    writeFileSync(join(dir, `${name}.json`), JSON.stringify({ ...shipped, ...changes }));

  it.each([
    ['an unknown field', { checksum: 'x' }, 'checksum'],
    ['plain http', { file: { ...file, url: 'http://huggingface.co/x' } }, 'file.url'],
    ['no host to dial', { file: { ...file, hosts: [] } }, 'file.hosts'],
    ['a short checksum', { file: { ...file, sha256: 'abc' } }, 'file.sha256'],
    ['a checksum left out', { file: { ...file, sha256: undefined } }, 'file.sha256'],
    ['a cap below its size', { file: { ...file, maxBytes: 10 } }, 'maxBytes'],
    ['a rate that speech does not come at', { sampleRateHz: 8000 }, 'sampleRateHz: must be 16000, the rate'],
    ['a front end that cannot be', { input: { ...input, highFreqHz: 9000 } }, 'input.highFreqHz'],
    ['no error rate', { publishedErrorRates: [] }, 'publishedErrorRates'],
    ['the id of another file', { id: 'another' }, 'is of model "another"'],
  ])('is refused with %s', async (_, changes, named) => {
    write(changes);
    await expect(readRegistry(dir)).rejects.toMatchObject({
      reason: 'bad_registry',
      message: expect.stringContaining(named),
    });
  });

  it('is refused when it is no JSON, or named like no model', async () => {
    writeFileSync(join(dir, 'broken.json'), '{');
    await expect(readRegistry(dir)).rejects.toMatchObject({
      message: expect.stringContaining('broken.json is not JSON'),
    });
    rmSync(join(dir, 'broken.json'));
    write({}, 'Not An Id');
    await expect(readRegistry(dir)).rejects.toMatchObject({ reason: 'bad_registry' });
  });

  it('is found by its id, or those that are there are named', async () => {
    write({});
    expect((await findEntry(dir, 'wespeaker-resnet34-lm')).embeddingSize).toBe(256);
    await expect(findEntry(dir, '../etc')).rejects.toMatchObject({
      reason: 'unknown_model',
      message: expect.stringContaining('wespeaker-resnet34-lm'),
    });
    expect(await readRegistry(join(dir, 'nowhere'))).toEqual([]);
  });
});

describe('failures of the file system', () => {
  const failed = (code: string) => Object.assign(new Error('failed'), { code });

  it.each([
    ['ENOSPC', 'disk_full'],
    ['EDQUOT', 'disk_full'],
    ['EACCES', 'not_writable'],
    ['EROFS', 'not_writable'],
  ])('%s is %s', (code, reason) => {
    expect(diskError(failed(code), '/models')).toMatchObject({ reason, transient: false });
  });

  it('are left as they are when nothing is known about them', () => {
    const other = failed('EIO');
    expect(diskError(other, '/models')).toBe(other);
  });
});
