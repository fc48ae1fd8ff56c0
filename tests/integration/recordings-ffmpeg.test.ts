/**
 * Formats that need ffmpeg: with the real one where it is installed, and with stand-ins that misbehave, which need nothing but
 * a shell.
 */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { findProgram } from '../../src/recordings/ffmpeg.js';
import {
  WorkerRecordingDecoder,
  type WorkerRecordingDecoderOptions,
} from '../../src/recordings/worker-recording-decoder.js';
import { builtModule } from '../support/built.js';
import { codecFixture, frequencyOf } from '../support/recordings.js';

const never = new AbortController().signal;
const realSearchPath = process.env.PATH ?? '';
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

function decoderWith(searchPath: string, options: WorkerRecordingDecoderOptions = {}): WorkerRecordingDecoder {
  const decoder = new WorkerRecordingDecoder(
    { maxDurationMs: 10_000, programSearchPath: searchPath },
    { workerModule: builtModule('recordings/decode-worker.js'), ...options },
  );
  cleanups.push(() => decoder.close());
  return decoder;
}

/** A folder with a shell script named ffmpeg. */
function standIn(script: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'ffmpeg-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'ffmpeg'), `#!/bin/sh\nhere='${folder}'\n${script}\n`);
  chmodSync(join(folder, 'ffmpeg'), 0o755);
  return folder;
}

/** Prints, as `printf` sees it, the header of a WAV of unknown length. */
function printHeader(channels: number, sampleRateHz: number): string {
  const header = Buffer.from(
    'RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0data\xff\xff\xff\xff',
    'latin1',
  );
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(sampleRateHz, 24);
  header.writeUInt16LE(channels * 2, 32);
  return `printf '${[...header].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')}'`;
}

describe.skipIf(findProgram('ffmpeg', realSearchPath) === undefined)('with the ffmpeg of this machine', () => {
  it.each([
    ['mono.m4a', 'mp4'],
    ['mono.aac', 'aac'],
    ['mono-vorbis.webm', 'webm'],
  ])('decodes %s', async (name, format) => {
    const { channels, sampleRateHz, ...rest } = await decoderWith(realSearchPath).decode(codecFixture(name), {
      signal: never,
    });
    expect(rest.format).toBe(format);
    expect(sampleRateHz).toBe(16_000);
    expect(channels).toHaveLength(1);
    // AAC frames of 1024 samples: the last one is filled up, and without a container so is the first.
    expect(Math.abs(channels[0]!.length / sampleRateHz - 1.5)).toBeLessThan(0.13);
    expect(frequencyOf(channels[0]!, sampleRateHz)).toBeCloseTo(440, 0);
  });

  it('decodes an MP4 whose index lies far behind the audio', async () => {
    const file = Buffer.from(codecFixture('mono.m4a'));
    const audioAt = file.indexOf('mdat') - 4;
    const audioEnd = audioAt + file.readUInt32BE(audioAt);
    expect(file.indexOf('moov')).toBeGreaterThan(audioEnd);
    // More than ffmpeg buffers of a pipe: it could not go back.
    const padding = Buffer.alloc(300_000);
    const far = Buffer.concat([file.subarray(0, audioEnd), padding, file.subarray(audioEnd)]);
    far.writeUInt32BE(audioEnd - audioAt + padding.length, audioAt);
    const { channels, sampleRateHz } = await decoderWith(realSearchPath).decode(far, { signal: never });
    expect(frequencyOf(channels[0]!, sampleRateHz)).toBeCloseTo(440, 0);
    expect(channels[0]!.length).toBeGreaterThan(23_000);
  });

  it('fails for damaged files of the formats it reads', async () => {
    const decoder = decoderWith(realSearchPath);
    for (const bytes of [
      codecFixture('mono.m4a').subarray(0, 2000),
      Buffer.from('#!AMR\n'),
      Buffer.from('....ftypM4A '),
    ]) {
      await expect(decoder.decode(bytes, { signal: never })).rejects.toMatchObject({ code: 'AudioProcessingError' });
    }
  });
});

describe('with a stand-in for ffmpeg', () => {
  it('tells it the format, keeps it to pipes and gives it no environment', async () => {
    const folder = standIn(
      `/usr/bin/env > "$here/env"; printf '%s ' "$@" > "$here/args"; ${printHeader(1, 8000)}; printf '\\100\\100\\100\\100'`,
    );
    const recording = await decoderWith(folder).decode(codecFixture('mono.m4a'), { signal: never });
    expect(recording).toMatchObject({ format: 'mp4', sampleRateHz: 8000 });
    expect([...recording.channels[0]!]).toEqual([0x4040 / 32_768, 0x4040 / 32_768]);
    const args = readFileSync(join(folder, 'args'), 'utf8');
    expect(args).toContain('-protocol_whitelist pipe');
    expect(args).toContain('-f mov -i pipe:0');
    const names = readFileSync(join(folder, 'env'), 'utf8')
      .split('\n')
      .map((line) => line.split('=')[0]);
    // What a shell sets by itself; nothing of ours.
    expect(names.filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_', ''].includes(name!))).toEqual([]);
  });

  it('is not asked about text, playlists or anything else that is not recognised', async () => {
    const folder = standIn('touch "$here/asked"');
    const decoder = decoderWith(folder);
    for (const text of [
      '#EXTM3U\nhttp://169.254.169.254/',
      "ffconcat version 1.0\nfile '/etc/passwd'",
      '<MPD></MPD>',
    ]) {
      await expect(decoder.decode(Buffer.from(text), { signal: never })).rejects.toMatchObject({
        code: 'UnsupportedAudioError',
      });
    }
    expect(existsSync(join(folder, 'asked'))).toBe(false);
  });

  it.each([
    ['gives nothing', 'exit 1'],
    ['gives a header and no audio', printHeader(1, 8000)],
    ['gives garbage', 'printf "this is not a wave file, but it is longer than the header of one"'],
    ['reads nothing and dies', 'kill -9 $$'],
  ])('fails when it %s', async (_, script) => {
    await expect(
      decoderWith(standIn(script)).decode(codecFixture('mono.m4a'), { signal: never }),
    ).rejects.toMatchObject({
      code: expect.stringMatching(/AudioProcessingError|UnsupportedAudioError/),
    });
  });

  it.each([
    [6, 48_000, '6'],
    [1, 96_000, '96000'],
    [1, 4000, '4000'],
  ])('refuses %i channels at %i Hz and names the number', async (channels, rate, named) => {
    const folder = standIn(
      `${printHeader(channels, rate)}; head -c 100000 /dev/zero 2>/dev/null || /bin/cat /dev/zero`,
    );
    await expect(decoderWith(folder).decode(codecFixture('mono.m4a'), { signal: never })).rejects.toMatchObject({
      code: 'UnsupportedAudioError',
      message: expect.stringContaining(named),
    });
  });

  it('stops it when it gives more than allowed, and it is gone', async () => {
    const folder = standIn(`echo $$ > "$here/pid"; ${printHeader(2, 48_000)}; exec /bin/cat /dev/zero`);
    await expect(decoderWith(folder).decode(codecFixture('mono.m4a'), { signal: never })).rejects.toMatchObject({
      code: 'AudioProcessingError',
      details: { allowedSeconds: 10 },
    });
    await expectGone(folder);
  });

  it('stops it when it takes too long, and it is gone', async () => {
    const folder = standIn('echo $$ > "$here/pid"; exec /bin/sleep 60');
    await expect(
      decoderWith(folder, { decodeTimeoutMs: 1500 }).decode(codecFixture('mono.m4a'), { signal: never }),
    ).rejects.toMatchObject({ code: 'AudioProcessingError', message: expect.stringContaining('too long') });
    await expectGone(folder);
  });

  it('stops it when the request ends or the service closes, and it is gone', async () => {
    for (const end of ['abort', 'close'] as const) {
      const folder = standIn('echo $$ > "$here/pid"; exec /bin/sleep 60');
      const decoder = decoderWith(folder);
      const controller = new AbortController();
      const failing = decoder.decode(codecFixture('mono.m4a'), { signal: controller.signal });
      const outcome = expect(failing).rejects.toMatchObject({
        code: end === 'abort' ? 'Timeout' : 'AudioProcessingError',
      });
      await expect.poll(() => pidIn(folder)).toBeGreaterThan(0);
      if (end === 'abort') controller.abort();
      else await decoder.close();
      await outcome;
      await expectGone(folder);
    }
  });
});

/** 0 until the stand-in has written it: the file is there a moment before its content. */
function pidIn(folder: string): number {
  const file = join(folder, 'pid');
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
}

async function expectGone(folder: string): Promise<void> {
  const pid = pidIn(folder);
  await expect
    .poll(() => {
      try {
        process.kill(pid, 0);
        return 'running';
      } catch {
        return 'gone';
      }
    })
    .toBe('gone');
}
