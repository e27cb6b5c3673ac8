// Opens HTTP(S) requests, kept-alive, directly or through a proxy: http: with the whole URL in the
// request line, https: through a tunnel (CONNECT) in which TLS goes to the server itself. So a
// proxy sees no path, no token and no body of an https: request. A proxy that refuses is named,
// with its answer and without the password in its URL.
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { asError } from '../base/fault-codes.js';
import { bracketed, unbracketed } from '../base/hosts.js';
import { limits } from '../base/limits.js';
import { Proxies } from './proxies.js';

const OK = 200;

export interface ConnectorOptions {
  readonly proxies: Proxies;
  /** PEM certificates to trust instead of the system's, for https. */
  readonly ca?: string | Buffer | undefined;
  readonly keepAlive: boolean;
}

export interface RequestOptions {
  readonly method: string;
  readonly headers: http.OutgoingHttpHeaders;
  /** On a connection of its own. */
  readonly fresh?: boolean;
}

export class HttpConnector {
  readonly #options: ConnectorOptions;
  readonly #kept: Agents;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#kept = new Agents(options);
  }

  /** The request, not ended yet. */
  request(url: string, { method, headers, fresh = false }: RequestOptions): http.ClientRequest {
    const target = new URL(url);
    const proxy = this.#options.proxies.of(target);
    const agents = fresh ? new Agents({ ...this.#options, keepAlive: false }) : this.#kept;
    if (target.protocol === 'https:')
      return https.request(url, { method, headers, agent: agents.https(proxy) });
    if (proxy === null) return http.request(url, { method, headers, agent: agents.http });
    return http.request({
      method,
      host: unbracketed(proxy.hostname),
      port: portOf(proxy),
      path: `${target.origin}${target.pathname}${target.search}`,
      headers: { ...headers, host: target.host, ...loginOf(proxy) },
      agent: agents.http,
    });
  }

  /** Ends every kept connection. */
  destroy(): void {
    this.#kept.destroy();
  }
}

class Agents {
  readonly http: http.Agent;
  readonly #options: https.AgentOptions;
  readonly #https = new Map<string, https.Agent>();

  constructor({ keepAlive, ca }: ConnectorOptions) {
    this.http = new http.Agent({ keepAlive });
    this.#options = { keepAlive, ...(ca === undefined ? {} : { ca }) };
  }

  https(proxy: URL | null): https.Agent {
    const key = proxy?.href ?? '';
    const found = this.#https.get(key) ?? newAgent(proxy, this.#options);
    this.#https.set(key, found);
    return found;
  }

  destroy(): void {
    this.http.destroy();
    for (const agent of this.#https.values()) agent.destroy();
  }
}

const newAgent = (proxy: URL | null, options: https.AgentOptions): https.Agent =>
  proxy === null ? new https.Agent(options) : new TunnelAgent(proxy, options);

type Connected = (error: Error | null, stream: Duplex) => void;

class TunnelAgent extends https.Agent {
  readonly #proxy: URL;

  constructor(proxy: URL, options: https.AgentOptions) {
    super(options);
    this.#proxy = proxy;
  }

  override createConnection(options: https.RequestOptions, done?: Connected): undefined {
    const target = { host: options.host ?? '', port: Number(options.port ?? 443) };
    openTunnel(this.#proxy, target).then(
      (socket) => {
        const inside: https.RequestOptions & { socket: Socket } = { ...options, socket };
        done?.(null, super.createConnection(inside) as Duplex);
      },
      // Node.js reads no stream beside an error.
      (error: unknown) => done?.(asError(error), undefined as never),
    );
  }
}

/**
 * A connection to the target through the proxy. Rejects with an error that names the proxy, and its
 * answer where it refuses.
 */
export function openTunnel(
  proxy: URL,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<Socket> {
  const target = `${bracketed(host)}:${port}`;
  const failed = (why: string, cause?: unknown): Error =>
    new Error(`the proxy ${proxy.host} ${why}`, { cause });
  return new Promise((resolve, reject) => {
    const request = http.request({
      method: 'CONNECT',
      host: unbracketed(proxy.hostname),
      port: portOf(proxy),
      path: target,
      headers: { host: target, ...loginOf(proxy) },
      agent: false,
    });
    request.setTimeout(limits.proxyAnswerMaxMs, () =>
      request.destroy(new Error(`no answer within ${limits.proxyAnswerMaxMs / 1000} s`)),
    );
    request.once('connect', ({ statusCode, statusMessage = '' }, socket, head) => {
      socket.setTimeout(0);
      if (statusCode === OK) {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
        return;
      }
      socket.destroy();
      const answer = `${statusCode} ${statusMessage}`.trim();
      reject(failed(`refuses a connection to ${target}: ${answer}`));
    });
    request.once('error', (error) =>
      reject(failed(`does not connect to ${target}: ${error.message}`, error)),
    );
    request.end();
  });
}

const portOf = (proxy: URL): number => (proxy.port === '' ? 80 : Number(proxy.port));

function loginOf({ username, password }: URL): http.OutgoingHttpHeaders {
  if (username === '' && password === '') return {};
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(login).toString('base64')}` };
}
