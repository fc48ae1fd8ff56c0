/**
 * What is open on a server: every connection, also those that an upgrade has taken over, which Node's own
 * `closeAllConnections` no longer knows, and the answers that each of them still waits for.
 */
import type { Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

export class Connections {
  readonly #answers = new Map<Duplex, Set<ServerResponse>>();

  /** Watches `server`, which has no connections yet. */
  constructor(server: Server) {
    server.on('connection', (connection: Duplex) => {
      // A connection may begin anew, after an upgrade that was ignored.
      if (this.#answers.has(connection)) return;
      this.#answers.set(connection, new Set());
      connection.once('close', () => this.#forget(connection));
    });
    server.on('request', (request, response) => {
      const answers = this.#answers.get(request.socket);
      answers?.add(response);
      response.once('close', () => answers?.delete(response));
    });
  }

  /** Answers to requests of this connection that have not ended. */
  answersOn(connection: Duplex): readonly ServerResponse[] {
    return [...(this.#answers.get(connection) ?? [])];
  }

  /** Cuts off whatever is open. */
  destroyAll(): void {
    for (const connection of this.#answers.keys()) connection.destroy();
  }

  /** Node closes the answer whose turn it was; those that waited behind it would never hear that nobody is there. */
  #forget(connection: Duplex): void {
    const answers = this.answersOn(connection);
    this.#answers.delete(connection);
    for (const answer of answers) {
      if (answer.socket === null) answer.destroy().emit('close');
    }
  }
}
