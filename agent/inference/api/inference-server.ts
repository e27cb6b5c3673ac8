// The local inference API: Open Inference Protocol v2 over HTTP, on loopback TCP and/or a unix
// socket. It uses node:http alone, because latency and memory are budgeted here. Promises: bodies,
// connections and transfer times are limited; web pages of other sites are refused; every refusal
// is {"error", "code"} with the status of the fault registry, also of what is not HTTP or comes too
// slowly; every answer names the release that made it, in
// `Linnet-Release: component@version#digest` and in the body; closing loses no request that was
// received. The meaning of paths is router.ts, of bodies open-inference.ts; running a
// request is the engine's.
import assert from 'node:assert/strict';
import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { Fault, systemCode } from '../../../shared/base/fault-codes.js';
import type { Clock, Log } from '../../../shared/base/interfaces.js';
import { answerParserError } from '../../../shared/platform/http-parser-errors.js';
import { listening } from '../../../shared/platform/listen.js';
import type { Engine } from '../engine/engine.js';
import { limitsWith, type InferenceLimits } from '../inference-limits.js';
import { BodyIntake } from './request-body.js';
import { RequestOrigin } from './request-origin.js';
import { Responses } from './responses.js';
import { Router, type Route } from './router.js';
import { ServedModel } from './served-model.js';

export interface InferenceServerOptions {
  /** By component, which is the model's name in the protocol. */
  readonly engines: ReadonlyMap<string, Engine>;
  readonly clock: Clock;
  readonly log: Log;
  /** Of the agent, for the server metadata. */
  readonly version: string;
  /**
   * Port 0 takes any free port. `hostNames`: names other than loopback names and `host` by which
   * clients may address this device.
   */
  readonly tcp?: {
    readonly host: string;
    readonly port: number;
    readonly hostNames?: readonly string[];
  };
  /** Path of a unix socket; only its owner and group may connect. */
  readonly unix?: string;
  readonly limits?: Partial<InferenceLimits>;
}

export interface InferenceServerAddress {
  readonly tcp: { readonly host: string; readonly port: number } | null;
  readonly unix: string | null;
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/** Fixed by unix(7): sun_path holds 108 bytes with its terminator. */
const UNIX_PATH_MAX_BYTES = 107;

const NO_HOST = new Fault('message_undecodable', 'an HTTP/1.1 request must have a Host header');

export class InferenceServer {
  readonly #options: InferenceServerOptions;
  readonly #limits: InferenceLimits;
  readonly #models: ReadonlyMap<string, ServedModel>;
  readonly #router: Router<ServedModel>;
  readonly #bodies: BodyIntake;
  readonly #responses: Responses;
  #servers: Server[] = [];

  constructor(options: InferenceServerOptions) {
    assert(options.tcp !== undefined || options.unix !== undefined, 'an address to listen on');
    this.#options = options;
    this.#limits = limitsWith(options.limits);
    this.#models = new Map(
      [...options.engines].map(([name, engine]) => [name, new ServedModel(engine, this.#limits)]),
    );
    this.#router = new Router(this.#models);
    this.#bodies = new BodyIntake(this.#limits);
    const { clock, log } = options;
    this.#responses = new Responses({ clock, log, transferMs: this.#limits.requestTransferMs });
  }

  /**
   * Faults: `port_in_use` names the address; `config_invalid` for an address that cannot be
   * listened on. After a fault nothing listens.
   */
  async listen(): Promise<InferenceServerAddress> {
    const { tcp, unix, log } = this.#options;
    try {
      const address = {
        tcp: tcp === undefined ? null : await this.#listenTcp(tcp),
        unix: unix ?? null,
      };
      if (unix !== undefined) await this.#listenUnix(unix);
      log.info(address, 'the inference API listens');
      return address;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #listenTcp({
    host,
    port,
    hostNames = [],
  }: NonNullable<InferenceServerOptions['tcp']>): Promise<{ host: string; port: number }> {
    // The port is known only when the server listens, which is before the first request.
    let origin: RequestOrigin | null = null;
    const server = this.#server((request, response) => {
      try {
        origin?.check(request.headers);
      } catch (error) {
        this.#responses.refuse(response, error, true);
        return;
      }
      this.#handle(request, response);
    });
    await listening(server, `${host}:${port}`, () => server.listen({ host, port }));
    const address = { host, port: (server.address() as AddressInfo).port };
    origin = new RequestOrigin({ ...address, hostNames });
    return address;
  }

  async #listenUnix(path: string): Promise<void> {
    if (Buffer.byteLength(path) > UNIX_PATH_MAX_BYTES)
      throw new Fault(
        'config_invalid',
        `unix socket path ${path} is longer than ${UNIX_PATH_MAX_BYTES} bytes`,
      );
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found !== undefined && !found.isSocket())
      throw new Fault('config_invalid', `${path} exists and is not a unix socket; remove it`);
    // A socket file outlives a killed process; it is in use only when a process accepts on it.
    if (found !== undefined && (await nobodyListens(path))) rmSync(path);
    const server = this.#server((request, response) => this.#handle(request, response));
    await listening(server, path, () => server.listen({ path }));
    chmodSync(path, 0o660);
  }

  #server(listener: Listener): Server {
    const { requestTransferMs, connectionCheckMs, connectionsMaxCount, connectionIdleMs } =
      this.#limits;
    const timeouts = {
      requestTimeout: requestTransferMs,
      headersTimeout: requestTransferMs,
      connectionsCheckingInterval: connectionCheckMs,
      keepAliveTimeout: connectionIdleMs,
    };
    // node:http would refuse a request without Host itself, with a status alone.
    const options = { noDelay: true, keepAlive: true, requireHostHeader: false, ...timeouts };
    const last = new WeakMap<object, ServerResponse>();
    const server = createServer(options, (request, response) => {
      last.set(request.socket, response);
      if (request.headers.host === undefined && request.httpVersion === '1.1')
        this.#responses.refuse(response, NO_HOST, true);
      else listener(request, response);
    });
    server.on('clientError', (error, socket) => {
      const answer = last.get(socket);
      const isAnswered = answer?.headersSent === true && !answer.writableFinished;
      answerParserError(error, socket, isAnswered, ({ detail, code }) => ({
        error: detail,
        code,
      }));
    });
    server.maxConnections = connectionsMaxCount;
    this.#servers.push(server);
    return server;
  }

  /**
   * Stops listening. Requests that were received are answered; idle connections end. A client that
   * has not sent its whole request after twice the request deadline is cut off.
   */
  async close(): Promise<void> {
    this.#responses.draining = true;
    const servers = this.#servers.filter((server) => server.listening);
    this.#servers = [];
    const closed = servers.map(
      (server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
          server.closeIdleConnections();
        }),
    );
    const cancel = this.#options.clock.after(this.#limits.requestDeadlineMs * 2, () => {
      for (const server of servers) server.closeAllConnections();
    });
    await Promise.all(closed);
    cancel();
    this.#responses.draining = false;
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    try {
      this.#answer(request, response, this.#router.route(request.method ?? '', request.url ?? '/'));
    } catch (error) {
      this.#responses.refuse(response, error);
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse, route: Route<ServedModel>): void {
    const responses = this.#responses;
    switch (route.resource) {
      case 'server':
        responses.json(response, 200, {
          name: 'linnet',
          version: this.#options.version,
          extensions: ['binary_tensor_data'],
        });
        return;
      case 'live':
        responses.json(response, 200, { live: true });
        return;
      case 'ready': {
        const ready = !responses.draining && [...this.#models.values()].every((m) => m.isReady());
        responses.json(response, ready ? 200 : 503, { ready });
        return;
      }
      case 'model-ready': {
        const ready = route.model.isReady(route.version);
        responses.json(response, ready ? 200 : 503, { name: route.name, ready });
        return;
      }
      case 'model': {
        const { release, body } = route.model.metadata(route.version);
        response.setHeader('Linnet-Release', release);
        responses.json(response, 200, body);
        return;
      }
      case 'infer':
        this.#receive(request, response, route.model, route.version);
    }
  }

  #receive(
    request: IncomingMessage,
    response: ServerResponse,
    model: ServedModel,
    version: string | undefined,
  ): void {
    this.#bodies.receive(request, {
      onBody: (body, release) => {
        void this.#infer(request, response, model, version, body, release);
      },
      onRefused: (fault) => this.#responses.refuse(response, fault, true),
    });
  }

  async #infer(
    request: IncomingMessage,
    response: ServerResponse,
    model: ServedModel,
    version: string | undefined,
    body: Buffer,
    free: () => void,
  ): Promise<void> {
    try {
      const { release, answer } = await model.infer(request, version, body);
      this.#responses.answer(response, release, answer);
    } catch (error) {
      this.#responses.refuse(response, error);
    } finally {
      free();
    }
  }
}

/** True for a socket file that no process accepts on. */
function nobodyListens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error) => resolve(systemCode(error) === 'ECONNREFUSED'));
  });
}
