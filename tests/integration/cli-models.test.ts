/** `voice-auth models` as people run it: the built command, its own process, its exit code and its words. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inheritedEnvironment } from '../../src/config/client-environment.js';
import { builtModule } from '../support/built.js';
import { type FileServer, fileServer, serve } from '../support/file-server.js';
import {
  type ModelFolder,
  modelFolder,
  SHIPPED_MODEL_ID,
  TOY_NETWORK_ID,
  toyNetwork,
  toyNetworkFolder,
} from '../support/model-folder.js';
import { toyCalibration } from '../support/toy-models.js';

/** The one model of the registry whose size and checksum are not published: any file may claim to be it. */
const UNPINNED = 'redimnet-b2-vox2';
const MAIN = fileURLToPath(builtModule('cli/main.js'));

let modelsDir: string;
const folders: ModelFolder[] = [];
let server: FileServer;
beforeEach(async () => {
  modelsDir = mkdtempSync(join(tmpdir(), 'voice-auth-cli-'));
  server = await fileServer(serve(readFileSync(toyNetwork('waveform'))));
});
afterEach(async () => {
  await server.close();
  rmSync(modelsDir, { recursive: true, force: true });
  for (const folder of folders.splice(0)) folder.remove();
});

const environment = (dir: string) => ({ ...inheritedEnvironment(), MODELS_DIR: dir, ALLOW_PRIVATE_NETWORK: 'true' });

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function models(args: readonly string[], dir = modelsDir): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, 'models', ...args], { env: environment(dir) }, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err });
    });
  });
}

function folder(made: ModelFolder): string {
  folders.push(made);
  return made.modelsDir;
}

describe('models pull', () => {
  it('downloads, tries the graph, and says what was pinned, what is not established and what is next', async () => {
    const { code, out, err } = await models(['pull', UNPINNED, '--from', `${server.url}/toy.onnx`]);
    expect([code, err]).toEqual([0, expect.stringContaining('ReDimNet-B2')]);
    expect(out).toMatch(/redimnet-b2-vox2: installed in .*pinned from now on.*Not established: .*voice-auth cohort/s);
    expect(readdirSync(modelsDir)).toEqual([UNPINNED]);

    const listed = await models(['list', '--json']);
    const { installed, available } = JSON.parse(listed.out) as Record<string, { id: string }[]>;
    expect(installed?.map(({ id }) => id)).toEqual([UNPINNED]);
    expect(available?.map(({ id }) => id)).toContain('wespeaker-ecapa512-lm');
    expect((await models(['list'])).out).toMatch(/redimnet-b2-vox2 .*needs cohort and calibration/);
  });

  it('brings a file from this machine, and refuses what is not a model', async () => {
    expect(await models(['pull', UNPINNED, '--from', toyNetwork('waveform')])).toMatchObject({ code: 0 });
    rmSync(join(modelsDir, UNPINNED), { recursive: true });
    writeFileSync(join(modelsDir, 'page.html'), '<html>Not found</html>');
    const { code, err } = await models(['pull', UNPINNED, '--from', join(modelsDir, 'page.html')]);
    expect([code, err]).toEqual([1, expect.stringMatching(/InferenceUnavailable: .*do not start/)]);
    // Nothing vouches for what came, so nothing of it stays in the way of the right file.
    expect(readdirSync(modelsDir)).toEqual(['page.html']);
    expect(await models(['pull', UNPINNED, '--from', toyNetwork('waveform')])).toMatchObject({ code: 0 });
    expect(readFileSync(join(modelsDir, UNPINNED, 'model.onnx'))).toEqual(readFileSync(toyNetwork('waveform')));
  });

  it('goes on after it was killed, and until then there is no package', async () => {
    const body = readFileSync(toyNetwork('waveform'));
    server.handler = (_, response) => {
      response.writeHead(200, { 'content-length': body.length, etag: '"v1"' });
      response.write(body.subarray(0, 1000));
    };
    const args = ['models', 'pull', UNPINNED, '--from', `${server.url}/toy.onnx`];
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: environment(modelsDir),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      // Said as soon as the first bytes have been written.
      if (said.includes('% of')) child.kill('SIGKILL');
    });
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
    expect(signal).toBe('SIGKILL');
    expect(existsSync(join(modelsDir, UNPINNED))).toBe(false);
    expect((await models(['list', '--json'])).out).toContain('"installed":[]');

    server.handler = serve(body);
    expect(await models(args.slice(1))).toMatchObject({
      code: 0,
      err: expect.stringContaining('Going on after 1000 bytes'),
    });
    expect(server.requests[1]?.headers.range).toBe('bytes=1000-');
    expect(readFileSync(join(modelsDir, UNPINNED, 'model.onnx'))).toEqual(body);
  });

  it.each([
    [['pull', 'no-such-model'], /no model "no-such-model" to pull; there are .*wespeaker/],
    [['pull', UNPINNED, '--from', 'nowhere.onnx'], /neither a file nor an https URL/],
    [['pull', UNPINNED, '--sha256', 'abc'], /64 hexadecimal digits/],
    [['pull', UNPINNED, '--sha256', '0'.repeat(64), '--from', toyNetwork('waveform')], /not the one that is wanted/],
    [['use', 'no-such-model'], /voice-auth models pull no-such-model/],
  ])('and use refuse in one line: %j', async (args, message) => {
    const { code, out, err } = await models(args);
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(message);
    expect(err).not.toMatch(/^\s+at /m);
  });
});

it('models list names its column after what is in it, and says where each rate is explained', async () => {
  const { out } = await models(['list'], folder(modelFolder()));
  expect(out).toMatch(/^ *model +size +EER, lowest - highest test +licence *$/m);
  expect(out).toContain('What each is of: errorRates in manifest.json of an installed model, docs/models.md');
});

describe('models use', () => {
  it('says what to set, and what becomes of voiceprints', async () => {
    const dir = folder(toyNetworkFolder('features'));
    const calibration = toyCalibration({ modelId: TOY_NETWORK_ID });
    writeFileSync(join(dir, TOY_NETWORK_ID, 'calibration.json'), JSON.stringify(calibration));
    const { code, out } = await models(['use', TOY_NETWORK_ID], dir);
    expect(code).toBe(0);
    expect(out).toContain(`MODEL_ID=${TOY_NETWORK_ID}`);
    expect(out).toContain(`MODELS_DIR=${dir}`);
    expect(out).toMatch(/409 VoiceprintModelMismatch.*--replace-model/s);
  });

  it('refuses a model without cohort and calibration, and says how they are made', async () => {
    const { code, err } = await models(['use', TOY_NETWORK_ID], folder(toyNetworkFolder('features', { raw: true })));
    expect(code).toBe(1);
    expect(err).toMatch(/cannot be used yet.*voice-auth cohort.*voice-auth calibrate/s);
  });

  it('refuses a calibration of another model, or that is none', async () => {
    const dir = folder(toyNetworkFolder('features'));
    writeFileSync(join(dir, TOY_NETWORK_ID, 'calibration.json'), '{"of":"a test"}');
    expect(await models(['use', TOY_NETWORK_ID], dir)).toMatchObject({
      code: 1,
      err: expect.stringContaining('calibration.json: is no calibration'),
    });
    writeFileSync(join(dir, TOY_NETWORK_ID, 'calibration.json'), JSON.stringify(toyCalibration()));
    const { code, err } = await models(['use', TOY_NETWORK_ID], dir);
    expect([code, err]).toEqual([1, expect.stringContaining('belongs to another model')]);
  });

  it('refuses a damaged package', async () => {
    const dir = folder(modelFolder());
    writeFileSync(join(dir, SHIPPED_MODEL_ID, 'cohort.f32'), 'damaged');
    const { code, err } = await models(['use', SHIPPED_MODEL_ID], dir);
    expect([code, err]).toEqual([1, expect.stringContaining('cohort.f32: has 7 bytes')]);
    expect(await models(['verify', SHIPPED_MODEL_ID], dir)).toMatchObject({
      code: 1,
      out: expect.stringContaining('has 7 bytes'),
    });
  });
});
