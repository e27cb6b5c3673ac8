// The local inference API: Open Inference Protocol v2 over HTTP, on loopback TCP and/or a unix
// socket, on bare node:http because latency and memory are budgeted here. Promises: bodies are
// bounded while they stream, one by one and all together, and so is the time that a client may take
// to send one or to take its answer; every refusal is {"error", "code"} with the status of the
// fault registry; every answer names the release that made it, in `Linnet-Release:
// component@version#digest` and in the body; closing loses no request that was received. What a
// request means is open-inference.ts, what becomes of it is engine.ts.
import assert from 'node:assert/strict';
import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { Fault, reason, systemCode } from '../../../shared/base/fault-codes.js';
import type { Clock, Log } from '../../../shared/base/interfaces.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import { Body } from './request-body.js';
import type { Engine } from '../engine/engine.js';
import { limitsWith, type InferenceLimits } from '../inference-limits.js';
import {
  AnswerWriter,
  modelMetadata,
  RequestReader,
  type EncodedAnswer,
} from './open-inference.js';

export interface InferenceServerOptions {
  /** By component, which is the model's name in the protocol. */
  readonly engines: ReadonlyMap<string, Engine>;
  readonly clock: Clock;
  readonly log: Log;
  /** Of the agent, for the server metadata. */
  readonly version: string;
  /** TCP; port 0 takes any free one. */
  readonly tcp?: { readonly host: string; readonly port: number };
  /** Path of a unix socket; made accessible to its owner and group only. */
  readonly unix?: string;
  readonly limits?: Partial<InferenceLimits>;
}

export interface InferenceServerAddress {
  readonly tcp: { readonly host: string; readonly port: number } | null;
  readonly unix: string | null;
}

/** What is remembered per model between requests. */
interface Model {
  readonly engine: Engine;
  readonly reader: RequestReader;
  readonly writer: AnswerWriter;
  label: { release: ReleaseRef; text: string } | null;
}

interface BodyBound {
  readonly bytes: number;
  /** What a refused client can do instead. */
  readonly reasons: string;
}

const HEADER_LENGTH = 'inference-header-content-length';
const HEADER_LENGTH_OUT = 'Inference-Header-Content-Length';
/** sun_path of unix(7) holds 108 bytes with its terminator. */
const UNIX_PATH_MAX_BYTES = 107;
/** Bodies in memory at once, in units of the largest one. */
const BODIES_AT_ONCE = 2;
const IDLE_MS = 60_000;
const MODEL_PATH = /^\/v2\/models\/([^/?]+)(?:\/versions\/([^/?]+))?(?:\/(ready|infer))?$/;

export class InferenceServer {
  readonly #options: InferenceServerOptions;
  readonly #limits: InferenceLimits;
  readonly #models = new Map<string, Model>();
  /** The usual requests, found without parsing their path. */
  readonly #inferPaths = new Map<string, Model>();
  readonly #binaryBound: BodyBound;
  readonly #jsonBound: BodyBound;
  #servers: Server[] = [];
  #bufferedBytes = 0;
  #closing = false;

  constructor(options: InferenceServerOptions) {
    assert(options.tcp !== undefined || options.unix !== undefined, 'a door listens somewhere');
    this.#options = options;
    this.#limits = limitsWith(options.limits);
    const { requestMaxBytes, jsonRequestMaxBytes } = this.#limits;
    this.#binaryBound = { bytes: requestMaxBytes, reasons: '' };
    this.#jsonBound = {
      bytes: Math.min(jsonRequestMaxBytes, requestMaxBytes),
      reasons: ` of JSON; binary tensors (${HEADER_LENGTH_OUT}) may have ${requestMaxBytes}`,
    };
    for (const [name, engine] of options.engines) {
      const model: Model = {
        engine,
        reader: new RequestReader(this.#limits.requestHeaderMaxBytes),
        writer: new AnswerWriter(),
        label: null,
      };
      this.#models.set(name, model);
      this.#inferPaths.set(`/v2/models/${name}/infer`, model);
    }
  }

  /**
   * Faults: `port_in_use` names the address; `config_invalid` for one that cannot be listened on.
   * Nothing listens then.
   */
  async listen(): Promise<InferenceServerAddress> {
    const { tcp, unix } = this.#options;
    try {
      const bound =
        tcp === undefined
          ? null
          : { host: tcp.host, port: await this.#listenTcp(tcp.host, tcp.port) };
      if (unix !== undefined) await this.#listenUnix(unix);
      this.#options.log.info({ tcp: bound, unix: unix ?? null }, 'inference API listens');
      return { tcp: bound, unix: unix ?? null };
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #listenTcp(host: string, port: number): Promise<number> {
    const server = this.#server();
    await listening(server, () => server.listen({ host, port }), `${host}:${port}`);
    return (server.address() as AddressInfo).port;
  }

  async #listenUnix(path: string): Promise<void> {
    if (Buffer.byteLength(path) > UNIX_PATH_MAX_BYTES)
      throw new Fault(
        'config_invalid',
        `unix socket path ${path} is longer than ${UNIX_PATH_MAX_BYTES} bytes`,
      );
    // A socket file outlives a killed process; it is in use only when somebody answers.
    if (
      lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true &&
      (await nobodyListens(path))
    )
      rmSync(path);
    const server = this.#server();
    await listening(server, () => server.listen({ path }), path);
    chmodSync(path, 0o660);
  }

  #server(): Server {
    const { requestTransferMs, connectionCheckMs, connectionsMaxCount } = this.#limits;
    const patience = {
      requestTimeout: requestTransferMs,
      headersTimeout: requestTransferMs,
      connectionsCheckingInterval: connectionCheckMs,
      keepAliveTimeout: IDLE_MS,
    };
    const server = createServer(
      { noDelay: true, keepAlive: true, ...patience },
      (request, response) => this.#handle(request, response),
    );
    server.maxConnections = connectionsMaxCount;
    this.#servers.push(server);
    return server;
  }

  /**
   * Stops listening; requests that were received are answered, idle connections end. A client that
   * stays in the middle of its request longer than any answer may take is cut off.
   */
  async close(): Promise<void> {
    this.#closing = true;
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
    this.#closing = false;
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const url = request.url ?? '/';
    if (request.method === 'POST') {
      const usual = this.#inferPaths.get(url);
      if (usual !== undefined) {
        this.#receive(request, response, usual, undefined);
        return;
      }
    }
    try {
      this.#route(request, response, url);
    } catch (error) {
      this.#fail(response, error);
    }
  }

  #route(request: IncomingMessage, response: ServerResponse, url: string): void {
    const query = url.indexOf('?');
    const path = (query < 0 ? url : url.slice(0, query)).replace(/(.)\/$/, '$1');
    const match = MODEL_PATH.exec(path);
    if (match !== null) {
      const [, name = '', version, verb] = match;
      const model = this.#models.get(decodeName(name));
      if (model === undefined)
        throw new Fault(
          'model_unknown',
          `no model ${name} here; there is ${[...this.#models.keys()].join(', ') || 'none'}`,
        );
      const wanted = version === undefined ? undefined : decodeName(version);
      if (verb === 'infer') {
        if (request.method !== 'POST')
          throw new Fault('not_found', `${request.method} ${path}: inference is a POST`);
        this.#receive(request, response, model, wanted);
        return;
      }
      this.#get(request, path);
      if (verb === 'ready') this.#modelReady(response, name, model, wanted);
      else this.#modelMetadata(response, name, model, wanted);
      return;
    }
    this.#get(request, path);
    if (path === '/v2')
      this.#json(response, 200, {
        name: 'linnet',
        version: this.#options.version,
        extensions: ['binary_tensor_data'],
      });
    else if (path === '/v2/health/live') this.#json(response, 200, { live: true });
    else if (path === '/v2/health/ready') this.#ready(response);
    else
      throw new Fault(
        'not_found',
        `no ${path} here; the API is the Open Inference Protocol v2 under /v2`,
      );
  }

  #get(request: IncomingMessage, path: string): void {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      throw new Fault('not_found', `${request.method} ${path}: this is a GET`);
  }

  #ready(response: ServerResponse): void {
    const ready = !this.#closing && [...this.#models.values()].every(({ engine }) => engine.ready);
    this.#json(response, ready ? 200 : 503, { ready });
  }

  #modelReady(
    response: ServerResponse,
    name: string,
    { engine }: Model,
    version: string | undefined,
  ): void {
    const ready =
      engine.ready && (version === undefined || engine.serving?.release.version === version);
    this.#json(response, ready ? 200 : 503, { name, ready });
  }

  #modelMetadata(
    response: ServerResponse,
    name: string,
    model: Model,
    version: string | undefined,
  ): void {
    const serving = servingOf(name, model);
    if (version !== undefined && version !== serving.release.version) {
      throw new Fault(
        'model_unknown',
        `${name} version ${version} is not served here; ${serving.release.version} is`,
      );
    }
    response.setHeader('Linnet-Release', label(model, serving.release));
    this.#json(response, 200, modelMetadata(name, serving.release, serving.manifest));
  }

  // --- inference ---

  /** Gathers the body within its bounds, then infers. */
  #receive(
    request: IncomingMessage,
    response: ServerResponse,
    model: Model,
    version: string | undefined,
  ): void {
    const { requestMaxBytes } = this.#limits;
    const bound =
      request.headers[HEADER_LENGTH] === undefined ? this.#jsonBound : this.#binaryBound;
    const announced = request.headers['content-length'];
    const size = announced === undefined ? -1 : Number(announced);
    if (size > bound.bytes) {
      this.#tooLarge(response, `${size} bytes announced`, bound);
      return;
    }
    const body = new Body(size, Number(request.headers[HEADER_LENGTH] ?? 0));
    let open = true;
    const release = () => {
      if (open) this.#bufferedBytes -= body.length;
      open = false;
    };
    request.on('data', (chunk: Buffer) => {
      if (!open) return;
      if (body.length + chunk.length > bound.bytes) {
        release();
        this.#tooLarge(response, 'more than that came', bound);
        return;
      }
      if (this.#bufferedBytes + chunk.length > BODIES_AT_ONCE * requestMaxBytes) {
        release();
        this.#fail(
          response,
          new Fault(
            'busy',
            `more than ${BODIES_AT_ONCE * requestMaxBytes} bytes of requests are in memory`,
          ),
          true,
        );
        return;
      }
      this.#bufferedBytes += chunk.length;
      body.add(chunk);
    });
    request.on('end', () => {
      if (!open) return;
      void this.#infer(request, response, model, version, body.whole()).finally(release);
    });
    request.on('close', () => {
      if (!request.complete) release(); // The client went away in the middle of its body.
    });
  }

  async #infer(
    request: IncomingMessage,
    response: ServerResponse,
    model: Model,
    version: string | undefined,
    body: Buffer,
  ): Promise<void> {
    try {
      const { headers } = request;
      const encoding = headers['content-encoding'];
      if (encoding !== undefined && encoding !== 'identity')
        throw new Fault('request_undecodable', `content encoding ${encoding} is not served`);
      const { release, headerBytes, pieces } = await this.#run(
        model,
        version,
        headers[HEADER_LENGTH],
        body,
      );
      response.setHeader('Linnet-Release', release);
      response.setHeader(
        'Content-Type',
        headerBytes === null ? 'application/json' : 'application/octet-stream',
      );
      response.setHeader('Content-Length', lengthOf(pieces));
      if (headerBytes !== null) response.setHeader(HEADER_LENGTH_OUT, headerBytes);
      if (this.#closing) response.setHeader('Connection', 'close');
      response.writeHead(200);
      response.cork();
      for (const piece of pieces) response.write(piece);
      response.end();
      response.uncork();
      this.#untilTaken(response);
    } catch (error) {
      this.#fail(response, error);
    }
  }

  /**
   * A client that does not take its answer is cut off. The usual answer, which the kernel takes
   * whole, costs no timer.
   */
  #untilTaken(response: ServerResponse): void {
    if (response.writableLength === 0) return;
    const cancel = this.#options.clock.after(this.#limits.requestTransferMs, () =>
      response.destroy(),
    );
    response.once('close', cancel);
  }

  async #run(
    model: Model,
    version: string | undefined,
    header: string | string[] | undefined,
    body: Buffer,
  ): Promise<EncodedAnswer & { release: string }> {
    const { manifest } = servingOf(model.engine.component, model);
    const call = model.reader.read(body, headerLength(header), manifest.inputs);
    const { outputs } = call.form;
    const plain = version === undefined && outputs === undefined;
    const answer = await model.engine.infer(
      plain ? call : { inputs: call.inputs, version, outputs },
    );
    const { headerBytes, pieces } = model.writer.write(answer.release, answer.outputs, call.form);
    return { release: label(model, answer.release), headerBytes, pieces };
  }

  // --- refusals ---

  #tooLarge(response: ServerResponse, given: string, { bytes, reasons }: BodyBound): void {
    this.#fail(
      response,
      new Fault('request_too_large', `${given}, the bound is ${bytes} bytes${reasons}`),
      true,
    );
  }

  /** `cut`: the rest of the request is not read, so the connection cannot be used again. */
  #fail(response: ServerResponse, error: unknown, cut = false): void {
    const fault = this.#faultOf(error);
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (fault.entry.http === 503) response.setHeader('Retry-After', '1');
    if (cut) response.setHeader('Connection', 'close');
    this.#json(response, fault.entry.http, { error: fault.detail, code: fault.code });
  }

  #faultOf(error: unknown): Fault {
    if (error instanceof Fault) return error;
    this.#options.log.error(
      { why: reason(error), stack: error instanceof Error ? error.stack : undefined },
      'inference API failed',
    );
    return new Fault('internal', "a bug in Linnet; the agent's log has more");
  }

  #json(response: ServerResponse, status: number, value: object): void {
    const body = Buffer.from(JSON.stringify(value));
    if (this.#closing) response.setHeader('Connection', 'close');
    response.setHeader('Content-Type', 'application/json');
    response.setHeader('Content-Length', body.length);
    response.writeHead(status);
    response.end(response.req.method === 'HEAD' ? undefined : body);
  }
}

function servingOf(name: string, { engine }: Model): NonNullable<Engine['serving']> {
  const serving = engine.serving;
  if (serving === null) throw new Fault('model_not_ready', `no release of ${name} is loaded yet`);
  return serving;
}

function lengthOf(pieces: readonly Uint8Array[]): number {
  let total = 0;
  for (const piece of pieces) total += piece.byteLength;
  return total;
}

function label(model: Model, release: ReleaseRef): string {
  if (model.label?.release !== release)
    model.label = { release, text: `${release.component}@${release.version}#${release.digest}` };
  return model.label.text;
}

function headerLength(text: string | string[] | undefined): number | null {
  if (text === undefined) return null;
  if (typeof text !== 'string' || !/^\d{1,10}$/.test(text))
    throw new Fault('request_undecodable', 'Inference-Header-Content-Length is not a length');
  return Number(text);
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError)
      throw new Fault('request_undecodable', 'the path is not percent-encoded UTF-8', {
        cause: error,
      });
    throw error;
  }
}

function listening(server: Server, start: () => void, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('listening', resolve);
    server.once('error', (error) => {
      const code = systemCode(error);
      reject(
        code === 'EADDRINUSE'
          ? new Fault('port_in_use', `${where} is already in use`, { cause: error })
          : new Fault('config_invalid', `cannot listen on ${where}: ${reason(error)}`, {
              cause: error,
            }),
      );
    });
    start();
  });
}

/** Of a socket file. */
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
