import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  clientEnvironment,
  DEVELOPMENT_KEY_FILE,
  inheritedEnvironment,
} from '../../../src/config/client-environment.js';
import { describeEnvironment, loadConfig } from '../../../src/config/config.js';
import {
  ConfigurationError,
  ENVIRONMENT,
  misspelledVariables,
  type Variable,
} from '../../../src/config/environment.js';

type Source = Readonly<Record<string, string | undefined>>;

const KEY = 'service-role-key-of-a-project';
const SUPABASE = {
  SUPABASE_URL: 'https://project.supabase.co',
  SUPABASE_SERVICE_ROLE_KEY: KEY,
  EMBEDDING_ENCRYPTION_KEYS: 'k1:c2VjcmV0',
} as const;
const PRODUCTION = { NODE_ENV: 'production', API_KEYS: 'agent:verify:abc' } as const;

function problemsOf(source: Source): readonly string[] {
  try {
    loadConfig(source);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems;
    throw error;
  }
  return [];
}

/** The variables that the problems are about, in order. */
const namesOf = (problems: readonly string[]) => problems.map((problem) => problem.slice(0, problem.indexOf(':')));

describe('loadConfig', () => {
  it('needs nothing, and then is for development: loopback, embedded database, only VAPI hosts, no private network', () => {
    const config = loadConfig({});
    expect(config.http).toMatchObject({ host: '127.0.0.1', port: 8000, apiKeys: undefined });
    expect(config.storage).toMatchObject({
      supabase: undefined,
      dataDir: resolve('./data'),
      encryptionKeys: undefined,
    });
    expect(config.outbound).toMatchObject({ listenHosts: ['*.vapi.ai'], audioHosts: [], allowPrivateNetwork: false });
    expect(config.tracing).toBeUndefined();
  });

  it('turns seconds, minutes and words into the units and types of the rooms', () => {
    const config = loadConfig({
      WEBSOCKET_TIMEOUT: '20',
      LISTEN_CONNECT_TIMEOUT: '1.5',
      MAX_AUDIO_DURATION: '12',
      LOCKOUT_MINUTES: '0.5',
      SHUTDOWN_GRACE_SECONDS: '3',
      DATABASE_TIMEOUT: '0.25',
      LISTEN_SAMPLE_RATE: '8000',
      LISTEN_CHANNELS: '2',
      LISTEN_CALLER_CHANNEL: '1',
      LISTEN_MONO_IS_CALLER: 'yes',
      CORS_ORIGINS: ' https://a.example , ,https://b.example',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
      PATH: '/usr/bin',
    });
    expect(config.verification).toMatchObject({
      listenTimeoutMs: 20_000,
      connectTimeoutMs: 1500,
      maxSpeechMs: 12_000,
      lockoutMs: 30_000,
    });
    expect(config.shutdownGraceMs).toBe(3000);
    expect(config.storage.timeoutMs).toBe(250);
    expect(config.vapiListen).toEqual({
      sampleRateHz: 8000,
      channels: 2,
      callerChannel: 1,
      monoIsCaller: true,
      bearerToken: undefined,
    });
    expect(config.http.corsOrigins).toEqual(['https://a.example', 'https://b.example']);
    expect(config.tracing).toEqual({ endpoint: 'http://collector:4318', serviceName: 'voice-auth' });
    expect(config.recordings.programSearchPath).toBe('/usr/bin');
  });

  it('never waits longer for a connection than for the whole call', () => {
    const { verification, enrollment } = loadConfig({ WEBSOCKET_TIMEOUT: '4', LISTEN_CONNECT_TIMEOUT: '30' });
    expect([verification.connectTimeoutMs, enrollment.connectTimeoutMs]).toEqual([4000, 4000]);
  });

  it('listens everywhere once there are API keys, unless told otherwise', () => {
    expect(loadConfig({ API_KEYS: 'a:verify:abc' }).http.host).toBe('0.0.0.0');
    expect(loadConfig({ API_KEYS: 'a:verify:abc', HOST: '10.0.0.7' }).http.host).toBe('10.0.0.7');
  });

  it('starts one inference process per core, but not more than eight, unless told otherwise', () => {
    const { children } = loadConfig({}).embedder;
    expect(children).toBeGreaterThanOrEqual(1);
    expect(children).toBeLessThanOrEqual(8);
    expect(loadConfig({ INFERENCE_CHILDREN: '12' }).embedder.children).toBe(12);
  });

  it('leaves an agent the seconds between the last word of the caller and its question', () => {
    expect(namesOf(problemsOf({ CALL_ACCEPT_FRESH_SECONDS: '0' }))).toEqual(['CALL_ACCEPT_FRESH_SECONDS']);
    expect(namesOf(problemsOf({ CALL_ACCEPT_FRESH_SECONDS: '9.9' }))).toEqual(['CALL_ACCEPT_FRESH_SECONDS']);
    expect(loadConfig({ CALL_ACCEPT_FRESH_SECONDS: '10' }).calls.acceptFreshMs).toBe(10_000);
  });

  it('takes an empty variable for an unset one', () => {
    for (const blank of ['', ' ', '\t\n']) {
      const empty = Object.fromEntries(Object.keys(ENVIRONMENT).map((name) => [name, blank]));
      expect(loadConfig(empty)).toEqual(loadConfig({}));
      expect(describeEnvironment(empty)).toEqual(describeEnvironment({}));
    }
  });

  it('resolves folders, and takes absolute ones as they are', () => {
    expect(loadConfig({ DATA_DIR: 'some/where' }).storage.dataDir).toBe(resolve('some/where'));
    expect(loadConfig({ DATA_DIR: '/data' }).storage.dataDir).toBe('/data');
    expect(isAbsolute(loadConfig({}).embedder.modelsDir)).toBe(true);
  });

  it('is frozen in every depth', () => {
    const config = loadConfig({ ...SUPABASE, ...PRODUCTION });
    const thawed: string[] = [];
    const visit = (value: unknown, path: string) => {
      if (typeof value !== 'object' || value === null) return;
      if (!Object.isFrozen(value)) thawed.push(path);
      for (const [key, child] of Object.entries(value)) visit(child, `${path}.${key}`);
    };
    visit(config, 'config');
    expect(thawed).toEqual([]);
    expect(() => Object.assign(config.outbound, { allowPrivateNetwork: true })).toThrow(TypeError);
  });
});

describe('configuration errors', () => {
  it('come all at once, each with the name of its variable, in the order of the schema', () => {
    const wrong = {
      NODE_ENV: 'prod',
      PORT: '70000',
      LOG_LEVEL: 'loud',
      VOICE_THRESHOLD: 'high',
      SUPABASE_URL: 'nowhere',
    };
    expect(namesOf(problemsOf(wrong))).toEqual(['NODE_ENV', 'PORT', 'LOG_LEVEL', 'SUPABASE_URL', 'VOICE_THRESHOLD']);
  });

  it('come all at once for settings that contradict one another, too', () => {
    const contradicting = {
      NODE_ENV: 'production',
      HOST: '0.0.0.0',
      ALLOW_PRIVATE_NETWORK: 'true',
      SUPABASE_SERVICE_ROLE_KEY: KEY,
      MIN_SPEECH_MS: '9000',
      ENROLL_MIN_SPEECH_MS: '9000',
      MAX_AUDIO_DURATION: '5',
    };
    expect(namesOf(problemsOf(contradicting))).toEqual([
      'API_KEYS',
      'HOST',
      'ALLOW_PRIVATE_NETWORK',
      'SUPABASE_URL',
      'MIN_SPEECH_MS',
      'ENROLL_MIN_SPEECH_MS',
    ]);
  });

  it.each([
    'https://a.example/',
    'https://a.example/app',
    'https://a.example?x',
    'https://a.example:443',
    'https://A.example',
    'https://me@a.example',
    'https://*.a.example',
    'a.example',
    'https://',
    'blob:https://a.example',
    'app://phone/',
  ])('name an origin that no browser sends: %s', (origin) => {
    const [problem, ...more] = problemsOf({ CORS_ORIGINS: `https://b.example,${origin}` });
    expect(problem).toMatch(/^CORS_ORIGINS: must be origins as browsers send them/);
    expect(more).toEqual([]);
  });

  it.each(['*', 'null', 'https://a.example', 'http://localhost:5173', 'http://[::1]:3000', 'app://phone'])(
    'do not come for an origin that a browser may send: %s',
    (origin) => {
      expect(loadConfig({ CORS_ORIGINS: origin }).http.corsOrigins).toEqual([origin]);
    },
  );

  const BASE_URLS = ['PUBLIC_URL', 'VAPI_API_URL', 'SUPABASE_URL'];

  it.each([
    'https://a.example/?x=1',
    'https://a.example?',
    'https://a.example/#x',
    'https://me:pw@a.example',
    'https://@a.example',
  ])('name an address that paths cannot be appended to: %s', (url) => {
    for (const name of BASE_URLS) {
      expect(problemsOf({ ...SUPABASE, [name]: url })).toEqual([
        `${name}: must not have a query, a fragment, a user name or a password`,
      ]);
    }
  });

  it('name an address that is none, once', () => {
    for (const name of BASE_URLS) {
      for (const url of ['a.example', 'ftp://a.example', 'https://'])
        expect(problemsOf({ ...SUPABASE, [name]: url })).toHaveLength(1);
      expect(problemsOf({ ...SUPABASE, [name]: 'a.example' })[0]).not.toContain('query');
    }
  });

  it.each([
    ['https://a.example', 'https://a.example'],
    ['https://a.example:8443/voice/', 'https://a.example:8443/voice'],
    ['http://127.0.0.1:8000//', 'http://127.0.0.1:8000'],
  ])('do not come for the address %s', (url, expected) => {
    expect(loadConfig({ PUBLIC_URL: url }).streams.publicUrl).toBe(expected);
    expect(loadConfig({ VAPI_API_URL: url }).vapiApi.url).toBe(expected);
    expect(loadConfig({ ...SUPABASE, SUPABASE_URL: url }).storage.supabase?.url).toBe(expected);
  });

  it('give webhooks the name of the public address', () => {
    expect(loadConfig({ PUBLIC_URL: 'https://A.example:8443/voice' }).vapiWebhook.publicHost).toBe('a.example');
    expect(loadConfig({}).vapiWebhook.publicHost).toBeUndefined();
  });

  it('list every problem in the message, one per line', () => {
    const error = new ConfigurationError(['A: one', 'B: two']);
    expect(error.message.split('\n').slice(1)).toEqual(['  - A: one', '  - B: two']);
  });

  it('never repeat a value: it may be a secret in the wrong variable', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-zA-Z0-9]{12,40}$/), (text) => {
        const value = `zq${text}`;
        const everywhere = Object.fromEntries(Object.keys(ENVIRONMENT).map((name) => [name, value]));
        const problems = problemsOf(everywhere);
        expect(problems.length).toBeGreaterThan(10);
        expect(problems.join('\n')).not.toContain(value);
      }),
      { numRuns: 30 },
    );
    for (const source of [
      { SUPABASE_URL: SUPABASE.SUPABASE_URL, SUPABASE_ANON_KEY: 'anon-key-of-twenty-letters' },
      { HOST: 'host.example' },
      { SUPABASE_SERVICE_ROLE_KEY: KEY },
    ]) {
      const text = problemsOf(source).join('\n');
      expect(text).not.toBe('');
      for (const value of Object.values(source)) expect(text).not.toContain(value);
    }
  });
});

describe('the endpoint of traces', () => {
  it('is http or https, and nothing else', () => {
    for (const url of ['ftp://host.example', 'file:///tmp/traces', 'host.example']) {
      expect(namesOf(problemsOf({ OTEL_EXPORTER_OTLP_ENDPOINT: url })), url).toEqual(['OTEL_EXPORTER_OTLP_ENDPOINT']);
    }
  });

  it('says what belongs where an API key was put in the place of its hash, without the key', () => {
    const key = `vak_agent_${'x'.repeat(43)}`;
    expect(problemsOf({ API_KEYS: `agent:verify:${'0'.repeat(64)},${key}` })).toEqual([
      'API_KEYS: wants the entry that `voice-auth keys create` prints, not the key (vak_...)',
    ]);
  });

  it.each(['SUPABASE_SERVICE_ROLE_KEY', 'SUPABASE_ANON_KEY'])('says in words that %s is cut off', (name) => {
    expect(problemsOf({ [name]: 'eyJhbGciOi' })).toEqual([
      `${name}: must be the whole key, which has 20 characters or more`,
    ]);
  });
});

describe('production', () => {
  it('refuses to start without API keys and says how to make one', () => {
    const [problem, ...more] = problemsOf({ NODE_ENV: 'production' });
    expect(problem).toMatch(/^API_KEYS: .*voice-auth keys create/);
    expect(more).toEqual([]);
    expect(namesOf(problemsOf({ NODE_ENV: 'production', API_KEYS: '' }))).toEqual(['API_KEYS']);
  });

  it('refuses the development switch for private networks, also with keys', () => {
    expect(namesOf(problemsOf({ ...PRODUCTION, ALLOW_PRIVATE_NETWORK: '1' }))).toEqual(['ALLOW_PRIVATE_NETWORK']);
    expect(loadConfig({ ALLOW_PRIVATE_NETWORK: '1' }).outbound.allowPrivateNetwork).toBe(true);
  });

  it('is content with keys', () => {
    expect(loadConfig(PRODUCTION).http).toMatchObject({ host: '0.0.0.0', apiKeys: [PRODUCTION.API_KEYS] });
  });
});

describe('settings that depend on one another', () => {
  it('without API keys only loopback addresses are listened on', () => {
    for (const HOST of ['0.0.0.0', '::', '192.168.1.4', 'host.example']) {
      expect(namesOf(problemsOf({ HOST }))).toEqual(['HOST']);
      expect(problemsOf({ HOST, API_KEYS: 'a:verify:abc' })).toEqual([]);
    }
    for (const HOST of ['127.0.0.1', '::1', 'localhost']) expect(problemsOf({ HOST })).toEqual([]);
  });

  it('a list of keys without any key counts as no keys', () => {
    for (const keys of [',', ' , ']) {
      expect(namesOf(problemsOf({ NODE_ENV: 'production', API_KEYS: keys }))).toEqual(['API_KEYS']);
      expect(namesOf(problemsOf({ HOST: '0.0.0.0', API_KEYS: keys }))).toEqual(['HOST']);
      expect(namesOf(problemsOf({ ...SUPABASE, EMBEDDING_ENCRYPTION_KEYS: keys }))).toEqual([
        'EMBEDDING_ENCRYPTION_KEYS',
      ]);
    }
  });

  it('a Supabase project is only talked to over TLS, except on this machine', () => {
    for (const url of ['http://project.supabase.co', 'http://10.0.0.5:54321', 'ftp://project.supabase.co']) {
      expect(namesOf(problemsOf({ ...SUPABASE, SUPABASE_URL: url })), url).toEqual(['SUPABASE_URL']);
    }
    for (const url of ['http://127.0.0.1:54321', 'http://localhost:54321', 'http://[::1]:54321']) {
      expect(problemsOf({ ...SUPABASE, SUPABASE_URL: url }), url).toEqual([]);
    }
  });

  it('a Supabase project needs its service-role key and a key ring', () => {
    expect(loadConfig(SUPABASE).storage).toMatchObject({
      supabase: { url: SUPABASE.SUPABASE_URL, key: KEY },
      encryptionKeys: ['k1:c2VjcmV0'],
    });
    for (const name of ['SUPABASE_SERVICE_ROLE_KEY', 'EMBEDDING_ENCRYPTION_KEYS'] as const) {
      expect(namesOf(problemsOf({ ...SUPABASE, [name]: undefined }))).toEqual([name]);
    }
    for (const key of ['SUPABASE_SERVICE_ROLE_KEY', 'SUPABASE_ANON_KEY']) {
      expect(namesOf(problemsOf({ [key]: KEY }))).toEqual(['SUPABASE_URL']);
    }
  });

  it('the anon key alone is refused with the reason, unless it is insisted on', () => {
    const anon = { ...SUPABASE, SUPABASE_SERVICE_ROLE_KEY: undefined, SUPABASE_ANON_KEY: 'anon-key-of-twenty-letters' };
    const [problem, ...more] = problemsOf(anon);
    expect(problem).toMatch(/^SUPABASE_SERVICE_ROLE_KEY: .*row-level security.*ALLOW_ANON_KEY/);
    expect(more).toEqual([]);
    expect(loadConfig({ ...anon, ALLOW_ANON_KEY: 'true' }).storage.supabase?.key).toBe(anon.SUPABASE_ANON_KEY);
    expect(loadConfig({ ...anon, ...SUPABASE }).storage.supabase?.key).toBe(KEY);
  });

  it('speech that is needed must fit into the speech that is used', () => {
    expect(problemsOf({ MIN_SPEECH_MS: '5000', MAX_AUDIO_DURATION: '5' })).toEqual([]);
    expect(namesOf(problemsOf({ MIN_SPEECH_MS: '5001', MAX_AUDIO_DURATION: '5' }))).toEqual(['MIN_SPEECH_MS']);
    expect(namesOf(problemsOf({ MAX_AUDIO_DURATION: '4' }))).toEqual(['ENROLL_MIN_SPEECH_MS']);
  });

  it('adding to a voiceprint must not be easier than being accepted', () => {
    const matchThreshold = (source: Source) => loadConfig(source).enrollment.matchThreshold;
    expect(matchThreshold({})).toBe(0.82);
    expect(matchThreshold({ VOICE_THRESHOLD: '0.9' })).toBe(0.9);
    expect(matchThreshold({ ENROLL_MATCH_THRESHOLD: '0.82' })).toBe(0.82);
    expect(matchThreshold({ ENROLL_MATCH_THRESHOLD: '0.9' })).toBe(0.9);
    expect(problemsOf({ ENROLL_MATCH_THRESHOLD: '0.7' })).toEqual([
      'ENROLL_MATCH_THRESHOLD: must not be below VOICE_THRESHOLD (0.82); unset, it is that',
    ]);
    expect(namesOf(problemsOf({ VOICE_THRESHOLD: '0.9', ENROLL_MATCH_THRESHOLD: '0.89' }))).toEqual([
      'ENROLL_MATCH_THRESHOLD',
    ]);
  });
});

describe('describeEnvironment', () => {
  it('says where each value comes from', () => {
    const settings = new Map(describeEnvironment({ PORT: '9000', HOST: '' }).map((setting) => [setting.name, setting]));
    expect([...settings.keys()]).toEqual(Object.keys(ENVIRONMENT));
    expect(settings.get('PORT')).toMatchObject({ value: '9000', source: 'environment' });
    expect(settings.get('LOG_LEVEL')).toMatchObject({ value: 'info', source: 'default' });
    expect(settings.get('LISTEN_HOSTS')).toMatchObject({ value: '*.vapi.ai', source: 'default' });
    expect(settings.get('HOST')).toMatchObject({ value: '', source: 'unset' });
  });

  it('shows of secrets only that they are set', () => {
    const secrets = Object.entries<Variable>(ENVIRONMENT).filter(([, { secret }]) => secret === true);
    expect(secrets.map(([name]) => name)).toEqual([
      'API_KEYS',
      'SUPABASE_SERVICE_ROLE_KEY',
      'SUPABASE_ANON_KEY',
      'EMBEDDING_ENCRYPTION_KEYS',
      'VAPI_PUBLIC_KEY',
      'VAPI_PRIVATE_KEY',
      'VAPI_WEBHOOK_SECRET',
      'VAPI_WEBHOOK_TOKEN',
      'VAPI_WEBHOOK_HMAC_SECRET',
      'TWILIO_AUTH_TOKEN',
    ]);
    const source = Object.fromEntries(secrets.map(([name]) => [name, `hidden-value-of-${name}-1234567890`]));
    const settings = describeEnvironment(source);
    expect(JSON.stringify(settings)).not.toContain('hidden-value');
    for (const [name] of secrets) {
      expect(settings.find((setting) => setting.name === name)).toMatchObject({
        value: '(set)',
        source: 'environment',
      });
    }
  });
});

describe('the environment of the command line', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'client-environment-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('finds the development server of the data folder', () => {
    writeFileSync(join(folder, DEVELOPMENT_KEY_FILE), 'development-key\n');
    expect(clientEnvironment({ DATA_DIR: folder, PORT: '9001' })).toEqual({
      url: 'http://127.0.0.1:9001',
      apiKey: 'development-key',
      apiKeyFrom: join(folder, DEVELOPMENT_KEY_FILE),
    });
  });

  it('prefers what is named', () => {
    writeFileSync(join(folder, DEVELOPMENT_KEY_FILE), 'development-key\n');
    const named = { VOICE_AUTH_URL: 'https://auth.example', VOICE_AUTH_API_KEY: 'key' };
    expect(clientEnvironment({ ...named, DATA_DIR: folder, PORT: '9001' })).toEqual({
      url: 'https://auth.example',
      apiKey: 'key',
      apiKeyFrom: 'VOICE_AUTH_API_KEY',
    });
  });

  it('does without a key when there is none', () => {
    expect(clientEnvironment({ DATA_DIR: folder })).toEqual({
      url: 'http://127.0.0.1:8000',
      apiKey: undefined,
      apiKeyFrom: undefined,
    });
  });

  it('hands no setting of the service on to children', () => {
    const source = { PATH: '/bin', HOME: '/home/x', API_KEYS: 'a:verify:abc', SUPABASE_SERVICE_ROLE_KEY: KEY };
    expect(inheritedEnvironment(source)).toEqual({ PATH: '/bin', HOME: '/home/x' });
  });
});

describe('a number that is none', () => {
  it('is told what it must be, not what it was', () => {
    expect(problemsOf({ PORT: 'abc', MAX_UPLOAD_BYTES: '1.5', VOICE_THRESHOLD: '2' })).toEqual([
      'PORT: must be a whole number from 0 to 65535',
      'MAX_UPLOAD_BYTES: must be a whole number from 10000 to 200000000',
      'VOICE_THRESHOLD: must be a number from 0.3 to 0.9999',
    ]);
  });
});

describe('misspelledVariables', () => {
  it('finds what is a letter or two off a setting, and says which', () => {
    const source = { VOICE_TRESHOLD: '0.9', SUPABASE_SERVICE_ROL_KEY: 'x', API_KEY: 'y', trust_proxi: '1' };
    expect(misspelledVariables(source)).toEqual([
      { name: 'VOICE_TRESHOLD', meant: 'VOICE_THRESHOLD' },
      { name: 'SUPABASE_SERVICE_ROL_KEY', meant: 'SUPABASE_SERVICE_ROLE_KEY' },
      { name: 'API_KEY', meant: 'API_KEYS' },
      { name: 'trust_proxi', meant: 'TRUST_PROXY' },
    ]);
  });

  it('says nothing of settings, of the variables of the command line and of what is not ours', () => {
    const settings = Object.fromEntries(Object.keys(ENVIRONMENT).map((name) => [name, '1']));
    const others = { VOICE_AUTH_URL: 'x', VOICE_AUTH_API_KEY: 'x', PATH: 'x', SORT: 'x', NODE_ID: 'x', MODELS: 'x' };
    expect(misspelledVariables({ ...settings, ...others, VOICE_TRESHOLD: undefined })).toEqual([]);
  });
});
