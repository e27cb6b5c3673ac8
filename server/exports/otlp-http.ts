// One POST of OTLP/HTTP in its JSON encoding (opentelemetry.io/docs/specs/otlp): numbers of 64
// bits are strings. Everything but a 2xx is a failure, redirects too: the headers may carry a
// secret, and it goes only where the settings say.
import { Fault, reason } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { post, type PostNeeds } from './post.js';

export interface OtlpOptions extends PostNeeds {
  /** Of the collector, without `/v1/...`. */
  readonly url: string;
  /** Sent with each request, such as an API key. */
  readonly headers: Readonly<Record<string, string>>;
  /** The name of this machine. */
  readonly host: string;
}

export const valueOf = (value: string | number): unknown =>
  typeof value === 'number'
    ? { intValue: String(value) }
    : { stringValue: value.slice(0, limits.exportedTextMaxChars) };

export const attribute = (key: string, value: string | number): unknown => ({
  key,
  value: valueOf(value),
});

export const nanoseconds = (ms: number): string => `${Math.round(ms)}000000`;

export const SCOPE = { name: 'linnet' } as const;

/** What all of a server's metrics and events share. */
export const resourceOf = ({ host }: Pick<OtlpOptions, 'host'>): unknown => ({
  attributes: [attribute('service.name', 'linnet-server'), attribute('host.name', host)],
});

/** From the lines of a headers file: `name = value`. Faults: config_invalid. */
export function otlpHeaders(text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(?:#.*)?$/.test(line)) continue;
    const [, name, value] =
      /^\s*([A-Za-z0-9-]+)\s*=\s*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)\s*$/.exec(line) ?? [];
    if (name === undefined || value === undefined)
      throw new Fault(
        'config_invalid',
        `otlp.headers_file: line ${index + 1} is not \`name = value\` in printable ASCII`,
      );
    headers[name.toLowerCase()] = value;
  }
  return headers;
}

/** Faults: server_unreachable. */
export async function postOtlp(
  { url, headers, ...needs }: OtlpOptions,
  path: '/v1/logs' | '/v1/metrics',
  body: unknown,
): Promise<void> {
  const target = `OTLP ${new URL(url).host}`;
  let status: number;
  try {
    status = await post(
      `${url.replace(/\/+$/, '')}${path}`,
      { headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) },
      needs,
    );
  } catch (error) {
    throw new Fault('server_unreachable', `${target}: ${reason(error)}`, { cause: error });
  }
  if (status < 200 || status > 299)
    throw new Fault('server_unreachable', `${target} answered ${status} to ${path}`);
}
