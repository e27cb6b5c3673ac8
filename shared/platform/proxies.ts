// Which HTTP proxy a request goes through: that of a setting, else that of the environment
// (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, in either case). NO_PROXY names what is asked directly, as
// curl reads it; hosts of this machine always are.
import { BlockList, isIP, isIPv6 } from 'node:net';
import { Fault } from '../base/fault-codes.js';
import { unbracketed } from '../base/hosts.js';

type Env = Readonly<Record<string, string | undefined>>;

/** A setting that means: no proxy, whatever the environment says. */
export const NO_PROXY_AT_ALL = 'none';

export class Proxies {
  readonly #env: Env;
  readonly #setting: string | undefined;
  readonly #exceptions: readonly ((host: string, port: number) => boolean)[];

  /** Faults: config_invalid (a proxy that is no http:// URL; NO_PROXY with no network). */
  constructor(env: Env, setting?: string) {
    this.#env = env;
    this.#setting = setting;
    this.#exceptions = (variable(env, 'no_proxy')?.value ?? '')
      .split(/[\s,]+/)
      .filter((entry) => entry !== '')
      .map(exceptionOf);
    for (const scheme of ['http', 'https']) this.#proxy(scheme);
  }

  /** Null: the host is asked directly. Everything but http: needs a tunnel, like https:. */
  of({ protocol, hostname, port }: URL): URL | null {
    const host = unbracketed(hostname).toLowerCase();
    const standard = protocol === 'http:' ? 80 : 443;
    const asked = port === '' ? standard : Number(port);
    if (isLoopback(host) || this.#exceptions.some((matches) => matches(host, asked))) return null;
    return this.#proxy(protocol === 'http:' ? 'http' : 'https');
  }

  #proxy(scheme: string): URL | null {
    if (this.#setting === NO_PROXY_AT_ALL) return null;
    if (this.#setting !== undefined) return proxyUrl('the proxy setting', this.#setting);
    const found = variable(this.#env, `${scheme}_proxy`) ?? variable(this.#env, 'all_proxy');
    return found === null ? null : proxyUrl(found.name, found.value);
  }
}

/** Lower case first, as most programs do; null when it is not set or empty. */
function variable(env: Env, name: string): { name: string; value: string } | null {
  for (const each of [name, name.toUpperCase()]) {
    const value = env[each]?.trim();
    if (value !== undefined && value !== '') return { name: each, value };
  }
  return null;
}

/** The text is not shown: it may hold a password. */
function proxyUrl(name: string, text: string): URL {
  const full = text.includes('://') ? text : `http://${text}`;
  if (!URL.canParse(full) || new URL(full).protocol !== 'http:')
    throw new Fault(
      'config_invalid',
      `${name} is not the http:// URL of a proxy, such as http://proxy.example:3128`,
    );
  return new URL(full);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || isMachine(host);
}

const machine = new BlockList();
machine.addSubnet('127.0.0.0', 8, 'ipv4');
machine.addAddress('::1', 'ipv6');
const isMachine = (host: string): boolean => isIn(machine, host);

const isIn = (list: BlockList, host: string): boolean =>
  isIP(host) !== 0 && list.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');

/** `*`, `host`, `.suffix`, `*.suffix`, each also with `:port`, an address, or a network. */
function exceptionOf(entry: string): (host: string, port: number) => boolean {
  if (entry === '*') return () => true;
  if (entry.includes('/')) return networkOf(entry);
  const [, given = entry, port] = /^(.+?|\[.+\])(?::(\d+))?$/.exec(entry) ?? [];
  if (isIPv6(entry)) return (host) => host === entry.toLowerCase();
  const name = unbracketed(given)
    .replace(/^\*?\./, '')
    .toLowerCase();
  return (host, asked) =>
    (port === undefined || Number(port) === asked) &&
    (host === name || (isIP(host) === 0 && host.endsWith(`.${name}`)));
}

function networkOf(entry: string): (host: string) => boolean {
  const [address = '', bits = ''] = entry.split('/');
  const list = new BlockList();
  try {
    list.addSubnet(address, Number(bits), isIPv6(address) ? 'ipv6' : 'ipv4');
  } catch (error) {
    throw new Fault('config_invalid', `NO_PROXY: ${entry} is no network`, { cause: error });
  }
  return (host) => isIn(list, host);
}
