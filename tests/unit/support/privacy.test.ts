import { describe, expect, it } from 'vitest';
import { banner } from '../../../src/cli/banner.js';
import { privacyLeaks, requirePrivate } from '../../support/privacy.js';

describe('privacyLeaks', () => {
  it.each([
    ['a number', '{"phone":"+15550100001"}'],
    ['a listen URL', 'dialling wss://phone.example/abc'],
    ['a listen path', 'GET /1234/listen'],
    ['an audio URL', 'fetch https://files.example/a/b.wav'],
    ['an API key', 'vak_dev_abcdefghijklmnopqrstuvwxyz'],
    ['a bearer token', 'Authorization: Bearer abcdefgh123'],
    ['an embedding', '[0.1, -0.25, 0.3, 0.4, 1.5e-3, 0.2, 0.11, 0.9, 0.2]'],
    ['base64', 'QUJD'.repeat(40)],
  ])('finds %s', (_, text) => {
    expect(privacyLeaks(text)).toHaveLength(1);
  });

  it('finds a secret by its text and lets ordinary lines pass', () => {
    const line = '{"level":30,"time":"2026-01-01T00:00:00.000Z","msg":"verification recorded","net_speech_ms":2200}';
    expect(privacyLeaks(line)).toEqual([]);
    expect(privacyLeaks(line, ['recorded'])).toEqual([expect.stringContaining('verification recorded')]);
  });

  it('takes no secret that ids and times spell by chance', () => {
    for (const short of ['7351', '"7351']) expect(() => privacyLeaks('', [short])).toThrow(/by chance/);
    expect(privacyLeaks('"digit":"7351"', ['"7351"'])).toHaveLength(1);
  });

  it('looks at all that is written and at traces, but for the two lines of the banner that show the development key and a made-up number', () => {
    const url = 'http://127.0.0.1:9001';
    const shown = banner(
      { url, developmentKey: 'vak_dev_abcdefghijklmnopqrstuvwxyz' },
      { host: '127.0.0.1', dataDir: '/tmp/data' },
    );
    expect(() => requirePrivate({ logs: `${shown}\n{"msg":"listening"}`, traces: '' }, ['+15550100001'])).not.toThrow();
    const changed = shown.replace('-p +15550100001', '-p +15550100002');
    expect(() => requirePrivate({ logs: changed, traces: '' }, [])).toThrow(/phone/);
    expect(() => requirePrivate({ logs: `${shown}\n{"phone":"+15550100001"}`, traces: '' }, [])).toThrow(/phone/);
    expect(() => requirePrivate({ logs: 'vak_dev_abcdefghijklmnopqrstuvwxyz', traces: '' }, [])).toThrow(/API key/);
    expect(() => requirePrivate({ logs: '{"k":"+15550100001"}', traces: '' }, [])).toThrow(/phone/);
    expect(() => requirePrivate({ logs: 'Error: wss://x', traces: '' }, [])).toThrow(/log/);
    expect(() => requirePrivate({ logs: '', traces: 'wss://x' }, [])).toThrow(/trace/);
  });
});
