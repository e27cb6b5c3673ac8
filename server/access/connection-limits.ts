// How many connections one remote address may hold on a listener, so that a stranger cannot take
// all of them. A connection beyond the limit is destroyed before a byte of it is read. Addresses of
// trusted proxies are not limited: all connections of a fleet may come through them. The memory is
// that of the connections that are open.
import { BlockList, isIP, type Server, type Socket } from 'node:net';
import { addressKey, unmapped } from './address-key.js';

export interface ConnectionLimitsOptions {
  readonly perAddressMaxCount: number;
  readonly isTrusted: (address: string) => boolean;
  /** Called once for each address when it reaches its limit, until it holds none. */
  readonly onLimit: (address: string) => void;
}

interface Held {
  count: number;
  isReported: boolean;
}

export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions;
  readonly #held = new Map<string, Held>();
  #refused = 0;

  constructor(options: ConnectionLimitsOptions) {
    this.#options = options;
  }

  /** Connections that were destroyed. */
  get refused(): number {
    return this.#refused;
  }

  /** Counts a new connection until it closes. False: it was destroyed. */
  accept(socket: Socket): boolean {
    const release = this.hold(socket);
    if (release === null) return false;
    socket.once('close', release);
    return true;
  }

  /**
   * The same, until the caller says that it counts no longer (a connection that has logged in).
   * Null: it was destroyed.
   */
  hold(socket: Socket): (() => void) | null {
    const { perAddressMaxCount, isTrusted, onLimit } = this.#options;
    const address = socket.remoteAddress;
    if (address === undefined) {
      // It has gone already.
      socket.destroy();
      return null;
    }
    if (isTrusted(address)) return () => {};
    const key = addressKey(address);
    const held = this.#held.get(key) ?? { count: 0, isReported: false };
    if (held.count >= perAddressMaxCount) {
      socket.destroy();
      this.#refused += 1;
      if (!held.isReported) onLimit(address);
      held.isReported = true;
      return null;
    }
    held.count += 1;
    this.#held.set(key, held);
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      held.count -= 1;
      if (held.count === 0) this.#held.delete(key);
    };
  }
}

/** Limits the connections of a server that exists. TLS servers: before their handshake. */
export function limitConnections(server: Server, limits: ConnectionLimits): void {
  server.on('connection', (socket: Socket) => {
    limits.accept(socket);
  });
}

/** An address, or a network such as 10.0.0.0/8. */
export function isNetwork(text: string): boolean {
  const [address = '', bits] = text.split('/');
  const version = isIP(address);
  return version !== 0 && (bits === undefined || Number(bits) <= (version === 4 ? 32 : 128));
}

/** Whether an address is one of `proxies`, which are networks (isNetwork). */
export function trustedProxies(proxies: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const proxy of proxies) {
    const [address = '', bits] = proxy.split('/');
    const family = familyOf(address);
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return (address) => {
    const plain = unmapped(address);
    return proxies.length > 0 && list.check(plain, familyOf(plain));
  };
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4');
