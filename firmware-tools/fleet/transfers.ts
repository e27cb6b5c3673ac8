// What the client of the operator API does with single answers: where a redirect may lead, how much
// of a body is read, and what a connection that failed is called.
import type { IncomingMessage } from 'node:http';
import { Fault, reason } from '../../shared/base/fault-codes.js';

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

/** Fault server_unreachable. */
export function unreachable(url: string, cause: unknown): Fault {
  return new Fault('server_unreachable', `${url}: ${networkReason(cause)}`, { cause });
}

/** `connect ECONNREFUSED 127.0.0.1:7300`, also for a host of which every address was tried. */
function networkReason(cause: unknown): string {
  const causes: unknown[] = cause instanceof AggregateError ? cause.errors : [cause];
  return causes.map((one) => (one instanceof Error ? one.message : reason(one))).join('; ');
}
