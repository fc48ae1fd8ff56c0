/** Runs a server as a process of its own, for the demo, the benchmarks and the tests: real signals, real crash, real HTTP. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { inheritedEnvironment } from '../config/client-environment.js';

export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** Everything it has written so far, standard output and standard error together. */
  output(): string;
  /** Sends a signal and waits for the end; the exit code, or the name of the signal that killed it. */
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>;
}

export interface ServerProcessOptions {
  /** Variables for the server; of this process's environment only PATH, HOME and TMPDIR go along. */
  readonly environment: Readonly<Record<string, string>>;
  /** Options of Node itself, e.g. `--cpu-prof`; its forked processes inherit them. */
  readonly nodeOptions?: readonly string[];
  /** The compiled command line; tests that run TypeScript sources name it. */
  readonly mainModule?: URL;
  readonly startTimeoutMs?: number;
}

/** Grace period, giving up and closing parts together stay below this. */
const STOP_TIMEOUT_MS = 120_000;

/**
 * Starts `voice-auth serve` and waits until it listens. LOG_LEVEL must be `info` or lower (default), because the log says
 * the port. Rejects with the server's output when it ends first or takes too long.
 */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const main = fileURLToPath(options.mainModule ?? new URL('./main.js', import.meta.url));
  const child = spawn(process.execPath, [...(options.nodeOptions ?? []), main, 'serve'], {
    env: { ...inheritedEnvironment(), PORT: '0', ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const written: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => written.push(text));
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const port = await listeningPort(child, written, options.startTimeoutMs ?? 60_000);
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    output: () => written.join(''),
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      const hung = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      const [code, killedBy] = await exited;
      clearTimeout(hung);
      return code ?? killedBy ?? 1;
    },
  };
}

function listeningPort(child: ChildProcess, written: string[], timeoutMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new Error(`the server ${why}:\n${written.join('')}`));
    };
    const timer = setTimeout(() => fail(`did not listen within ${timeoutMs} ms`), timeoutMs);
    const onExit = (code: number | null) => fail(`ended with code ${code}`);
    child.once('exit', onExit);
    if (!child.stdout) return fail('has no output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      written.push(`${line}\n`);
      const port = /"event":"listening","port":(\d+)/.exec(line)?.[1];
      if (port === undefined) return;
      clearTimeout(timer);
      child.off('exit', onExit);
      resolve(Number(port));
    });
  });
}
