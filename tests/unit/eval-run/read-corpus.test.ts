import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCorpora, readCorpus } from '../../../src/eval-run/read-corpus.js';
import { buildTrials } from '../../../src/evaluation/trials.js';

let folder: string;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'corpus-')), 'my calls');
  await mkdir(folder);
});
afterEach(() => rm(join(folder, '..'), { recursive: true }));

const index = (lines: readonly string[], header = 'speaker\tutterance\tstart_s\tduration_s\tfile') =>
  writeFile(join(folder, 'index.tsv'), [header, ...lines, ''].join('\n'));

describe('index.tsv', () => {
  it('knows calls by person/call', async () => {
    await index([
      'ann/1\tu1\t0.0\t2.0\ta1.flac',
      'ann/1\tu2\t2.1\t2.0\ta1.flac',
      'ann/2\tu3\t0\t1\ta2.flac',
      'bob/1\tu4\t0\t1\tb1.flac',
    ]);
    const corpus = await readCorpus(folder);
    expect(corpus).toMatchObject({ name: 'my_calls', sessionsKnown: true });
    expect(corpus.recordings).toMatchObject([
      { id: 'my_calls/ann/1', speaker: 'my_calls/ann', path: join(folder, 'a1.flac'), stretches: undefined },
      { id: 'my_calls/ann/2', speaker: 'my_calls/ann' },
      { id: 'my_calls/bob/1', speaker: 'my_calls/bob' },
    ]);
    expect(buildTrials(corpus.recordings).filter(({ target }) => target)).toHaveLength(2);
  });

  it('takes what is listed of a file that several share, without what others say between, and compares nothing within it', async () => {
    await index([
      'ann/1\tu1\t0.5\t2.0\tall.flac',
      'bob/1\tu3\t6.0\t1.0\tall.flac',
      'ann/1\tu4\t4.5\t1.0\tall.flac',
      'bob/1\tu2\t3.0\t1.5\tall.flac',
      'bob/1\tu5\t6.5\t1.0\tall.flac',
      'bob/2\tu6\t0\t3\tb2.flac',
    ]);
    const { recordings } = await readCorpus(folder);
    expect(recordings.map(({ stretches }) => stretches)).toEqual([
      [
        { fromS: 0.5, toS: 2.5 },
        { fromS: 4.5, toS: 5.5 },
      ],
      [
        { fromS: 3, toS: 4.5 },
        { fromS: 6, toS: 7.5 },
      ],
      undefined,
    ]);
    const trials = buildTrials(recordings).map(({ enrollId, testId }) => `${enrollId} ${testId}`);
    expect(trials.sort()).toEqual([
      'my_calls/ann/1 my_calls/bob/2',
      'my_calls/bob/1 my_calls/bob/2',
      'my_calls/bob/2 my_calls/ann/1',
      'my_calls/bob/2 my_calls/bob/1',
    ]);
  });

  it('refuses names that a trial list could not tell apart', async () => {
    await index(['Ana Maria/1\tu1\t0\t2\ta.flac', 'Ana_Maria/2\tu2\t0\t2\tb.flac']);
    await expect(readCorpus(folder)).rejects.toThrow(
      /"my_calls\/Ana Maria" and "my_calls\/Ana_Maria" are both called my_calls\/Ana_Maria: rename one/,
    );
    await index(['ann/1\tu1\t0\t2\ta.flac', 'ann/1\tu2\t0\t2\ta.wav']);
    await expect(readCorpus(folder)).rejects.toThrow(/two recordings would be called my_calls\/ann\/1\/a/);
  });

  it('keeps the files of one call apart by name, and never makes a trial of two', async () => {
    await index(['ann/1\tu1\t0\t2\ta.flac', 'ann/1\tu2\t0\t2\tmore/a.flac', 'ann/2\tu3\t0\t2\tb.flac']);
    const { recordings } = await readCorpus(folder);
    expect(recordings.map(({ id }) => id)).toEqual(['my_calls/ann/1/a', 'my_calls/ann/1/more/a', 'my_calls/ann/2']);
    expect(buildTrials(recordings)).toHaveLength(4);
  });

  it('halves the one file of a speaker whose calls are not known, between utterances', async () => {
    await index([
      'ann\tu1\t0\t4\ta.opus',
      'ann\tu2\t4.1\t1\ta.opus',
      'ann\tu3\t5.2\t3\ta.opus',
      'bob\tu4\t0\t9\tb.opus',
      '-\tn\t0\t1\tn.opus',
    ]);
    const corpus = await readCorpus(folder);
    expect(corpus.sessionsKnown).toBe(false);
    expect(corpus.recordings.map(({ id, stretches }) => [id, stretches])).toEqual([
      ['my_calls/ann/a-1', [{ fromS: 0, toS: 4 }]],
      ['my_calls/ann/a-2', [{ fromS: 4.1, toS: 8.2 }]],
      ['my_calls/bob/b-1', [{ fromS: 0, toS: 9 }]],
    ]);
  });

  it.each([
    { what: 'a column that is missing', lines: [], header: 'speaker\tfile', message: /no column "start_s"/ },
    { what: 'a line without numbers', lines: ['ann/1\tu\tx\t2\ta.flac'], header: undefined, message: /line 2: cannot/ },
    {
      what: 'a speaker without a call among speakers with one',
      lines: ['ann/1\tu\t0\t2\ta.flac', '-\tu\t0\t2\tn.flac', 'ann\tu\t0\t2\tb.flac'],
      header: undefined,
      message: /line 4: the speaker is written a person, in the lines before person\/call/,
    },
    {
      what: 'a speaker with a call among speakers without',
      lines: ['ann\tu\t0\t2\ta.flac', 'ann/2\tu\t0\t2\tb.flac'],
      header: undefined,
      message: /line 3: the speaker is written person\/call, in the lines before a person/,
    },
    { what: 'nobody labelled', lines: ['-\tu\t0\t2\ta.flac'], header: undefined, message: /No labelled speech/ },
  ])('names $what', async ({ lines, header, message }) => {
    await index(lines, header);
    await expect(readCorpus(folder)).rejects.toThrow(message);
  });
});

describe('folders of speakers', () => {
  const put = async (path: string) => {
    await mkdir(join(folder, path, '..'), { recursive: true });
    await writeFile(join(folder, path), '');
  };

  it('takes every audio file as a recording of its own', async () => {
    for (const path of ['ann/b.wav', 'ann/a.MP3', 'ann/notes.txt', 'bob/a.wav', 'stray.wav']) await put(path);
    const corpus = await readCorpus(folder);
    expect(corpus.sessionsKnown).toBe(false);
    expect(corpus.recordings.map(({ id }) => id)).toEqual([
      'my_calls/ann/a.MP3',
      'my_calls/ann/b.wav',
      'my_calls/bob/a.wav',
    ]);
  });

  it('knows sessions by the folders between', async () => {
    for (const path of ['ann/s1/1.wav', 'ann/s1/2.wav', 'ann/s2/1.wav', 'bob/s1/1.wav']) await put(path);
    const corpus = await readCorpus(folder);
    expect(corpus.sessionsKnown).toBe(true);
    const targets = buildTrials(corpus.recordings).filter(({ target }) => target);
    expect(targets.map(({ enrollId, testId }) => `${enrollId} ${testId}`).sort()).toEqual([
      'my_calls/ann/s1/1.wav my_calls/ann/s2/1.wav',
      'my_calls/ann/s1/2.wav my_calls/ann/s2/1.wav',
      'my_calls/ann/s2/1.wav my_calls/ann/s1/1.wav',
      'my_calls/ann/s2/1.wav my_calls/ann/s1/2.wav',
    ]);
  });

  it('follows links, and names one that leads nowhere', async () => {
    for (const path of ['../elsewhere/ann/s1/1.wav', '../elsewhere/2.wav', 'bob/s1/1.wav', 'bob/notes.txt'])
      await put(path);
    await symlink('../elsewhere/ann', join(folder, 'ann'));
    await mkdir(join(folder, 'bob', 's2'));
    await symlink('../../../elsewhere/2.wav', join(folder, 'bob', 's2', '2.wav'));
    await symlink('../../elsewhere/ann/s1', join(folder, 'bob', 's3'));
    expect((await readCorpus(folder)).recordings.map(({ id }) => id)).toEqual([
      'my_calls/ann/s1/1.wav',
      'my_calls/bob/s1/1.wav',
      'my_calls/bob/s2/2.wav',
      'my_calls/bob/s3/1.wav',
    ]);
    await symlink('nowhere.wav', join(folder, 'bob', 's2', '3.wav'));
    await expect(readCorpus(folder)).rejects.toThrow(/bob\/s2\/3\.wav is a link that leads nowhere/);
  });

  it('says what is expected when nothing is there', async () => {
    await expect(readCorpus(folder)).rejects.toThrow(/No labelled speech in .* index.tsv/);
    await expect(readCorpus(join(folder, 'nowhere'))).rejects.toThrow(/cannot be read/);
  });

  it('refuses two folders of one name, whose recordings could not be told apart', async () => {
    await put('ann/a.wav');
    await expect(readCorpora([folder, folder])).rejects.toThrow(/called my_calls/);
  });
});
