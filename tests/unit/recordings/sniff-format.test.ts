import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { writeWav } from '../../../src/audio/wav.js';
import { sniffFormat } from '../../../src/recordings/sniff-format.js';
import { codecFixture, oggPage, opusHead, tone } from '../../support/recordings.js';

describe('sniffFormat', () => {
  it.each([
    ['mono.mp3', 'mp3', 'mp3'],
    ['stereo.mp3', 'mp3', 'mp3'],
    ['mono.flac', 'flac', 'flac'],
    ['mono.oga', 'ogg/flac', 'flac'],
    ['mono-vorbis.ogg', 'ogg/vorbis', 'ogg-vorbis'],
    ['mono-opus.ogg', 'ogg/opus', 'ogg-opus'],
    ['mono.webm', 'webm', 'webm-opus'],
    ['mono.m4a', 'mp4', undefined],
    ['mono.aac', 'aac', undefined],
  ])('knows %s', (file, name, decoder) => {
    expect(sniffFormat(codecFixture(file))).toMatchObject({ name, decoder });
  });

  it('knows WAV and its relatives', () => {
    const wav = writeWav(tone(440, 8000, 0.1), 8000, { encoding: 'mulaw' });
    expect(sniffFormat(wav)).toEqual({ name: 'wav', decoder: 'wav', demuxer: 'wav', offset: 0 });
    for (const variant of ['RIFX', 'RF64', 'BW64']) {
      expect(sniffFormat(Buffer.concat([Buffer.from(variant), wav.subarray(4)]))?.decoder).toBe('wav');
    }
    expect(sniffFormat(Buffer.concat([Buffer.from('RIFF'), wav.subarray(4, 8), Buffer.from('AVI ')]))).toBeUndefined();
  });

  it.each([
    ['#!AMR\n', 'amr', 'amr'],
    ['#!AMR-WB\n', 'amr', 'amr'],
    ['caff\0\x01\0\0', 'caf', 'caf'],
    ['.snd\0\0\0\x18', 'au', 'au'],
    ['FORM\0\0\0\0AIFF', 'aiff', 'aiff'],
    ['FORM\0\0\0\0AIFC', 'aiff', 'aiff'],
    ['\0\0\0\x18ftypM4A ', 'mp4', 'mov'],
    ['\x30\x26\xb2\x75\x8e\x66\xcf\x11', 'asf', 'asf'],
  ])('hands %j to ffmpeg as %s', (start, name, demuxer) => {
    expect(sniffFormat(Buffer.from(start, 'latin1'))).toEqual({ name, decoder: undefined, demuxer, offset: 0 });
  });

  it('finds the Opus stream of an Ogg file that has others before it', () => {
    const file = Buffer.concat([
      oggPage({ serial: 1, begins: true, packets: [Buffer.from('fishead\0')] }),
      oggPage({ serial: 2, begins: true, packets: [opusHead(1)] }),
    ]);
    expect(sniffFormat(file)?.name).toBe('ogg/opus');
  });

  it('looks behind tags, also several, and at what is really there', () => {
    const tag = (size: number): Buffer =>
      Buffer.concat([Buffer.from([0x49, 0x44, 0x33, 4, 0, 0, 0, 0, size >> 7, size & 127]), Buffer.alloc(size, 0xff)]);
    for (const [file, name] of [
      ['mono.mp3', 'mp3'],
      ['mono.flac', 'flac'],
      ['mono.aac', 'aac'],
    ] as const) {
      const plain = sniffFormat(codecFixture(file))!;
      const tagged = sniffFormat(Buffer.concat([tag(300), tag(20), codecFixture(file)]));
      expect(tagged).toEqual({ ...plain, name, offset: plain.offset + 340 });
    }
    expect(sniffFormat(Buffer.concat([tag(300), Buffer.from('nothing')]))?.name).toBe('mp3');
    expect(sniffFormat(tag(300).subarray(0, 50))).toMatchObject({ name: 'mp3', offset: 50 });
  });

  it('wants a second MPEG frame where the first one ends', () => {
    const mp3 = codecFixture('mono.mp3');
    const { offset } = sniffFormat(mp3)!;
    const lonely = Buffer.from(mp3.subarray(offset));
    lonely.fill(0x55, 10);
    expect(sniffFormat(lonely)).toBeUndefined();
  });

  it('takes no text for audio', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.integer({ min: 32, max: 126 }).map((code) => String.fromCharCode(code)) }),
        (value) => {
          const format = sniffFormat(Buffer.from(`<html>${value}`));
          expect(format).toBeUndefined();
        },
      ),
    );
  });

  it('answers for any bytes, with an offset inside them', () => {
    const starts = [
      'ID3\x04\0\0\0\0\0\x05',
      'OggS\0',
      '\xff\xfb\x90',
      '\xff\xf1',
      'RIFF',
      '\x1aE\xdf\xa3',
      'fLaC',
      '',
    ].map((start) => Buffer.from(start, 'latin1'));
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...starts), fc.uint8Array()), { maxLength: 8 }), (pieces) => {
        const bytes = Buffer.concat(pieces);
        expect(sniffFormat(bytes)?.offset ?? 0).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });

  it('looks for the codec of an Ogg file near its beginning only, because pages can be many', () => {
    const stranger = oggPage({ begins: true, packets: [Buffer.from('unknown codec')] });
    const opus = oggPage({ begins: true, packets: [opusHead(1)] });
    const nameBehind = (strangers: number) =>
      sniffFormat(Buffer.concat([...Array<Buffer>(strangers).fill(stranger), opus, stranger]))?.name;
    expect(nameBehind(3)).toBe('ogg/opus');
    expect(nameBehind(10_000)).toBe('ogg');
  });
});
