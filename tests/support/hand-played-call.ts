/**
 * A listen socket whose audio is sent by hand: nothing of the call passes by itself, so a test decides what happens before
 * what, however slow the machine is. 16 kHz stereo, announced by a start frame, caller on channel 0.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { encodeS16le } from '../../src/audio/pcm.js';
import { VOICE_RATE_HZ } from './voices.js';

const START = JSON.stringify({
  type: 'start',
  encoding: 'linear16',
  container: 'raw',
  sampleRate: VOICE_RATE_HZ,
  channels: 2,
});
const FRAME_SAMPLES = VOICE_RATE_HZ / 50;

export class HandPlayedCall {
  /** A secret, as all listen URLs are. */
  readonly url: string;
  readonly #http: Server;
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  readonly #listeners: WebSocket[] = [];
  #connections = 0;

  private constructor(http: Server) {
    this.#http = http;
    this.url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}/hand-played/listen`;
    http.on('upgrade', (request, connection, head) => {
      this.#sockets.handleUpgrade(request, connection, head, (socket) => {
        this.#connections++;
        this.#listeners.push(socket);
        socket.on('close', () => this.#listeners.splice(this.#listeners.indexOf(socket), 1));
        socket.send(START);
      });
    });
  }

  /** Listens on a free port. */
  static async start(): Promise<HandPlayedCall> {
    const http = createServer((_request, response) => response.writeHead(426).end()).listen(0, '127.0.0.1');
    await once(http, 'listening');
    return new HandPlayedCall(http);
  }

  /** How often it has been connected to so far. */
  get connections(): number {
    return this.#connections;
  }

  /** How many listen at present. */
  get listeners(): number {
    return this.#listeners.length;
  }

  /** The caller says this to all who listen now, without taking the time: no more than six seconds at once. */
  say(caller: Float32Array): void {
    if (this.#listeners.length === 0) throw new Error('nobody listens to the call');
    for (let at = 0; at < caller.length; at += FRAME_SAMPLES) {
      const heard = caller.subarray(at, at + FRAME_SAMPLES);
      const bytes = encodeS16le([heard, new Float32Array(heard.length)]);
      for (const socket of this.#listeners) socket.send(bytes);
    }
  }

  /** Ends the audio with a close frame. */
  hangUp(): void {
    for (const socket of this.#listeners) socket.close(1000);
  }

  /** Ends the call and the listening port. */
  async close(): Promise<void> {
    for (const socket of this.#listeners) socket.terminate();
    this.#http.close();
    await once(this.#http, 'close');
  }
}
