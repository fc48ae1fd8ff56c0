import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readWav, WavError, type WavErrorKind, writeWav } from '../../../src/audio/wav.js';
import { concat, noise } from './signals.js';

interface Header {
  tag?: number;
  channels?: number;
  rateHz?: number;
  bits?: number;
  frameBytes?: number;
  /** Bytes of the fmt chunk after the first sixteen. */
  extension?: number[];
}

const DATA_ID = 'data';

function text(id: string): number[] {
  return [...id].map((letter) => letter.charCodeAt(0));
}

function le(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256);
}

function chunk(id: string, body: ArrayLike<number>, size = body.length): number[] {
  return [...text(id), ...le(size, 4), ...Array.from(body), ...(body.length % 2 === 1 ? [0] : [])];
}

function fmt(header: Header = {}): number[] {
  const { tag = 1, channels = 1, rateHz = 8_000, bits = 16, extension = [] } = header;
  const frameBytes = header.frameBytes ?? (channels * bits) / 8;
  const body = [
    ...le(tag, 2),
    ...le(channels, 2),
    ...le(rateHz, 4),
    ...le(rateHz * frameBytes, 4),
    ...le(frameBytes, 2),
  ];
  return chunk('fmt ', [...body, ...le(bits, 2), ...extension]);
}

function riff(...chunks: number[][]): Uint8Array {
  const body = [...text('WAVE'), ...chunks.flat()];
  return Uint8Array.from([...text('RIFF'), ...le(body.length, 4), ...body]);
}

function extensible(subTag: number, guidEnd = 0x71): number[] {
  const guid = [...le(subTag, 2), 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, guidEnd];
  return [...le(22, 2), ...le(16, 2), ...le(4, 4), ...guid];
}

function error(bytes: Uint8Array): { kind: WavErrorKind; message: string } {
  try {
    readWav(bytes);
  } catch (thrown) {
    if (thrown instanceof WavError) return { kind: thrown.kind, message: thrown.message };
    throw thrown;
  }
  throw new Error('no error');
}

function floats(...values: number[]): number[] {
  return [...new Uint8Array(new Float32Array(values).buffer)];
}

const MONO_DATA = chunk(DATA_ID, [...le(0x4000, 2), ...le(0xc000, 2)]);

describe('readWav', () => {
  it.each([
    { format: 'pcm_u8', header: { bits: 8 }, data: [0, 128, 192, 255], samples: [-1, 0, 0.5, 127 / 128] },
    { format: 'pcm_s16le', header: {}, data: [0, 0x80, 0, 0x40, 1, 0], samples: [-1, 0.5, 1 / 32_768] },
    {
      format: 'pcm_s24le',
      header: { bits: 24 },
      data: [0, 0, 0x80, 0, 0, 0x40, 1, 0, 0, 0xff, 0xff, 0xff],
      samples: [-1, 0.5, 2 ** -23, -(2 ** -23)],
    },
    {
      format: 'pcm_s32le',
      header: { bits: 32 },
      data: [0, 0, 0, 0x80, 0, 0, 0, 0x40, 0, 1, 0, 0],
      samples: [-1, 0.5, 2 ** -23],
    },
    {
      format: 'float32le',
      header: { tag: 3, bits: 32 },
      data: floats(0.25, -1.5, 7, Number.NaN, Number.NEGATIVE_INFINITY),
      samples: [0.25, -1, 1, 0, -1],
    },
    {
      format: 'float64le',
      header: { tag: 3, bits: 64 },
      data: [...new Uint8Array(new Float64Array([-0.75, 1e300]).buffer)],
      samples: [-0.75, 1],
    },
    {
      format: 'mulaw',
      header: { tag: 7, bits: 8 },
      data: [0xff, 0x80, 0],
      samples: [0, 32_124 / 32_768, -32_124 / 32_768],
    },
    { format: 'alaw', header: { tag: 6, bits: 8 }, data: [0xd5, 0x2a], samples: [8 / 32_768, -32_256 / 32_768] },
  ])('decodes $format, mono and stereo', ({ format, header, data, samples }) => {
    const mono = readWav(riff(fmt(header), chunk(DATA_ID, data)));
    expect(mono).toMatchObject({ format, sampleRateHz: 8_000, omittedSamples: 0 });
    expect(mono.channels.map((channel) => [...channel])).toEqual([samples]);

    const sampleBytes = data.length / samples.length;
    const firstTwo = data.slice(0, 2 * sampleBytes);
    const stereo = readWav(riff(fmt({ ...header, channels: 2 }), chunk(DATA_ID, firstTwo)));
    expect(stereo.channels.map((channel) => [...channel])).toEqual([[samples[0]], [samples[1]]]);
  });

  it('reads the extensible header', () => {
    const audio = readWav(riff(fmt({ tag: 0xfffe, extension: extensible(1) }), MONO_DATA));
    expect(audio.format).toBe('pcm_s16le');
    expect([...audio.channels[0]!]).toEqual([0.5, -0.5]);
    expect(
      readWav(riff(fmt({ tag: 0xfffe, bits: 32, extension: extensible(3) }), chunk(DATA_ID, floats(0.5)))).format,
    ).toBe('float32le');
  });

  it('skips unknown chunks and the padding of odd ones', () => {
    const file = riff(chunk('junk', [1, 2, 3]), fmt(), chunk('LIST', [9]), MONO_DATA, chunk('id3 ', [1, 2, 3, 4, 5]));
    expect([...readWav(file).channels[0]!]).toEqual([0.5, -0.5]);
  });

  it.each([0, 0xffffffff, 0x7fffffff, 5000])('reads to the end of the file when the data chunk says %d', (size) => {
    const file = riff(fmt(), chunk(DATA_ID, [...le(0x4000, 2), ...le(0xc000, 2), 7], size)).subarray(0, -1);
    expect([...readWav(file).channels[0]!]).toEqual([0.5, -0.5]);
  });

  it('takes an empty data chunk before another chunk for empty', () => {
    expect(readWav(riff(fmt(), chunk(DATA_ID, []), chunk('LIST', text('INFOICMT')))).channels[0]).toHaveLength(0);
    expect(readWav(riff(fmt({ channels: 2 }), chunk(DATA_ID, []))).channels.map((channel) => channel.length)).toEqual([
      0, 0,
    ]);
  });

  it('ends with the data chunk, not with the file', () => {
    expect(readWav(riff(fmt(), chunk(DATA_ID, [0, 0]), chunk('LIST', new Uint8Array(100)))).channels[0]).toHaveLength(
      1,
    );
  });

  it('decodes no more than it is asked for and says what it left out', () => {
    const file = writeWav([noise(1000, 0.1), noise(1000, 0.1)], 16_000, { encoding: 'pcm_s16le' });
    const whole = readWav(file);
    const part = readWav(file, { maxSamples: 300 });
    expect(part.channels).toEqual(whole.channels.map((channel) => channel.slice(0, 300)));
    expect(part.omittedSamples).toBe(700);
    expect(readWav(file, { maxSamples: 1000 }).omittedSamples).toBe(0);
    expect(readWav(file, { maxSamples: 0 }).channels[0]).toHaveLength(0);
  });

  it('reads a view that begins in the middle of a buffer', () => {
    const file = riff(fmt(), MONO_DATA);
    const shifted = new Uint8Array(file.length + 3);
    shifted.set(file, 3);
    expect([...readWav(shifted.subarray(3)).channels[0]!]).toEqual([0.5, -0.5]);
  });

  it.each<[string, Uint8Array, WavErrorKind, RegExp]>([
    ['no bytes', new Uint8Array(0), 'damaged', /found 0/],
    ['a cut header', riff(fmt()).subarray(0, 11), 'damaged', /found 11/],
    ['another file', Uint8Array.from(text('OggS............')), 'unsupported', /not a WAV/],
    ['another RIFF file', Uint8Array.from([...text('RIFF'), 4, 0, 0, 0, ...text('AVI ')]), 'unsupported', /not a WAV/],
    ['RF64', Uint8Array.from([...text('RF64'), 4, 0, 0, 0, ...text('WAVE')]), 'unsupported', /RF64/],
    ['no chunks', riff(), 'damaged', /no fmt chunk/],
    ['no data chunk', riff(fmt()), 'damaged', /no data chunk/],
    ['data before fmt', riff(MONO_DATA, fmt()), 'damaged', /before the fmt/],
    ['a short fmt chunk', riff(chunk('fmt ', new Uint8Array(14)), MONO_DATA), 'damaged', /found 14/],
    ['a fmt chunk cut by the end', riff(fmt()).subarray(0, 30), 'damaged', /found 10/],
    ['a chunk that reaches beyond the end', riff(chunk('junk', [], 0xfffffff0), fmt(), MONO_DATA), 'damaged', /no fmt/],
    ['ADPCM', riff(fmt({ tag: 0x11, bits: 4, frameBytes: 256 }), MONO_DATA), 'unsupported', /0x0011 with 4 bits/],
    ['12 bits', riff(fmt({ bits: 12, frameBytes: 2 }), MONO_DATA), 'unsupported', /12 bits/],
    ['float of 16 bits', riff(fmt({ tag: 3 }), MONO_DATA), 'unsupported', /0x0003 with 16 bits/],
    ['0 channels', riff(fmt({ channels: 0 }), MONO_DATA), 'damaged', /0 channels/],
    ['6 channels', riff(fmt({ channels: 6 }), MONO_DATA), 'unsupported', /6 channels/],
    ['a rate too low', riff(fmt({ rateHz: 7_999 }), MONO_DATA), 'unsupported', /7999 Hz/],
    ['a rate too high', riff(fmt({ rateHz: 96_000 }), MONO_DATA), 'unsupported', /96000 Hz/],
    ['frames that do not fit', riff(fmt({ channels: 2, frameBytes: 3 }), MONO_DATA), 'damaged', /frames of 3 bytes/],
    ['frames of 0 bytes', riff(fmt({ frameBytes: 0 }), MONO_DATA), 'damaged', /frames of 0 bytes/],
    ['a short extensible header', riff(fmt({ tag: 0xfffe, extension: [0, 0] }), MONO_DATA), 'damaged', /found 18/],
    [
      'an unknown sub-format',
      riff(fmt({ tag: 0xfffe, extension: extensible(1, 0x72) }), MONO_DATA),
      'unsupported',
      /sub-format/,
    ],
    [
      'an extensible sub-format within itself',
      riff(fmt({ tag: 0xfffe, extension: extensible(0xfffe) }), MONO_DATA),
      'unsupported',
      /0xfffe/,
    ],
  ])('refuses %s', (_name, bytes, kind, message) => {
    const found = error(bytes);
    expect(found.kind).toBe(kind);
    expect(found.message).toMatch(message);
  });

  const valid = fc.constantFrom(
    writeWav(noise(40, 0.1), 8_000, { encoding: 'pcm_s16le' }),
    writeWav([noise(21, 0.1), noise(21, 0.1)], 16_000, { encoding: 'mulaw' }),
    riff(fmt({ tag: 0xfffe, bits: 24, extension: extensible(1) }), chunk(DATA_ID, new Uint8Array(60))),
    riff(chunk('junk', [1]), fmt({ tag: 3, bits: 64 }), chunk(DATA_ID, new Uint8Array(64), 0)),
    riff(fmt({ bits: 8, rateHz: 48_000 }), chunk(DATA_ID, new Uint8Array(41))),
  );
  const edits = fc.array(fc.tuple(fc.nat(200), fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.nat(255))), {
    maxLength: 8,
  });

  it('throws nothing but WavError for damaged files and makes no more of them than they hold', () => {
    fc.assert(
      fc.property(valid, edits, fc.nat(200), fc.uint8Array({ maxLength: 20 }), (file, changes, end, tail) => {
        const bytes = Uint8Array.from([...file.subarray(0, end), ...tail]);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        checkOnlyWavError(bytes);
      }),
      { numRuns: 3000 },
    );
  });

  it('throws nothing but WavError for any bytes after a RIFF header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.boolean(), (bytes, withFormat) => {
        checkOnlyWavError(bytes);
        checkOnlyWavError(riff(...(withFormat ? [fmt()] : []), [...bytes]));
      }),
      { numRuns: 1000 },
    );
  });
});

function checkOnlyWavError(bytes: Uint8Array): void {
  try {
    const audio = readWav(bytes);
    expect(audio.channels.length).toBeLessThanOrEqual(2);
    expect(concat(...audio.channels).length).toBeLessThanOrEqual(bytes.length);
    expect(concat(...audio.channels).every((value) => value >= -1 && value <= 1)).toBe(true);
  } catch (thrown) {
    if (!(thrown instanceof WavError)) throw thrown;
    expect(thrown.message.length).toBeLessThan(150);
  }
}

describe('writeWav', () => {
  it('writes what readWav reads', () => {
    const samples = fc.float32Array({ noNaN: true, min: -1, max: Math.fround(0.999), maxLength: 60 });
    fc.assert(
      fc.property(samples, fc.constantFrom('pcm_s16le', 'mulaw', 'alaw'), fc.boolean(), (left, encoding, stereo) => {
        const input = stereo ? [left, left.map((value) => -value / 2)] : [left];
        const audio = readWav(writeWav(stereo ? input : left, 22_050, { encoding }));
        expect(audio).toMatchObject({ format: encoding, sampleRateHz: 22_050, omittedSamples: 0 });
        expect(audio.channels.map((channel) => channel.length)).toEqual(input.map((channel) => channel.length));
        const worst = encoding === 'pcm_s16le' ? 0.5 / 32_768 : 0.04;
        audio.channels.forEach((channel, side) => {
          expect(channel.every((value, i) => Math.abs(value - input[side]![i]!) <= worst)).toBe(true);
        });
      }),
    );
  });

  it('writes the header byte for byte, with a fact chunk and padding for mu-law', () => {
    const silence = new Float32Array(3);
    expect([...writeWav(silence, 8_000, { encoding: 'pcm_s16le' })]).toEqual([
      ...riff(fmt(), chunk(DATA_ID, new Uint8Array(6))),
    ]);
    expect([...writeWav(silence, 8_000, { encoding: 'mulaw' })]).toEqual([
      ...riff(
        fmt({ tag: 7, bits: 8, extension: [0, 0] }),
        chunk('fact', le(3, 4)),
        chunk(DATA_ID, new Uint8Array(3).fill(0xff)),
      ),
    ]);
  });

  it('refuses no channel and channels of different lengths', () => {
    for (const encoding of ['pcm_s16le', 'mulaw'] as const) {
      expect(() => writeWav([], 8_000, { encoding })).toThrow(RangeError);
      expect(() => writeWav([new Float32Array(1), new Float32Array(2)], 8_000, { encoding })).toThrow(RangeError);
    }
  });
});
