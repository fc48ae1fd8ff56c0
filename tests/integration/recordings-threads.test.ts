/** What becomes of recordings, and of the service, when decoder threads hang, die, are busy or cannot start. */
import { afterEach, describe, expect, it } from 'vitest';
import { writeWav } from '../../src/audio/wav.js';
import { VoiceAuthError } from '../../src/domain/errors.js';
import {
  WorkerRecordingDecoder,
  type WorkerRecordingDecoderOptions,
} from '../../src/recordings/worker-recording-decoder.js';
import { builtModule } from '../support/built.js';
import { codecFixture, tone } from '../support/recordings.js';

const never = new AbortController().signal;
const moody = new URL('../support/moody-decode-worker.mjs', import.meta.url);

/** What the moody thread does with them. */
const HANGS = codecFixture('mono.mp3');
const THROWS = codecFixture('mono.flac');
const EXITS = codecFixture('mono-vorbis.ogg');
const NEVER_ANSWERED = codecFixture('mono-opus.ogg');
const GOOD = writeWav(tone(440, 8000), 8000, { encoding: 'pcm_s16le' });

const open: WorkerRecordingDecoder[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((decoder) => decoder.close()));
});

function decoderWith(options: WorkerRecordingDecoderOptions = {}): WorkerRecordingDecoder {
  const config = { maxDurationMs: 10_000, programSearchPath: '' };
  const decoder = new WorkerRecordingDecoder(config, { workerModule: moody, ...options });
  open.push(decoder);
  return decoder;
}

describe('a thread that fails', () => {
  it.each([
    ['hangs', HANGS],
    ['throws', THROWS],
    ['exits', EXITS],
    ['never answers', NEVER_ANSWERED],
  ])('costs the recording on which it %s, not the next one', async (_, bad) => {
    const decoder = decoderWith({ decodeTimeoutMs: 1500 });
    const failing = decoder.decode(bad, { signal: never });
    const next = decoder.decode(GOOD, { signal: never });
    await expect(failing).rejects.toMatchObject({ code: 'AudioProcessingError' });
    await expect(next).resolves.toMatchObject({ format: 'wav' });
  });

  it('is no fault of the recording when it cannot even start', async () => {
    const decoder = decoderWith({ workerModule: new URL('./no-such-worker.mjs', import.meta.url) });
    await expect(decoder.decode(GOOD, { signal: never })).rejects.toMatchObject({ code: 'InternalError' });
    await expect(decoder.decode(GOOD, { signal: never })).rejects.toMatchObject({ code: 'InternalError' });
  });

  it('does not hold up the event loop while it hangs', async () => {
    const decoder = decoderWith({ decodeTimeoutMs: 1500 });
    let turns = 0;
    const turning = setInterval(() => {
      turns += 1;
    }, 10);
    await expect(decoder.decode(HANGS, { signal: never })).rejects.toMatchObject({ code: 'AudioProcessingError' });
    clearInterval(turning);
    expect(turns).toBeGreaterThan(10);
  });
});

describe('admission', () => {
  it('is busy when the queue is full, and admits the others in order', async () => {
    const decoder = decoderWith({ maxWaiting: 2, decodeTimeoutMs: 1500 });
    const order: string[] = [];
    const track = (name: string, work: Promise<unknown>): Promise<unknown> =>
      work.then(
        () => order.push(name),
        () => order.push(`${name} failed`),
      );
    const running = track('running', decoder.decode(HANGS, { signal: never }));
    const first = track('first', decoder.decode(GOOD, { signal: never }));
    const second = track('second', decoder.decode(GOOD, { signal: never }));
    await expect(decoder.decode(GOOD, { signal: never })).rejects.toMatchObject({
      code: 'Busy',
      retryAfterSeconds: expect.any(Number),
    });
    await Promise.all([running, first, second]);
    expect(order).toEqual(['running failed', 'first', 'second']);
    await expect(decoder.decode(GOOD, { signal: never })).resolves.toBeDefined();
  });

  it('is busy after waiting too long, and the place is free again', async () => {
    const decoder = decoderWith({ maxWaiting: 1, queueTimeoutMs: 50, decodeTimeoutMs: 1500 });
    const running = decoder.decode(NEVER_ANSWERED, { signal: never });
    for (let i = 0; i < 2; i += 1) {
      await expect(decoder.decode(GOOD, { signal: never })).rejects.toMatchObject({ code: 'Busy' });
    }
    await expect(running).rejects.toMatchObject({ code: 'AudioProcessingError' });
  });

  it('uses as many threads as configured', async () => {
    const decoder = decoderWith({ threads: 2, maxWaiting: 0, decodeTimeoutMs: 5000 });
    const hanging = expect(decoder.decode(NEVER_ANSWERED, { signal: never })).rejects.toMatchObject({
      code: 'InternalError',
    });
    await expect(decoder.decode(GOOD, { signal: never })).resolves.toBeDefined();
    await decoder.close();
    await hanging;
  });

  it('refuses what is no audio without waiting for a thread', async () => {
    const decoder = decoderWith({ maxWaiting: 0 });
    const running = expect(decoder.decode(NEVER_ANSWERED, { signal: never })).rejects.toBeInstanceOf(VoiceAuthError);
    await expect(decoder.decode(Buffer.from('text'), { signal: never })).rejects.toMatchObject({
      code: 'UnsupportedAudioError',
    });
    await decoder.close();
    await running;
  });
});

describe('cancelling', () => {
  it('rejects at once with the reason, waiting or running, and keeps the thread in order', async () => {
    const decoder = decoderWith({ decodeTimeoutMs: 1500 });
    const running = new AbortController();
    const waiting = new AbortController();
    const results = [
      decoder.decode(NEVER_ANSWERED, { signal: running.signal }),
      decoder.decode(GOOD, { signal: waiting.signal }),
    ];
    waiting.abort();
    await expect(results[1]).rejects.toMatchObject({ code: 'Timeout' });
    running.abort(new VoiceAuthError('Busy', 'shutting down'));
    await expect(results[0]).rejects.toMatchObject({ code: 'Busy' });
    // The thread is still at the cancelled recording, which runs into its own time limit first.
    await expect(decoder.decode(GOOD, { signal: never })).resolves.toMatchObject({ format: 'wav' });
  });

  it('does not begin when already cancelled', async () => {
    const signal = AbortSignal.abort();
    await expect(decoderWith().decode(GOOD, { signal })).rejects.toMatchObject({ code: 'Timeout' });
  });
});

describe('closing', () => {
  it('fails what runs, what waits and what comes later', async () => {
    const decoder = decoderWith();
    const running = decoder.decode(HANGS, { signal: never });
    const waiting = decoder.decode(GOOD, { signal: never });
    const failures = Promise.all([
      expect(running).rejects.toMatchObject({ code: 'InternalError' }),
      expect(waiting).rejects.toMatchObject({ code: 'Busy' }),
    ]);
    await decoder.close();
    await failures;
    await expect(decoder.decode(GOOD, { signal: never })).rejects.toMatchObject({ code: 'Busy' });
    await decoder.close();
  });
});

describe('the real thread', () => {
  it('says nothing on the console, however damaged the recording', async () => {
    const decoder = decoderWith({ workerModule: builtModule('recordings/decode-worker.js') });
    const damaged = codecFixture('mono.mp3');
    for (let i = 300; i < damaged.length; i += 50) damaged[i] = 0xff;
    const written: string[] = [];
    const write = process.stderr.write;
    process.stderr.write = (chunk: string | Uint8Array) => written.push(String(chunk)) > 0;
    try {
      await decoder.decode(damaged, { signal: never }).catch(() => undefined);
      await decoder.close();
    } finally {
      process.stderr.write = write;
    }
    expect(written).toEqual([]);
  });
});
