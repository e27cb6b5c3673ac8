// What the client of the operator API does with single answers: where a redirect may lead, how much
// of a body is read, and what a connection that failed is called.
import type { IncomingMessage } from 'node:http';
import { Fault, isCertificateCode, reason, systemCode } from '../../shared/base/fault-codes.js';

/** To https, or to the scheme of the server. Fault: fetch_interrupted. */
export function redirected(from: string, location: string): string {
  const target = URL.canParse(location, from) ? new URL(location, from) : null;
  const isAllowed =
    target !== null &&
    [new URL(from).protocol, 'https:'].includes(target.protocol) &&
    target.username === '' &&
    target.password === '';
  if (!isAllowed)
    throw new Fault('fetch_interrupted', `${from} redirects to Location ${location}: not followed`);
  return target.href;
}

/** At most `most` bytes of the body, and the rest of the last piece. */
export async function atMost(
  answer: IncomingMessage,
  most: number,
  url: string,
): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let got = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      got += chunk.length;
      if (got >= most) break;
    }
  } catch (error) {
    throw unreachable(url, error);
  }
  return Buffer.concat(chunks);
}

/** Faults: server_untrusted, server_foreign (no TLS where https is asked for), else unreachable. */
export function unreachable(url: string, cause: unknown): Fault {
  const why = networkReason(cause);
  const code = systemCode(cause) ?? '';
  if (isCertificateCode(code))
    return new Fault('server_untrusted', `${new URL(url).origin}: ${why}`, { cause });
  if (code === 'EPROTO' && why.includes('wrong version number')) {
    const plain = `http${new URL(url).origin.slice('https'.length)}`;
    const text = `${url}: the answer is not TLS; a server without TLS has the address ${plain}`;
    return new Fault('server_foreign', text, { cause });
  }
  const hint =
    url.startsWith('http:') && why === 'socket hang up'
      ? '; a server with TLS does so: its address begins with https://'
      : '';
  return new Fault('server_unreachable', `${url}: ${shown(why)}${hint}`, { cause });
}

/** What Node.js says of a connection that ended too early says little. */
const shown = (why: string): string =>
  why === 'socket hang up' || why === 'aborted'
    ? `the connection was closed before the answer was there (${why})`
    : why;

/** `connect ECONNREFUSED 127.0.0.1:7300`, also for a host of which every address was tried. */
function networkReason(cause: unknown): string {
  const causes: unknown[] = cause instanceof AggregateError ? cause.errors : [cause];
  return causes.map((one) => (one instanceof Error ? one.message : reason(one))).join('; ');
}
