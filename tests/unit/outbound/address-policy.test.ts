import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VoiceAuthError } from '../../../src/domain/errors.js';
import {
  checkModelUrl,
  checkUrl,
  isPublicAddress,
  matchesHost,
  type UrlKind,
} from '../../../src/outbound/address-policy.js';
import { outboundConfig } from '../../support/outbound-config.js';

const strict = outboundConfig();
const development = outboundConfig({ allowPrivateNetwork: true });

function refusalOf(raw: string, kind: UrlKind = 'audio', config = strict): VoiceAuthError | undefined {
  try {
    checkUrl(raw, { kind, config });
    return undefined;
  } catch (error) {
    if (error instanceof VoiceAuthError) return error;
    throw error;
  }
}

/** Hosts that must never be dialled, in every notation a URL parser accepts (or should not). */
const FORBIDDEN_HOSTS = [
  '127.0.0.1',
  '127.0.0.1.',
  '127.1',
  '127.0.1',
  '127.255.255.254',
  '2130706433',
  '017700000001',
  '0177.0.0.1',
  '0x7f000001',
  '0x7F.1',
  '0x7f.0x0.0x0.0x1',
  '１２７.0.0.1',
  '①②⑦.⓪.⓪.①',
  '127。0。0。1',
  '%31%32%37.0.0.1',
  '0.0.0.0',
  '168.63.129.16',
  '2822734096',
  '0',
  '0.1.2.3',
  '10.0.0.1',
  '10.1',
  '167772161',
  '012.0.0.1',
  '100.64.0.1',
  '100.127.255.254',
  '169.254.169.254',
  '0xa9fea9fe',
  '2852039166',
  '0251.0376.0251.0376',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '3232235777',
  '0xc0a80101',
  '192.0.0.1',
  '192.0.2.1',
  '192.88.99.1',
  '198.18.0.1',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '255.255.255.255',
  '256.256.256.256',
  '[::]',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[::127.0.0.1]',
  '[::7f00:1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::ffff:10.0.0.1]',
  '[::ffff:a9fe:a9fe]',
  '[0:0:0:0:0:ffff:192.168.0.1]',
  '[::ffff:0:127.0.0.1]',
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b::a9fe:a9fe]',
  '[64:ff9b::8.8.8.8]',
  '[64:ff9b:1::1]',
  '[2002:7f00:1::]',
  '[2002:a9fe:a9fe::1]',
  '[2001:0:7f00:1::]',
  '[2001:db8::1]',
  '[2001:20::1]',
  '[3fff::1]',
  '[100::1]',
  '[4000::1]',
  '[5f00::1]',
  '[fc00::1]',
  '[fd00:ec2::254]',
  '[fe80::1]',
  '[fe80::1%25eth0]',
  '[fe80::1%eth0]',
  '[fec0::1]',
  '[ff02::1]',
  'localhost',
  'LOCALHOST',
  'localhost.',
  'db.localhost',
  'localhost.localdomain',
  'metadata',
  'metadata.google.internal',
  'METADATA.google.internal.',
  'instance-data',
  'printer.local',
  'router.lan',
  'nas.home.arpa',
  'build.corp',
  'intranet',
];

describe('checkUrl, addresses and names that are not public', () => {
  it.each(FORBIDDEN_HOSTS)('refuses %s', (host) => {
    const audio = refusalOf(`https://${host}/recording.wav`);
    expect(audio?.code).toBe('ValidationError');
    expect(audio?.details).toEqual([{ path: 'audioUrl', message: expect.any(String) }]);
    const anyHost = outboundConfig({ listenHosts: [host, '*.internal'] });
    expect(refusalOf(`wss://${host}/listen`, 'listen', anyHost)?.code).toBe('ValidationError');
  });

  it('refuses private IPv4 in decimal, octal, hex, short and mapped notation', () => {
    const privateOctets = fc.oneof(
      fc.tuple(fc.constant(127), fc.nat(255), fc.nat(255), fc.nat(255)),
      fc.tuple(fc.constant(10), fc.nat(255), fc.nat(255), fc.nat(255)),
      fc.tuple(fc.constant(172), fc.integer({ min: 16, max: 31 }), fc.nat(255), fc.nat(255)),
      fc.tuple(fc.constant(192), fc.constant(168), fc.nat(255), fc.nat(255)),
      fc.tuple(fc.constant(169), fc.constant(254), fc.nat(255), fc.nat(255)),
      fc.tuple(fc.constant(100), fc.integer({ min: 64, max: 127 }), fc.nat(255), fc.nat(255)),
    );
    fc.assert(
      fc.property(privateOctets, ([a, b, c, d]) => {
        const value = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d;
        const notations = [
          `${a}.${b}.${c}.${d}`,
          String(value),
          `0${value.toString(8)}`,
          `0x${value.toString(16)}`,
          `0${a.toString(8)}.0x${b.toString(16)}.${c * 256 + d}`,
          `${a}.${b * 65_536 + c * 256 + d}`,
          `[::ffff:${a}.${b}.${c}.${d}]`,
        ];
        for (const host of notations) expect(refusalOf(`https://${host}/`)?.code, host).toBe('ValidationError');
        expect(isPublicAddress(`${a}.${b}.${c}.${d}`)).toBe(false);
      }),
    );
  });
});

describe('checkUrl, form of the URL', () => {
  it.each([
    ['http', 'http://recordings.example.com/a.wav'],
    ['ftp', 'ftp://recordings.example.com/a.wav'],
    ['file', 'file:///etc/passwd'],
    ['data', 'data:audio/wav;base64,UklGRg=='],
    ['a listen scheme', 'wss://recordings.example.com/a.wav'],
    ['javascript', 'javascript:alert(1)'],
    ['user name', 'https://user@recordings.example.com/a.wav'],
    ['password', 'https://:secret@recordings.example.com/a.wav'],
    ['a low port', 'https://recordings.example.com:22/a.wav'],
    ['the plain web port', 'https://recordings.example.com:80/a.wav'],
    ['no host', 'https:///'],
    ['no URL', 'recordings.example.com/a.wav'],
    ['nothing', ''],
    ['too long', `https://recordings.example.com/${'a'.repeat(5000)}`],
    ['a space in the host', 'https://recordings example.com/'],
  ])('refuses %s', (_, raw) => {
    expect(refusalOf(raw)?.code).toBe('ValidationError');
  });

  it.each([
    ['ws://a.vapi.ai/x/listen', 'listen', 'wss:// (ws://'],
    ['http://recordings.example.com/a.wav', 'audio', 'https:// (http://'],
    ['http://a.vapi.ai/x/control', 'control', 'https:// (http://'],
  ] as const)('says of %s what would allow it in development', (raw, kind, schemes) => {
    const message = `must start with ${schemes} and this machine only in development, with ALLOW_PRIVATE_NETWORK=true)`;
    expect(refusalOf(raw, kind)?.details).toEqual([{ path: `${kind}Url`, message }]);
  });

  it('says so of no other scheme', () => {
    const message = 'must start with wss://';
    for (const config of [strict, development]) {
      expect(refusalOf('ftp://a.vapi.ai/x', 'listen', config)?.details).toEqual([{ path: 'listenUrl', message }]);
    }
  });

  it('accepts https with the standard port or a high one and returns the parsed URL', () => {
    expect(checkUrl('https://Recordings.Example.com/a.wav?sig=1', { kind: 'audio', config: strict }).href).toBe(
      'https://recordings.example.com/a.wav?sig=1',
    );
    for (const raw of [
      'https://recordings.example.com:443/a',
      'https://recordings.example.com:8443/a',
      'https://8.8.8.8/a',
      'https://[2606:4700::1111]/a',
      'https://[::ffff:8.8.8.8]/a',
      'https://xn--mnchen-3ya.de/a',
    ]) {
      expect(refusalOf(raw), raw).toBeUndefined();
    }
    expect(checkUrl('https://example.com./a', { kind: 'audio', config: strict }).hostname).toBe('example.com');
  });

  it('never repeats the URL, whatever it is', () => {
    const secret = 'call-7f3a9c';
    fc.assert(
      fc.property(
        fc.constantFrom('https://', 'http://', 'wss://', 'ftp://', '//', 'https://u:p@', 'https://127.0.0.1:'),
        fc.webPath(),
        fc.constantFrom<UrlKind>('audio', 'listen', 'control'),
        (start, path, kind) => {
          const refusal = refusalOf(`${start}${secret}${path}`, kind);
          expect(JSON.stringify([refusal?.message, refusal?.details, refusal?.cause])).not.toContain(secret);
        },
      ),
    );
  });

  it('throws nothing but VoiceAuthError for any text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.webUrl(),
          fc.ipV6().map((ip) => `https://[${ip}]/`),
        ),
        (raw) => {
          refusalOf(raw);
        },
      ),
    );
  });
});

describe('checkUrl, hosts allowed', () => {
  it.each([
    ['wss://a.vapi.ai/x/listen', true],
    ['wss://a.b.vapi.ai/x/listen', true],
    ['wss://A.VAPI.AI./x/listen', true],
    ['wss://vapi.ai/x/listen', false],
    ['wss://evilvapi.ai/x/listen', false],
    ['wss://a.vapi.ai.evil.com/x/listen', false],
    ['wss://evil.com/?a.vapi.ai', false],
    ['wss://evil.com#.vapi.ai', false],
    ['wss://8.8.8.8/listen', false],
    ['ws://a.vapi.ai/x/listen', false],
    ['https://a.vapi.ai/x/listen', false],
  ])('%s with *.vapi.ai: %s', (raw, allowed) => {
    const refusal = refusalOf(raw, 'listen');
    if (allowed) expect(refusal).toBeUndefined();
    else expect(refusal?.details).toEqual([{ path: 'listenUrl', message: expect.any(String) }]);
  });

  it('allows no listen host when none is configured, but any public audio host', () => {
    const config = outboundConfig({ listenHosts: [], audioHosts: [] });
    expect(refusalOf('wss://a.vapi.ai/x', 'listen', config)?.code).toBe('ValidationError');
    expect(refusalOf('https://anywhere.example.com/x', 'audio', config)).toBeUndefined();
  });

  it.each([
    ['https://phone-call.aws.vapi.ai/x/control', true],
    ['https://a.vapi.ai:8443/x/control', true],
    ['http://a.vapi.ai/x/control', false],
    ['wss://a.vapi.ai/x/control', false],
    ['https://vapi.ai/x/control', false],
    ['https://a.vapi.ai.evil.com/x/control', false],
    ['https://user@a.vapi.ai/x/control', false],
    ['https://8.8.8.8/x/control', false],
  ])('%s as a control URL with *.vapi.ai: %s', (raw, allowed) => {
    const refusal = refusalOf(raw, 'control', outboundConfig({ controlHosts: ['*.vapi.ai'], listenHosts: [] }));
    if (allowed) expect(refusal).toBeUndefined();
    else expect(refusal?.details).toEqual([{ path: 'controlUrl', message: expect.any(String) }]);
  });

  it('allows no control host when none is configured, and no private one even then', () => {
    const config = outboundConfig({ controlHosts: [], listenHosts: ['*.vapi.ai'] });
    expect(refusalOf('https://a.vapi.ai/x', 'control', config)?.code).toBe('ValidationError');
    const local = outboundConfig({ controlHosts: ['localhost', '127.0.0.1'] });
    expect(refusalOf('https://localhost/x', 'control', local)?.code).toBe('ValidationError');
    expect(refusalOf('https://127.0.0.1/x', 'control', local)?.code).toBe('ValidationError');
    expect(refusalOf('http://127.0.0.1:9000/x', 'control', development)).toBeUndefined();
  });

  it('keeps audio to the configured hosts', () => {
    const config = outboundConfig({ audioHosts: ['recordings.example.com', '*.cdn.example.com'] });
    expect(refusalOf('https://recordings.example.com/x', 'audio', config)).toBeUndefined();
    expect(refusalOf('https://a.cdn.example.com/x', 'audio', config)).toBeUndefined();
    expect(refusalOf('https://example.com/x', 'audio', config)?.code).toBe('ValidationError');
  });

  it('does not let an allow-list open private addresses', () => {
    const config = outboundConfig({ audioHosts: ['127.0.0.1', 'localhost', '*.internal'] });
    for (const host of ['127.0.0.1', 'localhost', 'metadata.google.internal']) {
      expect(refusalOf(`https://${host}/x`, 'audio', config)?.code).toBe('ValidationError');
    }
  });

  it('matches wildcards by label, not by letters', () => {
    expect(matchesHost('*.vapi.ai', 'a.vapi.ai')).toBe(true);
    expect(matchesHost('*.', 'a.')).toBe(false);
    expect(matchesHost('*', 'a.b')).toBe(false);
    expect(matchesHost('VAPI.ai.', 'vapi.AI')).toBe(true);
  });
});

describe('checkUrl with private networks allowed', () => {
  it.each(['http://127.0.0.1:9000/a.wav', 'https://localhost/a.wav', 'http://[::1]:80/a.wav', 'http://minio:9000/a'])(
    'accepts %s',
    (raw) => {
      expect(refusalOf(raw, 'audio', development)).toBeUndefined();
    },
  );

  it('accepts any listen host, but still no credentials and no other scheme', () => {
    expect(refusalOf('ws://localhost:9000/listen', 'listen', development)).toBeUndefined();
    expect(refusalOf('ws://u:p@localhost:9000/listen', 'listen', development)?.code).toBe('ValidationError');
    expect(refusalOf('http://localhost:9000/listen', 'listen', development)?.code).toBe('ValidationError');
    expect(refusalOf('file:///etc/passwd', 'audio', development)?.code).toBe('ValidationError');
  });
});

describe('isPublicAddress', () => {
  it.each(['8.8.8.8', '1.1.1.1', '93.184.215.14', '2606:4700::1111', '2a00:1450:4001:830::200e', '::ffff:8.8.8.8'])(
    'true for %s',
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );

  it.each(['', 'example.com', '2606:4700::1111%eth0', 'fe80::1%1', '::', '8.8.8.8.8', '[2606:4700::1111]'])(
    'false for %j',
    (address) => {
      expect(isPublicAddress(address)).toBe(false);
    },
  );
});

describe('checkModelUrl', () => {
  const policy = { hosts: ['huggingface.co', '*.hf.co'], allowPrivateNetwork: false, allowPlainHttp: false };

  it.each(['https://huggingface.co/a/b.onnx', 'https://us.aws.cdn.hf.co/x?sig=1', 'https://HuggingFace.co./a'])(
    'allows %s',
    (url) => {
      expect(checkModelUrl(url, policy).protocol).toBe('https:');
    },
  );

  it.each([
    ['http://huggingface.co/a', 'https'],
    ['https://huggingface.co.evil.example/a', 'not one of'],
    ['https://hf.co/a', 'not one of'],
    ['https://evil-hf.co/a', 'not one of'],
    ['https://user:password@huggingface.co/a', 'user name'],
    ['https://huggingface.co:22/a', 'port'],
    ['https://127.0.0.1/a', 'public'],
    ['https://[::1]/a', 'public'],
    ['https://mirror.internal/a', 'public'],
    ['file:///etc/passwd', 'https'],
    ['https://', 'valid URL'],
  ])('refuses %s', (url, message) => {
    expect(() => checkModelUrl(url, policy)).toThrow(message);
  });

  it('keeps to its hosts even where private networks are allowed', () => {
    const inside = { hosts: ['10.1.2.3'], allowPrivateNetwork: true, allowPlainHttp: false };
    expect(checkModelUrl('https://10.1.2.3/a', inside).hostname).toBe('10.1.2.3');
    expect(() => checkModelUrl('https://10.1.2.4/a', inside)).toThrow('10.1.2.3');
    expect(() => checkModelUrl('http://10.1.2.3/a', inside)).toThrow('https');
    expect(checkModelUrl('http://10.1.2.3/a', { ...inside, allowPlainHttp: true }).protocol).toBe('http:');
  });
});
