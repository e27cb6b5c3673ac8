// Answers with an artifact: whole, a range of it (206), not modified (304), or an unsatisfiable
// range (416). RFC 9110, 13 and 14. An artifact never changes, so its digest is a strong entity
// tag. Several ranges in one request are answered with the whole file, as the standard allows. A
// store that gives links sends the bytes itself: the answer is then a redirect (307).
import type { FastifyReply, FastifyRequest } from 'fastify';
import fresh from 'fresh';
import rangeParser, { type Range } from 'range-parser';
import { Fault } from '../../shared/base/fault-codes.js';
import type { ArtifactStore } from '../interfaces.js';
import { sendFault } from './errors.js';

const CACHE_CONTROL = 'public, max-age=86400, immutable';

/** Faults: not_found. */
export async function sendFile(
  artifacts: Pick<ArtifactStore, 'stat' | 'get' | 'link'>,
  digest: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const found = await artifacts.stat(digest);
  if (found === null) throw absent(digest);
  const { lengthBytes } = found;
  const etag = `"${digest}"`;
  void reply.headers({ 'accept-ranges': 'bytes', etag, 'cache-control': CACHE_CONTROL });
  if (fresh(request.headers, { etag })) return sendNotModified(reply);
  const link = request.method === 'HEAD' ? null : (artifacts.link?.(digest) ?? null);
  if (link !== null) return sendToStore(link, reply);
  const range = rangeOf(request, lengthBytes, etag);
  if (range === 'unsatisfiable')
    return sendFault(
      reply
        .header('content-range', `bytes */${lengthBytes}`)
        .removeHeader('cache-control')
        .removeHeader('etag'),
      new Fault('range_unsatisfiable', `${digest} has ${lengthBytes} bytes`),
    );
  const { start, end } = range ?? { start: 0, end: lengthBytes - 1 };
  void reply.header('content-length', end - start + 1);
  if (range !== null)
    void reply.code(206).header('content-range', `bytes ${start}-${end}/${lengthBytes}`);
  if (request.method === 'HEAD') return reply.send();
  const artifact = await artifacts.get(digest, ...(range === null ? [] : [{ start, end }]));
  if (artifact === null) throw absent(digest);
  return reply.send(artifact.stream);
}

/** 304: the client has what it asks for. */
export const sendNotModified = (reply: FastifyReply): FastifyReply => reply.code(304).send();

/** 307: anyone who has the link may read the file, so no cache keeps it. */
const sendToStore = (link: string, reply: FastifyReply): FastifyReply =>
  reply
    .code(307)
    .removeHeader('etag')
    .removeHeader('content-type')
    .headers({ 'cache-control': 'no-store', location: link })
    .send();

const absent = (digest: string): Fault =>
  new Fault('not_found', `the image repository has no file ${digest}`);

/** Null: the whole file. */
function rangeOf(
  request: FastifyRequest,
  lengthBytes: number,
  etag: string,
): Range | 'unsatisfiable' | null {
  const { range, 'if-range': ifRange } = request.headers;
  if (range === undefined || (ifRange !== undefined && ifRange !== etag)) return null;
  // RFC 9110, 14.1.1: a range that ends before it starts is invalid, so the header is ignored;
  // range-parser calls it unsatisfiable (until version 2, which asks for Node 22).
  for (const [, first, last] of range.matchAll(/(\d+)-(\d+)/g))
    if (Number(last) < Number(first)) return null;
  const ranges = rangeParser(lengthBytes, range);
  if (ranges === UNSATISFIABLE) return 'unsatisfiable';
  if (ranges === MALFORMED || ranges.type !== 'bytes' || ranges.length > 1) return null;
  return ranges[0] ?? null;
}

/** What range-parser answers instead of ranges. */
const UNSATISFIABLE = -1;
const MALFORMED = -2;
