// The key under which limits by address count a peer: an IPv4 address, also where it arrives in an
// IPv6 socket, or the /64 network of an IPv6 address, because one peer usually owns all of it.
// Pure.
import { isIP } from 'node:net';

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
/** Fixed by IPv6: groups of an address, and those of its network. */
const GROUPS = 8;
const NETWORK_GROUPS = 4;

/** An IPv4 address as such, also where it arrives in an IPv6 socket; others as they are. */
export const unmapped = (address: string): string => MAPPED.exec(address)?.[1] ?? address;

/** `given` as a socket names it; undefined when the peer has gone. */
export function addressKey(given: string | undefined): string {
  if (given === undefined) return 'unknown';
  const address = unmapped(given);
  if (isIP(address) !== 6) return address;
  const [head = '', tail = ''] = (address.split('%')[0] ?? '').split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [first, last] = [groups(head), groups(tail)];
  const zeros = Array.from({ length: Math.max(0, GROUPS - first.length - last.length) }, () => '0');
  const network = [...first, ...(address.includes('::') ? zeros : []), ...last];
  return `${network
    .slice(0, NETWORK_GROUPS)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
