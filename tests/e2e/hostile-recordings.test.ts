/** Uploads that lie, are broken, bomb or are just bad, each with its exact answer. There is no ffmpeg for the server here. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readWav, writeWav } from '../../src/audio/wav.js';
import { createApiKey } from '../../src/http/api-keys.js';
import { exchange, exchangeBytes, type FormPart, form, type Reply, sendAndVanish } from '../support/http-exchange.js';
import { type LocalService, startLocalService } from '../support/local-service.js';
import { codecFixture, flacSilence, oggOpus, oggPage, opusHead, tone } from '../support/recordings.js';
import { expectRefusal, expectUnharmed, type Refusal } from '../support/refusals.js';
import { wavClaiming } from '../support/wav-header.js';

const ALICE = 'a11ce000-0000-4000-8000-00000000a11c';
const STRANGER = '5742a963-0000-4000-8000-0000000000aa';
const PHONE = '+14155550142';
const OTHER_PHONE = '+14155550177';
const MAX_UPLOAD = 600_000;
const MAX_SECONDS = 60;
const RATE_HZ = 8000;
const { key, entry } = createApiKey('tester', ['enroll', 'verify', 'read']);
const secrets = [key, PHONE, OTHER_PHONE, ALICE, 'tapped'];

const INVALID: Refusal = { status: 400, error: 'ValidationError' };
const CONFLICT: Refusal = { status: 409, error: 'EnrollmentConflict' };
const TOO_LARGE: Refusal = { status: 413, error: 'PayloadTooLarge' };
const UNSUPPORTED: Refusal = { status: 415, error: 'UnsupportedAudioError' };
const DAMAGED: Refusal = { status: 422, error: 'AudioProcessingError' };

let service: LocalService;

beforeAll(async () => {
  service = await startLocalService(
    {
      HOST: '127.0.0.1',
      API_KEYS: entry,
      PATH: '/nowhere',
      MAX_UPLOAD_BYTES: String(MAX_UPLOAD),
      MAX_RECORDING_SECONDS: String(MAX_SECONDS),
    },
    { secrets },
  );
  const enrolled = await upload('/api/v1/enroll', voiceFile('alice-enroll'), { user_id: ALICE, phone: PHONE });
  expect(enrolled.status).toBe(200);
});
afterAll(() => service?.close());

type Fields = Readonly<Record<string, string>>;

function upload(path: string, audio: Uint8Array, fields: Fields): Promise<Reply> {
  const texts = Object.entries(fields).map(([name, value]) => ({ name, value }));
  return send(path, [...texts, { name: 'audio', filename: '../../tapped.wav', value: audio }]);
}

function send(path: string, parts: readonly FormPart[], headers: Fields = {}): Promise<Reply> {
  const { body, headers: ours } = form(parts);
  const all = { ...ours, authorization: `Bearer ${key}`, ...headers };
  return exchange(service.server.url, { path, headers: all, body });
}

/** A stranger's first sample. */
function enroll(audio: Uint8Array, fields: Fields = {}): Promise<Reply> {
  return upload('/api/v1/enroll', audio, { user_id: STRANGER, phone: OTHER_PHONE, ...fields });
}

function verify(audio: Uint8Array, fields: Fields = {}): Promise<Reply> {
  return upload('/api/v1/verify', audio, { user_id: ALICE, ...fields });
}

function voiceFile(name: string): Uint8Array {
  return readFileSync(new URL(`../fixtures/voices/${name}.wav`, import.meta.url));
}

function voice(name: string): Float32Array {
  return readWav(voiceFile(name)).channels[0]!;
}

/** Channels are cut to the shortest. */
function wav(...channels: Float32Array[]): Uint8Array {
  const length = Math.min(...channels.map((samples) => samples.length));
  const cut = channels.map((samples) => samples.subarray(0, length));
  return writeWav(cut, RATE_HZ, { encoding: 'pcm_s16le' });
}

/** The same on every run, in [0, 1). */
function randomNumbers(): () => number {
  let state = 0x2545f491;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
}

function withMagic(magic: string, length = 5000): Buffer {
  const random = randomNumbers();
  const bytes = Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
  bytes.write(magic, 'latin1');
  return bytes;
}

const speech = voice('alice-enroll');
const random = randomNumbers();

describe('recordings of no use, enrolled or verified', () => {
  const whole = Buffer.from(voiceFile('alice-call-1'));
  const tooLong = (foundSeconds: number): Refusal => ({
    ...DAMAGED,
    details: { allowedSeconds: MAX_SECONDS, foundSeconds: expect.closeTo(foundSeconds, -2) },
  });

  it.each<[string, Uint8Array, Refusal]>([
    ['text', Buffer.from('tapped '.repeat(100)), UNSUPPORTED],
    ['one byte', Buffer.from('R'), UNSUPPORTED],
    ['HTML', Buffer.from('<!doctype html><title>tapped</title>'), UNSUPPORTED],
    ['a picture', withMagic('\x89PNG\r\n\x1a\n'), UNSUPPORTED],
    ['a program', withMagic('\x7fELF'), UNSUPPORTED],
    ['an archive', withMagic('PK\x03\x04'), UNSUPPORTED],
    ['compressed bytes', withMagic('\x1f\x8b\x08'), UNSUPPORTED],
    ['a playlist of our files', Buffer.from('#EXTM3U\n#EXTINF:1,\nfile:///etc/tapped\n'), UNSUPPORTED],
    ['a concat script', Buffer.from("ffconcat version 1.0\nfile '/etc/tapped'\n"), UNSUPPORTED],
    ['zeros', Buffer.alloc(5000), UNSUPPORTED],
    ['m4a without ffmpeg', codecFixture('mono.m4a'), UNSUPPORTED],
    ['AAC without ffmpeg', codecFixture('mono.aac'), UNSUPPORTED],
    ['WebM Vorbis without ffmpeg', codecFixture('mono-vorbis.webm'), UNSUPPORTED],
    ['random bytes that begin like m4a', withMagic('\0\0\0\x20ftypM4A '), UNSUPPORTED],
    ['random bytes that begin like WAV', withMagic('RIFF\x80\x13\0\0WAVEfmt '), UNSUPPORTED],
    ['random bytes that begin like FLAC', withMagic('fLaC\0\0\0\x22'), UNSUPPORTED],
    ['random bytes that begin like Ogg', withMagic('OggS'), UNSUPPORTED],
    ['random bytes that begin like WebM', withMagic('\x1a\x45\xdf\xa3'), DAMAGED],
    ['an MP3 tag and nothing else', withMagic('ID3\x04\0\0\0\0\0\x10', 26), DAMAGED],
    ['an Opus head and nothing else', oggPage({ begins: true, granule: 0, packets: [opusHead(1)] }), DAMAGED],
    ['WAV: only RIFF', whole.subarray(0, 12), DAMAGED],
    ['WAV: cut in the format', whole.subarray(0, 30), DAMAGED],
    ['WAV: cut before the audio', wavClaiming({ dataBytes: 16_000 }, new Uint8Array(0)), DAMAGED],
    ['WAV: no format', wavClaiming({}).fill('junk', 12, 16, 'latin1'), DAMAGED],
    ['WAV: no data', wavClaiming({}).fill('junk', 36, 40, 'latin1'), DAMAGED],
    ['WAV: a first chunk of 4 GB', wavClaiming({}).fill(0xff, 16, 20), DAMAGED],
    ['WAV: 0 channels', wavClaiming({ channels: 0 }), DAMAGED],
    ['WAV: frames of 0 bytes', wavClaiming({ frameBytes: 0 }), DAMAGED],
    ['WAV: frames of 64 kB', wavClaiming({ frameBytes: 65_535 }), DAMAGED],
    ['WAV: 3 channels', wavClaiming({ channels: 3 }), UNSUPPORTED],
    ['WAV: 65,535 channels', wavClaiming({ channels: 65_535 }), UNSUPPORTED],
    ['WAV: 0 Hz', wavClaiming({ sampleRateHz: 0 }), UNSUPPORTED],
    ['WAV: 96 kHz', wavClaiming({ sampleRateHz: 96_000 }), UNSUPPORTED],
    ['WAV: 4 GHz', wavClaiming({ sampleRateHz: 0xffff_ffff }), UNSUPPORTED],
    ['WAV: 0 bits', wavClaiming({ bits: 0 }), UNSUPPORTED],
    ['WAV: 12 bits', wavClaiming({ bits: 12 }), UNSUPPORTED],
    ['WAV: MP3 inside', wavClaiming({ tag: 0x55 }), UNSUPPORTED],
    ['WAV: a cut extensible format', wavClaiming({ tag: 0xfffe }), DAMAGED],
    ['WAV: big-endian', wavClaiming({ container: 'RIFX' }), UNSUPPORTED],
    ['WAV: 64 bit', wavClaiming({ container: 'RF64' }), UNSUPPORTED],
    ['WAV: 70 s', wavClaiming({ tag: 7, bits: 8 }, new Uint8Array(70 * RATE_HZ)), tooLong(70)],
    [
      'FLAC: 6 channels',
      flacSilence({ sampleRateHz: 16_000, channels: 6, frames: 2, claimedSamples: 0 }),
      { ...UNSUPPORTED, details: { foundChannels: 6 } },
    ],
    [
      'FLAC: a claim of 100 days in 100 bytes',
      flacSilence({ sampleRateHz: 8000, channels: 1, frames: 1, claimedSamples: 0xf_ffff_ffff }),
      { ...DAMAGED, details: { allowedSeconds: MAX_SECONDS, foundSeconds: expect.closeTo(8_589_934.6, 1) } },
    ],
    [
      'FLAC: 20 hours in 140 kB, with no claim',
      flacSilence({ sampleRateHz: 8000, channels: 1, frames: 9000, claimedSamples: 0 }),
      { ...DAMAGED, details: { allowedSeconds: MAX_SECONDS } },
    ],
    [
      'FLAC: 20 hours in 140 kB, with a claim of a second',
      flacSilence({ sampleRateHz: 8000, channels: 1, frames: 9000, claimedSamples: 8000 }),
      { ...DAMAGED, details: { allowedSeconds: MAX_SECONDS } },
    ],
    [
      'Opus: 5 hours in 450 kB',
      oggOpus(2, Array<Buffer>(150_000).fill(Buffer.from([0xff, 0x06]))),
      { ...DAMAGED, details: { allowedSeconds: MAX_SECONDS } },
    ],
    [
      'two channels of different people',
      wav(speech, voice('bob-enroll')),
      { ...DAMAGED, details: { check: 'channels', found: 2, needed: 1 } },
    ],
  ])('%s', async (_what, bytes, expected) => {
    expectRefusal(await enroll(bytes), expected, ['tapped', STRANGER, OTHER_PHONE]);
    expectRefusal(await verify(bytes), expected, ['tapped', ALICE]);
  });

  it('a channel that is not there', async () => {
    const expected = { ...DAMAGED, details: { check: 'channels', found: 1, needed: 2 } };
    expectRefusal(await enroll(voiceFile('alice-enroll'), { channel: '1' }), expected);
    expectRefusal(await verify(voiceFile('alice-call-1'), { channel: '1' }), expected);
  });
});

describe('recordings too poor for a voiceprint', () => {
  const noisy = (snrDb: number) => {
    const level = Math.sqrt(speech.reduce((sum, sample) => sum + sample * sample, 0) / speech.length);
    const amplitude = level * 10 ** (-snrDb / 20) * Math.sqrt(3);
    return speech.map((sample) => sample + amplitude * (2 * random() - 1));
  };

  it.each<[string, Uint8Array, { check: string; found: unknown; needed: number }]>([
    ['digital silence', wav(new Float32Array(10 * RATE_HZ)), { check: 'silence', found: 0, needed: 5000 }],
    [
      'a header that lies about its second of silence',
      wavClaiming({ dataBytes: 0xffff_fffe, riffBytes: 0xffff_ffff }),
      { check: 'silence', found: 0, needed: 5000 },
    ],
    [
      'FLAC silence, honest',
      flacSilence({ sampleRateHz: 8000, channels: 1, frames: 2, claimedSamples: 131_070 }),
      { check: 'silence', found: 0, needed: 5000 },
    ],
    ['a tone', wav(tone(440, RATE_HZ, 10)), { check: 'net_speech_ms', found: expect.any(Number), needed: 5000 }],
    [
      'noise',
      wav(Float32Array.from({ length: 10 * RATE_HZ }, () => random() - 0.5)),
      { check: 'net_speech_ms', found: expect.any(Number), needed: 5000 },
    ],
    [
      'two seconds of speech',
      wav(speech.subarray(0, 2 * RATE_HZ)),
      { check: 'net_speech_ms', found: expect.any(Number), needed: 5000 },
    ],
    [
      'speech far too loud',
      wav(speech.map((sample) => sample * 20)),
      { check: 'clipped_ratio', found: expect.any(Number), needed: 0.05 },
    ],
    [
      'speech far too quiet',
      wav(speech.map((sample) => sample * 0.05)),
      { check: 'speech_level_db', found: expect.any(Number), needed: -45 },
    ],
    ['speech in noise', wav(noisy(2)), { check: 'snr_db', found: expect.any(Number), needed: 6 }],
  ])('%s', async (_what, bytes, details) => {
    const reply = await enroll(bytes);
    expectRefusal(reply, { ...DAMAGED, details }, [STRANGER, OTHER_PHONE]);
    const { found, needed } = JSON.parse(reply.text).details;
    if (details.check === 'clipped_ratio') expect(found).toBeGreaterThan(needed);
    else expect(found).toBeLessThan(needed);
  });
});

describe('samples that do not belong', () => {
  it('another phone number for the same user', async () => {
    const reply = await upload('/api/v1/enroll', voiceFile('alice-call-1'), { user_id: ALICE, phone: OTHER_PHONE });
    expectRefusal(reply, CONFLICT, [ALICE, PHONE, OTHER_PHONE]);
  });

  it('another speaker as second sample', async () => {
    const reply = await upload('/api/v1/enroll', voiceFile('dave-enroll'), { user_id: ALICE, phone: PHONE });
    const details = { check: 'sample_agreement', needed: 0.82 };
    expectRefusal(reply, { ...CONFLICT, details }, [ALICE, PHONE]);
  });
});

describe('forms', () => {
  const audio: FormPart = { name: 'audio', filename: 'a.wav', value: voiceFile('alice-call-1') };
  const user: FormPart = { name: 'user_id', value: ALICE };
  const more = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `tapped${i}`, value: 'tapped' }));

  it.each<[string, readonly FormPart[], Refusal]>([
    ['nothing', [], INVALID],
    ['no file', [user], INVALID],
    ['no user', [audio], INVALID],
    ['an empty file', [user, { ...audio, value: '' }], INVALID],
    ['the audio as text', [user, { name: 'audio', value: 'tapped' }], INVALID],
    ['two files', [user, audio, audio], INVALID],
    ['a file in another field', [user, { ...audio, name: 'tapped' }], INVALID],
    ['the user as file', [audio, { ...user, filename: 'tapped' }], INVALID],
    ['two users', [user, { ...user, value: STRANGER }, audio], INVALID],
    ['an array of users', [{ ...user, name: 'user_id[]' }, audio], INVALID],
    ['a nested user', [{ ...user, name: 'user_id[tapped][x]' }, audio], INVALID],
    ['__proto__', [user, { name: '__proto__', value: 'tapped' }, audio], INVALID],
    ['a nested __proto__', [user, { name: '__proto__[tapped]', value: 'tapped' }, audio], INVALID],
    ['constructor', [user, { name: 'constructor', value: 'tapped' }, audio], INVALID],
    ['an unknown field', [user, { name: 'tapped', value: 'tapped' }, audio], INVALID],
    ['a phone', [user, { name: 'phone', value: PHONE }, audio], INVALID],
    ['a threshold below the configured one', [user, { name: 'threshold', value: '0.5' }, audio], INVALID],
    ['a threshold of NaN', [user, { name: 'threshold', value: 'NaN' }, audio], INVALID],
    ['a threshold of 1e-1', [user, { name: 'threshold', value: '1e-1' }, audio], INVALID],
    ['a channel of 2', [user, { name: 'channel', value: '2' }, audio], INVALID],
    ['9 fields', [user, ...more(8), audio], TOO_LARGE],
    ['1,000 fields', [...more(1000), user, audio], TOO_LARGE],
    ['a text of 2 kB', [{ ...user, value: 'tapped'.repeat(400) }, audio], TOO_LARGE],
    ['a field name of 100 characters', [user, { name: 'tapped'.repeat(20), value: '1' }, audio], TOO_LARGE],
    ['a file one byte too big', [user, { ...audio, value: Buffer.alloc(MAX_UPLOAD + 1) }], TOO_LARGE],
    ['a file of 5 MB', [user, { ...audio, value: Buffer.alloc(5_000_000) }], TOO_LARGE],
  ])('%s', async (_what, parts, expected) => {
    expectRefusal(await send('/api/v1/verify', parts), expected, ['tapped', ALICE, PHONE]);
    expect({}).not.toHaveProperty('tapped');
  });

  it.each<[string, Fields, Refusal]>([
    ['JSON', { 'content-type': 'application/json' }, { status: 415, error: 'UnsupportedMediaType' }],
    [
      'another multipart',
      { 'content-type': 'multipart/mixed; boundary=b' },
      { status: 415, error: 'UnsupportedMediaType' },
    ],
    ['audio', { 'content-type': 'audio/wav' }, { status: 415, error: 'UnsupportedMediaType' }],
    ['a form without boundary', { 'content-type': 'multipart/form-data' }, INVALID],
    ['a form with another boundary', { 'content-type': 'multipart/form-data; boundary=tapped' }, INVALID],
    ['a form of 9 GB', { 'content-length': '9000000000' }, TOO_LARGE],
    ['chunks without end', { 'transfer-encoding': 'chunked', 'x-too-much': '1' }, TOO_LARGE],
  ])('announced as %s', async (_what, headers, expected) => {
    const file = headers['x-too-much'] ? { ...audio, value: Buffer.alloc(3_000_000) } : audio;
    expectRefusal(await send('/api/v1/verify', [user, file], headers), expected, ['tapped', ALICE]);
  });

  const head = (length: number, headers = '') =>
    `POST /api/v1/verify HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}Authorization: Bearer ${key}\r\n` +
    `Content-Type: multipart/form-data; boundary=b\r\nContent-Length: ${length}\r\n\r\n`;
  const start = `--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\nRIFF`;

  it.each<[string, string, Refusal]>([
    ['no end', start, INVALID],
    ['a part without a name', '--b\r\nContent-Disposition: form-data\r\n\r\ntapped\r\n--b--\r\n', INVALID],
    ['a part without headers', '--b\r\n\r\ntapped\r\n--b--\r\n', INVALID],
    ['a part header that is none', '--b\r\ntapped\u0000tapped\r\n\r\nx\r\n--b--\r\n', INVALID],
    [
      'a part header of 20 kB',
      `--b\r\nContent-Disposition: form-data; name="${'tapped'.repeat(3400)}"\r\n\r\nx\r\n--b--\r\n`,
      INVALID,
    ],
    ['nothing but boundaries', `${'--b\r\n'.repeat(5000)}--b--\r\n`, TOO_LARGE],
  ])('with %s', async (_what, body, expected) => {
    expectRefusal(await exchangeBytes(service.server.url, head(body.length) + body), expected, ['tapped']);
  });

  it('whose sender vanishes are forgotten', async () => {
    const before = service.server.output().length;
    await sendAndVanish(service.server.url, head(50_000, 'Expect: 100-continue\r\n'), start);
    const noticed = /"operation":"verification.upload","status":(400|499)/;
    await expect.poll(() => noticed.test(service.server.output().slice(before)), { timeout: 10_000 }).toBe(true);
  });

  it('are answered in JSON when they are wrong, also to those who wanted events', async () => {
    const parts = [{ name: 'user_id', value: STRANGER }, audio];
    const reply = await send('/api/v1/verify', parts, { accept: 'text/event-stream' });
    expectRefusal(reply, { status: 404, error: 'UserNotFoundError' }, [STRANGER]);
  });
});

describe('after all that', () => {
  it('the server is unharmed and has kept everything to itself', async () => {
    await expectUnharmed(service, { enrolled: 1, recorded: 1, strangers: [STRANGER], secrets, key });
    const headers = { authorization: `Bearer ${key}` };
    const status = await exchange(service.server.url, { path: `/api/v1/users/${ALICE}/status`, headers });
    // The sample of another speaker.
    const last_attempt = { decision: 'reject', reason: 'no_match', source: 'upload' };
    expect(JSON.parse(status.text)).toMatchObject({ samples: 1, failed_attempts: 1, last_attempt });
  });
});
