/** The files for containers and hosting platforms, checked as far as that goes without a container engine. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/config.js';
import { ENVIRONMENT, type Variable } from '../../src/config/environment.js';
import { createOperations, metricsOperation } from '../../src/http/operations.js';
import { builtModule } from '../support/built.js';
import { copiesOf, parseDockerfile } from '../support/dockerfile.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string) => readFileSync(ROOT + path, 'utf8');

interface ComposeService {
  readonly image: string;
  readonly profiles?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks: readonly string[];
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly stop_grace_period?: string;
  readonly healthcheck?: { readonly test: readonly string[] };
}
interface Compose {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: object;
  readonly networks: object;
}

const dockerfile = parseDockerfile(read('Dockerfile'));
const copies = copiesOf(dockerfile);
const lastStage = dockerfile.at(-1)!.stage;
const last = (keyword: string) => dockerfile.filter((entry) => entry.stage === lastStage && entry.keyword === keyword);
const words = (text: string): string[] => JSON.parse(text);
const compose: Compose = parse(read('docker-compose.yml'), { merge: true });
const services = Object.entries(compose.services);
const service = compose.services['voice-auth']!;
const defaults = loadConfig({});
/** Longest the server takes to stop: the grace period, then giving up and closing parts, each within 5 s or so. */
const STOP_SECONDS = defaults.shutdownGraceMs / 1000 + 20;
const ENTRY = { API_KEYS: `agent:verify:${'a'.repeat(64)}` };

const operations = [
  ...Object.values(createOperations({ configuredThreshold: 0.82, maxListenSeconds: 65 })),
  metricsOperation(true),
];
const publicPaths = operations.filter(({ access }) => access === 'public').map(({ path }) => path);

describe('Dockerfile', () => {
  it('copies only what exists and what .dockerignore lets through', () => {
    const [first, ...allowed] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(first).toBe('*');
    const sources = copies.filter(({ from }) => from === undefined).flatMap((copy) => copy.sources);
    expect(sources.length).toBeGreaterThan(10);
    const letThrough = (path: string) => allowed.some((line) => `${path}/`.startsWith(`${line.slice(1)}/`));
    for (const source of sources.map((path) => path.replace(/\/$/, ''))) {
      expect(existsSync(ROOT + source), source).toBe(true);
      expect(letThrough(source), `${source} in .dockerignore`).toBe(true);
    }
    for (const secret of ['.env', 'data', 'node_modules', 'dist', '.git', 'tests']) {
      expect(letThrough(secret), secret).toBe(false);
    }
    for (const line of allowed) expect(existsSync(ROOT + line.slice(1)), line).toBe(true);
  });

  it('copies from earlier stages what was put there', () => {
    const stages = [...new Set(dockerfile.map(({ stage }) => stage))];
    for (const { stage, from, sources } of copies) {
      if (from === undefined) continue;
      expect(stages.slice(0, stages.indexOf(stage))).toContain(from);
      const made = ['node_modules', 'dist'];
      for (const source of sources.map((path) => path.replace(/^\/app\/(.*?)\/?$/, '$1'))) {
        const copied = copies.some(
          (copy) => copy.stage === from && copy.sources.some((path) => path.startsWith(source)),
        );
        expect(copied || made.includes(source), source).toBe(true);
      }
    }
  });

  it('ends in a stage without compiler that runs the built command line as an unprivileged user', () => {
    expect(last('USER').map(({ text }) => text)).toEqual(['node']);
    const [program, main, verb] = words(last('CMD')[0]!.text);
    expect([program, verb]).toEqual(['node', 'serve']);
    expect(existsSync(fileURLToPath(builtModule(main!.replace('/app/dist/', ''))))).toBe(true);
    expect(last('FROM')[0]!.text).not.toMatch(/alpine/);
    const installed = last('RUN').map(({ text }) => text);
    expect(installed.join('\n')).not.toMatch(/build-essential|g\+\+|python|npm (ci|install)/);
  });

  it('starts programs directly, so that signals reach them', () => {
    const entrypoint = words(last('ENTRYPOINT')[0]!.text);
    const check = words(last('HEALTHCHECK')[0]!.text.replace(/^.*? CMD /, ''));
    for (const path of [...entrypoint, ...check].filter((word) => word.startsWith('/app/'))) {
      const file = path.slice('/app/'.length);
      expect(
        copies.some((copy) => copy.stage === lastStage && copy.sources.includes(file)),
        file,
      ).toBe(true);
    }
    const script = entrypoint.at(-1)!.slice('/app/'.length);
    expect(statSync(ROOT + script).mode & 0o111, `${script} is executable`).toBe(0o111);
    expect(read(script).trimEnd().split('\n').at(-1)).toBe('exec "$@"');
  });

  it('keeps to what Railway takes: no VOLUME, no cache mounts', () => {
    expect(dockerfile.filter(({ keyword, text }) => keyword === 'VOLUME' || text.includes('--mount'))).toEqual([]);
  });

  it('exposes the default port and has the settings of production', () => {
    expect(last('EXPOSE').map(({ text }) => text)).toEqual([String(defaults.http.port)]);
    const settings = Object.fromEntries(
      last('ENV').flatMap(({ text }) => text.split(' ').map((pair) => pair.split('='))),
    );
    expect(settings.NODE_ENV).toBe('production');
    expect(loadConfig({ ...settings, ...ENTRY })).toMatchObject({
      http: { host: '0.0.0.0' },
      storage: { dataDir: '/data' },
    });
  });
});

describe('docker-compose.yml', () => {
  it('mounts files that exist and volumes that are declared', () => {
    for (const [name, { volumes = [] }] of services) {
      for (const [source = '', , mode] of volumes.map((volume) => volume.split(':'))) {
        if (!source.startsWith('./')) expect(Object.keys(compose.volumes), name).toContain(source);
        else expect([source, existsSync(ROOT + source), mode]).toEqual([source, true, 'ro']);
      }
    }
    expect(services.flatMap(([, { networks }]) => networks).filter((name) => !(name in compose.networks))).toEqual([]);
  });

  it('publishes on loopback only, except for the proxy with TLS', () => {
    for (const [name, { ports = [], profiles = [] }] of services) {
      if (profiles.includes('tls')) expect(ports).toEqual(['80:80', '443:443']);
      else for (const port of ports) expect(port, name).toMatch(/^127\.0\.0\.1:/);
    }
  });

  it('takes rights away from every container and pins its image', () => {
    for (const [name, { read_only, cap_drop, security_opt, image }] of services) {
      expect({ name, read_only, cap_drop, security_opt }).toEqual({
        name,
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
      });
      expect(image).toMatch(/:(local|v?\d+\.\d+\.\d+)/);
    }
  });

  it('insists on API keys and a password for Grafana, and lets nobody in without', () => {
    expect(service.environment?.API_KEYS).toMatch(/^\$\{API_KEYS:\?.+\}$/);
    expect(compose.services.grafana!.environment).toMatchObject({
      GF_SECURITY_ADMIN_PASSWORD: expect.stringMatching(/^\$\{GRAFANA_ADMIN_PASSWORD:\?.+\}$/),
      GF_AUTH_ANONYMOUS_ENABLED: 'false',
      GF_USERS_ALLOW_SIGN_UP: 'false',
    });
  });

  it('gives the service settings that it accepts, and its data a volume', () => {
    const config = loadConfig({ ...service.environment, ...ENTRY });
    expect(config.http.host).toBe('0.0.0.0');
    expect(service.environment?.NODE_ENV).toBe('production');
    const folders = service.volumes!.map((volume) => volume.split(':')[1]);
    expect(folders).toContain(config.storage.dataDir);
    const unknown = Object.keys(service.environment!).filter((name) => !(name in ENVIRONMENT));
    expect(unknown).toEqual(['GRAFANA_ADMIN_PASSWORD']);
    expect(service.environment!.GRAFANA_ADMIN_PASSWORD).toBe('');
  });

  it('waits for the service to stop', () => {
    expect(Number(/^(\d+)s$/.exec(service.stop_grace_period!)![1])).toBeGreaterThanOrEqual(STOP_SECONDS);
  });

  it('names one port everywhere', () => {
    const port = service.environment!.PORT!;
    expect(port).toBe(String(defaults.http.port));
    expect(service.ports!.map((text) => text.split(':').at(-1))).toEqual([port]);
    expect(read('deploy/caddy/Caddyfile')).toContain(`reverse_proxy voice-auth:${port}\n`);
    const prometheus = parse(read('deploy/prometheus/prometheus.yml'));
    expect(prometheus.scrape_configs[0].static_configs[0].targets).toEqual([`voice-auth:${port}`]);
  });

  it('has Prometheus scrape what is there, and the proxy hide it', () => {
    const { scrape_configs, rule_files } = parse(read('deploy/prometheus/prometheus.yml'));
    expect(publicPaths).toContain(scrape_configs[0].metrics_path);
    const mounted = compose.services.prometheus!.volumes!.map((volume) => volume.split(':')[1]);
    for (const file of rule_files) expect(mounted).toContain(`/etc/prometheus/${file}`);
    expect(read('deploy/caddy/Caddyfile')).toContain(`@internal path ${scrape_configs[0].metrics_path} `);
  });
});

describe('railway.json', () => {
  const { build, deploy } = JSON.parse(read('railway.json'));

  it('builds the Dockerfile and asks a public path for health', () => {
    expect(build).toMatchObject({ builder: 'DOCKERFILE', dockerfilePath: 'Dockerfile' });
    expect(existsSync(ROOT + build.dockerfilePath)).toBe(true);
    expect(publicPaths).toContain(deploy.healthcheckPath);
  });

  it('gives time to stop, in numbers, as its parser wants them', () => {
    expect(deploy.drainingSeconds).toBeGreaterThanOrEqual(STOP_SECONDS);
    expect(typeof deploy.healthcheckTimeout).toBe('number');
  });
});

describe('render.yaml', () => {
  const { services: rendered } = parse(read('render.yaml'));
  const [web] = rendered;
  const variables: readonly { key: string; value?: string; sync?: boolean }[] = web.envVars;
  const values = Object.fromEntries(variables.flatMap(({ key, value }) => (value === undefined ? [] : [[key, value]])));

  it('builds the Dockerfile, asks a public path for health, gives time to stop', () => {
    expect(web).toMatchObject({ type: 'web', runtime: 'docker', dockerfilePath: './Dockerfile' });
    expect(publicPaths).toContain(web.healthCheckPath);
    expect(web.maxShutdownDelaySeconds).toBeGreaterThanOrEqual(STOP_SECONDS);
    expect(web.maxShutdownDelaySeconds).toBeLessThanOrEqual(300);
  });

  it('declares secrets without setting them, and sets the rest to strings that the service accepts', () => {
    for (const { key, value, sync } of variables) {
      const variable: Variable | undefined = ENVIRONMENT[key as keyof typeof ENVIRONMENT];
      expect(variable, key).toBeDefined();
      if (value === undefined) expect(sync, key).toBe(false);
      else expect([key, typeof value, variable?.secret]).toEqual([key, 'string', undefined]);
    }
    const config = loadConfig({ NODE_ENV: 'production', PORT: '10000', ...values, ...ENTRY });
    expect(config.http).toMatchObject({ trustProxy: 1, metricsPublic: false, port: 10_000, host: '0.0.0.0' });
  });

  it('keeps the data on the disk', () => {
    expect(`${values.DATA_DIR}/`).toMatch(new RegExp(`^${web.disk.mountPath}/`));
  });
});
