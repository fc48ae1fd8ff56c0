/** Recordings of every kind through the real decoder threads. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { writeWav } from '../../src/audio/wav.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import type { DecodedRecording } from '../../src/domain/ports/recordings.js';
import { WorkerRecordingDecoder } from '../../src/recordings/worker-recording-decoder.js';
import { builtModule } from '../support/built.js';
import {
  codecFixture,
  flacSilence,
  frequencyOf,
  oggOpus,
  oggPage,
  opusHead,
  rms,
  tone,
} from '../support/recordings.js';

const never = new AbortController().signal;
const workerModule = builtModule('recordings/decode-worker.js');
const decoder = new WorkerRecordingDecoder({ maxDurationMs: 10_000, programSearchPath: '' }, { workerModule });

afterAll(() => decoder.close());

function decode(bytes: Uint8Array): Promise<DecodedRecording> {
  return decoder.decode(bytes, { signal: never });
}

async function failureOf(bytes: Uint8Array): Promise<VoiceAuthError> {
  const error = await decode(bytes).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(VoiceAuthError);
  return error as VoiceAuthError;
}

function expectTones(recording: DecodedRecording, frequenciesHz: readonly number[], seconds: number): void {
  const { channels, sampleRateHz } = recording;
  expect(channels).toHaveLength(frequenciesHz.length);
  channels.forEach((samples, channel) => {
    expect(Math.abs(samples.length / sampleRateHz - seconds)).toBeLessThan(0.001);
    expect(Math.abs(frequencyOf(samples, sampleRateHz) - frequenciesHz[channel]!)).toBeLessThan(2);
    expect(Math.abs(rms(samples) - 0.5 / Math.SQRT2)).toBeLessThan(0.03);
    expect(samples.every((sample) => sample >= -1 && sample <= 1)).toBe(true);
  });
}

describe('what is decoded without any system package', () => {
  it.each([
    ['mono.mp3', 'mp3', 16_000, [440]],
    ['stereo.mp3', 'mp3', 44_100, [440, 1000]],
    ['mono.flac', 'flac', 8000, [440]],
    ['stereo-24bit.flac', 'flac', 8000, [440, 1000]],
    ['mono.oga', 'ogg/flac', 16_000, [440]],
    ['mono-vorbis.ogg', 'ogg/vorbis', 16_000, [440]],
    ['stereo-vorbis.ogg', 'ogg/vorbis', 44_100, [440, 1000]],
    ['mono-opus.ogg', 'ogg/opus', 24_000, [440]],
    ['stereo-opus.ogg', 'ogg/opus', 24_000, [440, 1000]],
    ['long-packets-opus.ogg', 'ogg/opus', 24_000, [440]],
    ['mono.webm', 'webm/opus', 24_000, [440]],
  ])('%s', async (name, format, sampleRateHz, frequenciesHz) => {
    const recording = await decode(codecFixture(name));
    expect(recording).toMatchObject({ format, sampleRateHz });
    expectTones(recording, frequenciesHz, 1.5);
  });

  it.each(['pcm_s16le', 'mulaw', 'alaw'] as const)('WAV with %s, mono and stereo', async (encoding) => {
    const mono = await decode(writeWav(tone(440, 8000), 8000, { encoding }));
    expect(mono).toMatchObject({ format: `wav/${encoding}`, sampleRateHz: 8000 });
    expectTones(mono, [440], 1.5);
    const stereo = await decode(writeWav([tone(440, 16_000), tone(1000, 16_000)], 16_000, { encoding }));
    expectTones(stereo, [440, 1000], 1.5);
  });

  it('finds the audio behind tags and padding', async () => {
    const tag = Buffer.concat([Buffer.from('ID3\x04\0\0\0\0\x10\0', 'latin1'), Buffer.alloc(2048, 0xff)]);
    for (const name of ['mono.mp3', 'mono.flac']) {
      expectTones(await decode(Buffer.concat([tag, codecFixture(name)])), [440], 1.5);
    }
    expectTones(await decode(Buffer.concat([Buffer.alloc(500), codecFixture('mono.mp3')])), [440], 1.5);
  });

  it('joins Opus packets that go on on the next page', async () => {
    const packets = [...packetsOf(codecFixture('mono-opus.ogg'))];
    const tags = Buffer.alloc(510, 'OpusTags');
    const file = Buffer.concat([
      oggPage({ begins: true, packets: [packets[0]!] }),
      oggPage({ packets: [tags], unfinished: true }),
      oggPage({ continues: true, packets: [Buffer.from('the end of the tags')] }),
      ...packets.slice(2).map((packet) => oggPage({ packets: [packet] })),
    ]);
    const recording = await decode(file);
    expect(frequencyOf(recording.channels[0]!, recording.sampleRateHz)).toBeCloseTo(440, -1);
    expect(recording.channels[0]!.length / recording.sampleRateHz).toBeGreaterThan(1.49);
  });

  it('applies the output gain of an Opus header', async () => {
    const [, ...packets] = [...packetsOf(codecFixture('mono-opus.ogg'))];
    const withGain = (db256: number): Buffer =>
      Buffer.concat(
        [opusHead(1, 312, db256), ...packets].map((packet, i) => oggPage({ begins: i === 0, packets: [packet] })),
      );
    const quiet = await decode(withGain(-6 * 256));
    expect(rms(quiet.channels[0]!)).toBeCloseTo((0.5 / Math.SQRT2) * 10 ** (-6 / 20), 1);
    const loud = await decode(withGain(127 * 256));
    expect(loud.channels[0]!.every((sample) => sample >= -1 && sample <= 1)).toBe(true);
  });

  it('leaves the bytes to their owner, even as a view of a shared buffer', async () => {
    const fixture = codecFixture('mono.mp3');
    const shared = Buffer.concat([Buffer.alloc(100, 1), fixture, Buffer.alloc(100, 2)]);
    const view = shared.subarray(100, 100 + fixture.length);
    expectTones(await decode(view), [440], 1.5);
    expect(Buffer.compare(view, fixture)).toBe(0);
    expect(shared[0]).toBe(1);
  });

  it('keeps recordings apart that are decoded at the same time', async () => {
    const frequencies = [300, 500, 700, 900, 1100, 1300];
    const recordings = await Promise.all(
      frequencies.map((hz) => decode(writeWav(tone(hz, 8000), 8000, { encoding: 'pcm_s16le' }))),
    );
    recordings.forEach((recording, i) => {
      expectTones(recording, [frequencies[i]!], 1.5);
    });
  });
});

describe('damaged recordings', () => {
  it.each(['mono.mp3', 'stereo-24bit.flac', 'mono.oga', 'stereo-vorbis.ogg', 'stereo-opus.ogg', 'mono.webm'])(
    'decodes what is there of %s, cut in the middle',
    async (name) => {
      const whole = codecFixture(name);
      const { channels, sampleRateHz } = await decode(whole.subarray(0, Math.floor(whole.length * 0.8)));
      const seconds = channels[0]!.length / sampleRateHz;
      // Pages of Ogg are up to a second long, so a cut page can take a lot with it.
      expect(seconds).toBeGreaterThan(0.3);
      expect(seconds).toBeLessThan(1.45);
      expect(frequencyOf(channels[0]!, sampleRateHz)).toBeCloseTo(440, -1);
    },
  );

  it('decodes a WAV whose header promises more than there is', async () => {
    const wav = writeWav(tone(440, 8000), 8000, { encoding: 'pcm_s16le' });
    const { channels } = await decode(wav.subarray(0, 44 + 16_000));
    expect(channels[0]).toHaveLength(8000);
  });

  it('goes on behind garbage between Ogg pages', async () => {
    const whole = Buffer.from(codecFixture('mono-opus.ogg'));
    const second = whole.indexOf('OggS', 1);
    const garbage = Buffer.from('garbage OggSOggS garbage');
    const recording = await decode(Buffer.concat([whole.subarray(0, second), garbage, whole.subarray(second)]));
    expectTones(recording, [440], 1.5);
  });

  it.each([
    ['mp3', 'mono.mp3', 200],
    ['flac', 'mono.flac', 60],
    ['ogg/flac', 'mono.oga', 120],
    ['ogg/vorbis', 'mono-vorbis.ogg', 100],
    ['ogg/opus', 'mono-opus.ogg', 100],
    ['webm', 'mono.webm', 60],
    ['wav', '', 30],
  ])('fails for %s with nothing but a header', async (format, name, keepBytes) => {
    const whole = name === '' ? writeWav(tone(440, 8000), 8000, { encoding: 'pcm_s16le' }) : codecFixture(name);
    const failure = await failureOf(whole.subarray(0, keepBytes));
    expect(failure).toMatchObject({ code: 'AudioProcessingError', details: { format } });
  });

  it('fails for an empty file', async () => {
    expect(await failureOf(new Uint8Array(0))).toMatchObject({ code: 'AudioProcessingError' });
  });
});

describe('what is no audio', () => {
  const png = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
  it.each([
    ['text', Buffer.from('hello, this is not audio')],
    ['HTML', Buffer.from('<!doctype html><html><body>Sign in</body></html>')],
    ['JSON', Buffer.from('{"error":"not found"}')],
    ['PNG', Buffer.concat([png, Buffer.alloc(5000, 0xff)])],
    ['JPEG', Buffer.concat([Buffer.from('ffd8ffe000104a464946', 'hex'), Buffer.alloc(5000, 0xfb)])],
    ['a playlist', Buffer.from('#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n')],
    ['a concat script', Buffer.from("ffconcat version 1.0\nfile '/etc/passwd'\n")],
    ['SDP', Buffer.from('v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 5000 RTP/AVP 0\r\n')],
    ['gzip', Buffer.from('1f8b0800000000000003', 'hex')],
    ['zip', Buffer.from('504b0304140000000000', 'hex')],
    ['PDF', Buffer.from('%PDF-1.7\n')],
    ['zeros', Buffer.alloc(10_000)],
    ['ones', Buffer.alloc(10_000, 0xff)],
    ['one byte', Buffer.from([0xff])],
    ['RIFF that is no WAVE', Buffer.from('RIFF\x10\0\0\0AVI LIST\0\0\0\0', 'latin1')],
    ['a single MPEG header in noise', Buffer.concat([Buffer.from('fffb9000', 'hex'), Buffer.alloc(5000, 0x20)])],
  ])('refuses %s', async (_, bytes) => {
    expect(await failureOf(bytes)).toMatchObject({ code: 'UnsupportedAudioError' });
  });
});

describe('limits', () => {
  it('refuses more than the duration allowed, by what the header says', async () => {
    const claimed = { sampleRateHz: 8000, channels: 1, frames: 1, claimedSamples: 8000 * 36_000 };
    expect(await failureOf(flacSilence(claimed))).toMatchObject({
      code: 'AudioProcessingError',
      details: { foundSeconds: 36_000, allowedSeconds: 10 },
    });
    const wav = writeWav(new Float32Array(8000 * 11), 8000, { encoding: 'mulaw' });
    expect(await failureOf(wav)).toMatchObject({
      code: 'AudioProcessingError',
      details: { foundSeconds: 11, allowedSeconds: 10 },
    });
  });

  it('accepts exactly the duration allowed', async () => {
    const { channels } = await decode(writeWav(new Float32Array(80_000), 8000, { encoding: 'mulaw' }));
    expect(channels[0]).toHaveLength(80_000);
  });

  it('stops while decoding when hours of silence hide in few bytes', async () => {
    // 12 hours of FLAC at 48 kHz in 500 kB, and 16 hours of Opus in 1 MB, both without saying how long they are.
    const flac = flacSilence({ sampleRateHz: 48_000, channels: 2, frames: 30_000, claimedSamples: 0 });
    const opus = oggOpus(2, Array<Buffer>(480_000).fill(Buffer.from([0xff, 0x06])));
    for (const bomb of [flac, opus]) {
      expect(bomb.length).toBeLessThan(1_600_000);
      const failure = await failureOf(bomb);
      expect(failure).toMatchObject({ code: 'AudioProcessingError', details: { allowedSeconds: 10 } });
      const { foundSeconds } = failure.details as { foundSeconds: number };
      expect(foundSeconds).toBeGreaterThan(10);
      expect(foundSeconds).toBeLessThan(80);
    }
  });

  it('refuses more than two channels and names how many', async () => {
    const vorbis = Buffer.from(codecFixture('mono-vorbis.ogg'));
    vorbis[vorbis.indexOf('\x01vorbis', 0, 'latin1') + 11] = 255;
    const cases: readonly (readonly [Uint8Array, number])[] = [
      [flacSilence({ sampleRateHz: 48_000, channels: 6, frames: 2, claimedSamples: 0 }), 6],
      [oggOpus(5, [Buffer.from([0xfc])]), 5],
      [vorbis, 255],
      [wavHeader({ channels: 4, sampleRateHz: 8000 }), 4],
    ];
    for (const [bytes, channels] of cases) {
      const failure = await failureOf(bytes);
      expect(failure.code).toBe('UnsupportedAudioError');
      expect(failure.message).toContain(String(channels));
      expect(failure.message).not.toContain('ffmpeg');
    }
  });

  it('refuses sample rates outside 8 to 48 kHz and names them', async () => {
    const flac = Buffer.from(codecFixture('mono.flac'));
    flac[18] = 96_000 >> 12;
    flac[19] = (96_000 >> 4) & 255;
    const vorbis = Buffer.from(codecFixture('mono-vorbis.ogg'));
    vorbis.writeUInt32LE(4000, vorbis.indexOf('\x01vorbis', 0, 'latin1') + 12);
    const cases: readonly (readonly [Uint8Array, number])[] = [
      [flac, 96_000],
      [vorbis, 4000],
      [wavHeader({ channels: 1, sampleRateHz: 192_000 }), 192_000],
      [wavHeader({ channels: 1, sampleRateHz: 4000 }), 4000],
    ];
    for (const [bytes, rate] of cases) {
      const failure = await failureOf(bytes);
      expect(failure.code).toBe('UnsupportedAudioError');
      expect(failure.message).toContain(String(rate));
      expect(failure.message).not.toContain('ffmpeg');
    }
  });
});

describe('without ffmpeg', () => {
  it.each(['mono.m4a', 'mono.aac', 'mono-vorbis.webm'])('says for %s that it is missing', async (name) => {
    const failure = await failureOf(codecFixture(name));
    expect(failure.code).toBe('UnsupportedAudioError');
    expect(failure.message).toContain('ffmpeg');
  });

  it('says for a WAV with another codec which one it is', async () => {
    const wav = Buffer.from(writeWav(new Float32Array(1000), 8000, { encoding: 'pcm_s16le' }));
    wav.writeUInt16LE(0x31, 20);
    const failure = await failureOf(wav);
    expect(failure.code).toBe('UnsupportedAudioError');
    expect(failure.message).toMatch(/ffmpeg.*0x0031/);
  });

  it('looks for it only in absolute folders', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'no-ffmpeg-'));
    const elsewhere = new WorkerRecordingDecoder(
      { maxDurationMs: 10_000, programSearchPath: `.::relative:${folder}` },
      { workerModule },
    );
    await expect(elsewhere.decode(codecFixture('mono.m4a'), { signal: never })).rejects.toMatchObject({
      code: 'UnsupportedAudioError',
    });
    await elsewhere.close();
    rmSync(folder, { recursive: true });
  });
});

function wavHeader({ channels, sampleRateHz }: { channels: number; sampleRateHz: number }): Uint8Array {
  const wav = Buffer.from(writeWav(new Float32Array(1000), 8000, { encoding: 'pcm_s16le' }));
  wav.writeUInt16LE(channels, 22);
  wav.writeUInt32LE(sampleRateHz, 24);
  wav.writeUInt16LE(channels * 2, 32);
  return wav;
}

/** Packets of an Ogg file in which none spans pages. */
function* packetsOf(ogg: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < ogg.length; ) {
    const lacing = ogg.subarray(at + 27, at + 27 + ogg[at + 26]!);
    let start = at + 27 + lacing.length;
    let end = start;
    for (const size of lacing) {
      end += size;
      if (size === 255) continue;
      yield ogg.subarray(start, end);
      start = end;
    }
    at = end;
  }
}
