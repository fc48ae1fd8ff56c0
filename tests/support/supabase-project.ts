/**
 * A Supabase project on this machine: the functions of the migrations behind PostgREST's address, over real HTTP, for any
 * number of server processes. Unlike a real one it can be taken away, and lose an answer, at a given moment.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { EmbeddedDatabase } from '../../src/storage/embedded/embedded-database.js';
import { createPostgrestShim } from '../../src/storage/postgrest-shim.js';
import { createEncryptionKeyEntry } from '../../src/storage/template-cipher.js';
import { openTestDatabase, temporaryFolder } from './embedded-storage.js';

export class SupabaseProject {
  /** What a server needs to use it. */
  readonly environment: Readonly<Record<string, string>>;
  /** Must not appear in logs or traces. */
  readonly secrets: readonly string[];
  readonly #http: Server;
  readonly #database: EmbeddedDatabase;
  readonly #removeFolder: () => Promise<void>;
  readonly #answer: typeof fetch;
  #away = false;
  #refused = 0;
  #loseAnswerOf: string | undefined;

  private constructor(parts: { http: Server; database: EmbeddedDatabase; removeFolder: () => Promise<void> }) {
    this.#http = parts.http;
    this.#database = parts.database;
    this.#removeFolder = parts.removeFolder;
    this.#answer = createPostgrestShim(parts.database);
    const key = randomBytes(24).toString('hex');
    const encryptionKey = createEncryptionKeyEntry();
    this.secrets = [key, encryptionKey.slice(encryptionKey.indexOf(':') + 1)];
    this.environment = {
      SUPABASE_URL: `http://127.0.0.1:${(parts.http.address() as AddressInfo).port}`,
      SUPABASE_SERVICE_ROLE_KEY: key,
      EMBEDDING_ENCRYPTION_KEYS: encryptionKey,
    };
    parts.http.on('request', (request, response) => void this.#serve(request, response));
  }

  /** A new project, with all migrations. */
  static async start(): Promise<SupabaseProject> {
    const folder = await temporaryFolder();
    const database = await openTestDatabase(folder.path);
    const http = createServer().listen(0, '127.0.0.1');
    await once(http, 'listening');
    return new SupabaseProject({ http, database, removeFolder: folder.remove });
  }

  /** Requests that were not answered since it was taken away. */
  get refused(): number {
    return this.#refused;
  }

  /** From now on every connection is cut. */
  takeAway(): void {
    this.#away = true;
    this.#refused = 0;
    this.#http.closeAllConnections();
  }

  bringBack(): void {
    this.#away = false;
  }

  /** The next call of this function is carried out, but whoever called it does not hear of that. */
  loseAnswerOf(name: string): void {
    this.#loseAnswerOf = name;
  }

  /** Whether the answer is still to be lost. */
  get losesAnswer(): boolean {
    return this.#loseAnswerOf !== undefined;
  }

  async close(): Promise<void> {
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, 'close');
    await this.#database.close();
    await this.#removeFolder();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#away) {
      this.#refused++;
      request.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(request, 'end');
    const path = request.url ?? '';
    const answer = await this.#answer(`http://project.invalid${path}`, {
      method: request.method ?? 'POST',
      body: Buffer.concat(chunks),
    });
    const text = await answer.text();
    if (this.#away || path.endsWith(`/${this.#loseAnswerOf}`)) {
      this.#loseAnswerOf = undefined;
      response.destroy();
      return;
    }
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text);
  }
}
