// Refuses requests that a web page of another site caused a browser on this device to send. Two
// attacks: DNS rebinding (the page's own name resolves to this device; its Host header betrays it)
// and cross-site requests (the page posts to a loopback address; its Origin header betrays it).
// Both headers must name this server: a loopback name or address, the host that it listens on, or a
// name from the configuration. A server that listens on every address also accepts any IP address
// as Host, because only names can be rebound. Requests over a unix socket are not checked: a
// browser cannot send them.
import type { IncomingHttpHeaders } from 'node:http';
import { isIP, isIPv4 } from 'node:net';
import { Fault } from '../../../shared/base/fault-codes.js';

export interface RequestOriginOptions {
  /** The host that the server listens on, as configured. */
  readonly host: string;
  readonly port: number;
  /** More names of this device that clients may use. */
  readonly hostNames: readonly string[];
}

interface Authority {
  readonly name: string;
  readonly port: number | null;
}

const AUTHORITY = /^(?:\[([0-9a-f:.]+)\]|([^\s:/?#@[\]]+))(?::(\d{1,5}))?$/;
const ORIGIN = /^(https?):\/\/(.+)$/;
const DEFAULT_PORT: Readonly<Record<string, number>> = { http: 80, https: 443 };
const EVERY_ADDRESS = ['0.0.0.0', '::'];

export class RequestOrigin {
  readonly #port: number;
  readonly #names: ReadonlySet<string>;
  readonly #anyAddress: boolean;
  /** The Host header that was accepted last: clients repeat theirs. */
  #accepted: string | null = null;

  constructor({ host, port, hostNames }: RequestOriginOptions) {
    this.#port = port;
    this.#names = new Set(['localhost', host, ...hostNames].map((name) => name.toLowerCase()));
    this.#anyAddress = EVERY_ADDRESS.includes(host);
  }

  /**
   * Fault `request_foreign`. A request without a Host header (HTTP/1.0) passes: every browser sends
   * one. So does a Host without a port.
   */
  check({ host, origin }: IncomingHttpHeaders): void {
    if (host !== undefined && host !== this.#accepted) {
      const authority = parseAuthority(host);
      if (authority === null || !this.#isOurs(authority, this.#port))
        throw this.#refusal('Host', host);
      this.#accepted = host;
    }
    if (origin !== undefined && !this.#isOurOrigin(origin)) throw this.#refusal('Origin', origin);
  }

  #isOurOrigin(origin: string): boolean {
    const [, scheme = '', rest = ''] = ORIGIN.exec(origin.toLowerCase()) ?? [];
    const authority = parseAuthority(rest);
    return authority !== null && this.#isOurs(authority, DEFAULT_PORT[scheme] ?? 0);
  }

  #isOurs({ name, port }: Authority, defaultPort: number): boolean {
    if ((port ?? defaultPort) !== this.#port) return false;
    return this.#names.has(name) || isLoopback(name) || (this.#anyAddress && isIP(name) !== 0);
  }

  #refusal(header: string, value: string): Fault {
    return new Fault(
      'request_foreign',
      `${header} ${value.slice(0, 200)} is not this server; it is ` +
        `${[...this.#names].join(' or ')}, port ${this.#port}`,
    );
  }
}

function parseAuthority(text: string): Authority | null {
  const match = AUTHORITY.exec(text.toLowerCase());
  if (match === null) return null;
  const [, bracketed, plain, port] = match;
  return { name: bracketed ?? plain ?? '', port: port === undefined ? null : Number(port) };
}

/** 127.0.0.0/8 and ::1. */
function isLoopback(name: string): boolean {
  return name === '::1' || (isIPv4(name) && name.startsWith('127.'));
}
