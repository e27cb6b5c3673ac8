// What a regular expression of a schema asks for, in plain sentences: who typed a wrong group name
// need not read `^[a-z0-9][a-z0-9-]{0,62}$`. Forms that names and digests have are read from the
// pattern; others have their sentence here.

const TEXTS: Readonly<Record<string, string>> = {
  '^(none|http://[^/?#]+/?)$':
    'must be the http:// URL of a proxy, such as http://proxy.example:3128, or none',
  '^https?://[^/?#]+/?$': 'must be a URL such as https://fleet.example:7300, without a path',
  '^(https?|file)://': 'must be a URL such as https://mirror.example/files or file:///media/usb',
  '^mqtts?://': 'must be a URL such as mqtts://broker.example:8883',
  '^([01]\\d|2[0-3]):[0-5]\\d-([01]\\d|2[0-3]):[0-5]\\d$': 'must be hours such as 22:00-05:00',
  '^(0|[1-9]\\d{0,8})\\.(0|[1-9]\\d{0,8})\\.(0|[1-9]\\d{0,8})(-[0-9A-Za-z.-]{1,40})?$':
    'must be a version such as 1.0.0 or 1.2.0-rc.1 (Semantic Versioning, no build metadata)',
  '^([0-9a-f]{7,64}|unknown)$': 'must be a commit of 7 to 64 hexadecimal digits, or unknown',
  '^mqtts?://[^/ ]+$': 'must be a URL such as mqtts://broker.example:8883',
  '^https?://[^/ ]+': 'must be a URL such as https://alerts.example/linnet',
  '^https?://[^/@ ]+/[^ ]+$': 'must be a URL such as http://lists.example/device-ca.crl',
  '^https?://[^/@?#\\s]+/?$': 'must be a URL such as https://store.example:9000, without a path',
  '^https?://[^/@?# ]+(/[^?# ]*)?$': 'must be a URL such as http://collector.example:4318',
  '^[a-z0-9][a-z0-9._-]{0,62}(=.*)?$': 'must be a label such as site=north, or its key',
  '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d(:\\d\\d(\\.\\d{1,9})?)?(Z|[+-]\\d\\d:\\d\\d)$':
    'must be a time such as 2026-03-01T12:00:00Z',
  '^[^@]+@[^@]+$': 'must be component@version, such as digits@1.2.0',
  '^https?://[^/ ]+/?$': 'must be a URL such as https://fleet.example:7300, without a path',
  '^postgres(?:ql)?://[^ ]+/[^ ]+$': 'must be a URL such as postgres://user@host:5432/linnet',
  '^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$': 'must be an address or a network such as 10.0.0.0/8',
};

/** It is put together of those of stores (server/config.ts). */
const OF_STORES = '^(file:/[^/%?#]';

const NAME = /^\^\[([^\]]+)\]\[([^\]]+)\]\{0,(\d+)\}\$$/;
const DIGITS = /^\^([a-z]+-)?\[0-9a-f\]\{(\d+)(?:,(\d+))?\}\$$/;
const SHORT = /^\^\[([^\]]+)\]\{(\d+),(\d+)\}\$$/;

/** `must be ...`; null for a pattern of a form that is not known here. */
export function patternText(pattern: string): string | null {
  const own = TEXTS[pattern];
  if (own !== undefined) return own;
  if (pattern.startsWith(OF_STORES))
    return 'must be file:/absolute/folder, s3://bucket/prefix or oci://registry/repository';
  const digits = DIGITS.exec(pattern);
  if (digits !== null) {
    const [, prefix = '', least, most] = digits;
    const count = most === undefined ? least : `${least} to ${most}`;
    const after = prefix === '' ? '' : `${prefix} and `;
    return `must be ${after}${count} hexadecimal digits in lower case`;
  }
  const name = NAME.exec(pattern);
  if (name !== null) {
    const [, first = '', rest = '', more = '0'] = name;
    const chars = `must be 1 to ${Number(more) + 1} characters of ${charactersOf(rest)}`;
    return `${chars}, the first of ${charactersOf(first)}`;
  }
  const short = SHORT.exec(pattern);
  if (short === null) return null;
  const [, set = '', least, most] = short;
  return `must be ${least} to ${most} characters of ${charactersOf(set)}`;
}

/** `a-z0-9._-` as `a-z 0-9 . _ -`. */
const charactersOf = (set: string): string =>
  [...set.matchAll(/[A-Za-z0-9]-[A-Za-z0-9]|./g)].map(([part]) => part).join(' ');
