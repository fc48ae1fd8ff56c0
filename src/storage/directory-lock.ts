/**
 * One process per data folder: two embedded databases on the same files silently lose rows. The lock is a listening
 * unix socket, because that dies with its owner, however it ends.
 *
 * Every starter listens on a socket file with a name of its own, then looks at all the others in the folder. A file that
 * refuses the connection is of a dead process and is removed: names are never used twice, so what is found dead stays
 * dead, and no starter can remove what another has just created. Because everyone is visible before looking, of two
 * starters at least one sees the other: the one with the higher name gives way. A socket file appears under its visible
 * name only when it already listens, so "refuses" cannot mean "not yet".
 */
import { createHash, randomBytes } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, realpath, rename, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Another process has the folder, or the lock cannot be taken; the message says which. */
export class DirectoryLockError extends Error {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.name = 'DirectoryLockError';
  }
}

export interface DirectoryLock {
  /** Gives the folder back. */
  release(): Promise<void>;
}

interface Contender {
  readonly name: string;
  state: 'candidate' | 'owner';
}

type Answer = { readonly state: 'dead' } | { readonly state: Contender['state']; readonly pid: number | undefined };

/** The address field of a unix socket holds 104 bytes on macOS, 108 on Linux. */
const MAX_SOCKET_PATH_BYTES = 100;
const VISIBLE = /^lock-[0-9a-f]{16}$/;
const UNFINISHED = /^lock-[0-9a-f]{16}\.new$/;
const ANSWER_TIMEOUT_MS = 1_000;
const GIVE_WAY_TIMEOUT_MS = 5_000;
const POLL_MS = 20;
const MAX_APPEARANCES = 5;

/** Takes the lock of an existing folder. Throws `DirectoryLockError` when a live process has it. */
export async function lockDirectory(folder: string): Promise<DirectoryLock> {
  const socketDir = await socketDirectory(await realpath(folder));
  const { contender, server } = await appear(socketDir);
  const release = async () => {
    await unlink(join(socketDir, contender.name)).catch(() => undefined);
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  try {
    for (const name of await readdir(socketDir)) {
      if (VISIBLE.test(name) && name !== contender.name) await passBy(socketDir, name, contender, folder);
      else if (UNFINISHED.test(name)) await removeIfDead(join(socketDir, name));
    }
    await lstat(join(socketDir, contender.name));
  } catch (error) {
    await release();
    if (error instanceof DirectoryLockError) throw error;
    throw new DirectoryLockError(`The lock of ${folder} could not be taken`, { cause: error });
  }
  contender.state = 'owner';
  return { release };
}

/** Returns when the other one is dead or has given way; throws when it has the folder or goes first. */
async function passBy(socketDir: string, name: string, contender: Contender, folder: string): Promise<void> {
  const path = join(socketDir, name);
  const deadline = Date.now() + GIVE_WAY_TIMEOUT_MS;
  for (;;) {
    const answer = await ask(path);
    if (answer.state === 'dead') {
      await unlink(path).catch(ignoreMissing);
      return;
    }
    if (answer.state === 'owner' || name < contender.name || Date.now() > deadline) {
      const who = answer.pid === undefined ? 'Another process' : `Another process (pid ${answer.pid})`;
      throw new DirectoryLockError(
        `${who} is using the data folder ${folder}; stop it, or set DATA_DIR to another folder`,
      );
    }
    await delay(POLL_MS);
  }
}

async function removeIfDead(path: string): Promise<void> {
  if ((await ask(path)).state === 'dead') await unlink(path).catch(ignoreMissing);
}

/** Another starter may take our socket file for a dead one's before it listens; then there is a new one. */
async function appear(socketDir: string): Promise<{ readonly contender: Contender; readonly server: Server }> {
  for (let attempt = 1; ; attempt++) {
    const contender: Contender = { name: `lock-${randomBytes(8).toString('hex')}`, state: 'candidate' };
    try {
      return { contender, server: await listen(socketDir, contender) };
    } catch (error) {
      const { code = 'unknown error' } = error as NodeJS.ErrnoException;
      if (code === 'EACCES') {
        const remedy = 'give it to the user that runs the server, or set DATA_DIR';
        throw new DirectoryLockError(`${socketDir} cannot be written to (EACCES): ${remedy}`, { cause: error });
      }
      if (attempt < MAX_APPEARANCES) continue;
      throw new DirectoryLockError(`The lock in ${socketDir} could not be created (${code})`, { cause: error });
    }
  }
}

async function listen(socketDir: string, contender: Contender): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(`${contender.state} ${process.pid}\n`);
  });
  const unfinished = join(socketDir, `${contender.name}.new`);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(unfinished, resolve);
    });
    await rename(unfinished, join(socketDir, contender.name));
  } catch (error) {
    server.close();
    throw error;
  }
  // The lock must not keep a process alive that has nothing else to do.
  server.unref();
  return server;
}

/** Only a refused or missing socket is dead. Whoever listens but does not answer counts as owner: it may be busy. */
function ask(path: string): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let text = '';
    const settle = (answer: Answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setEncoding('utf8');
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => settle({ state: 'owner', pid: undefined }));
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('end', () => {
      const match = /^(candidate|owner) (\d+)\n$/.exec(text);
      settle({ state: match?.[1] === 'candidate' ? 'candidate' : 'owner', pid: match ? Number(match[2]) : undefined });
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const dead = error.code === 'ECONNREFUSED' || error.code === 'ENOENT';
      settle(dead ? { state: 'dead' } : { state: 'owner', pid: undefined });
    });
  });
}

/** The folder itself, or, when its path is too long for a socket, a private one in the system's temporary folder. */
async function socketDirectory(folder: string): Promise<string> {
  if (fits(folder)) return folder;
  const digest = createHash('sha256').update(folder).digest('hex').slice(0, 24);
  const directory = join(await realpath(tmpdir()), `voice-auth-${digest}`);
  if (!fits(directory))
    throw new DirectoryLockError(`The path ${folder} is too long to lock; set DATA_DIR to a shorter one`);
  await mkdir(directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const found = await lstat(directory);
  if (!found.isDirectory() || found.uid !== userInfo().uid) {
    throw new DirectoryLockError(`${directory} belongs to somebody else: the data folder cannot be locked`);
  }
  await chmod(directory, 0o700);
  return directory;
}

function fits(directory: string): boolean {
  return Buffer.byteLength(join(directory, 'lock-0123456789abcdef.new')) <= MAX_SOCKET_PATH_BYTES;
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
