// The image repository over HTTP, for anybody: what it serves is signed, and a device checks it
// byte by byte, so any mirror of these paths will do. Release files can be resumed: `Range:
// bytes=N-`.
import { Type } from 'typebox';
import { Fault } from '../../../shared/base/fault-codes.js';
import { Component, Version } from '../../../shared/release/manifest.js';
import { ApiError } from '../../../shared/protocol/operator-api.js';
import { Hex32 } from '../../../shared/base/bytes.js';
import type { AppOptions, FleetApp } from '../app.js';

/** One path segment that cannot leave its folder. */
const SegmentName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$' });
const Bytes = Type.Unknown({ description: 'the exact bytes' });
const errors = { '4xx': ApiError, '5xx': ApiError } as const;

/**
 * TUF file names carry their version or digest, except these; only those that never change may be
 * cached.
 */
const cacheControl = (name: string): string =>
  name === 'timestamp.json' ? 'no-cache' : 'public, max-age=86400, immutable';

export async function repositoryRoutes(app: FleetApp, options: AppOptions): Promise<void> {
  const tags = ['repository'];
  app.get(
    '/repo/image/metadata/:name',
    {
      schema: {
        summary: 'Signed metadata of the image repository',
        tags,
        params: Type.Object({ name: SegmentName }),
        response: { 200: Bytes, ...errors },
      },
    },
    async (request, reply) => {
      const bytes = await options.images.metadata(request.params.name);
      if (bytes === null)
        throw new Fault('not_found', `the image repository has no metadata ${request.params.name}`);
      return reply
        .type('application/json')
        .header('cache-control', cacheControl(request.params.name))
        .send(Buffer.from(bytes));
    },
  );

  app.get(
    '/repo/image/targets/:component/:version/:file',
    {
      schema: {
        summary: 'A signed release envelope, by the name that its digest gives it',
        tags,
        params: Type.Object({ component: Component, version: Version, file: SegmentName }),
        response: { 200: Bytes, ...errors },
      },
    },
    async (request, reply) => {
      const { component, version, file } = request.params;
      const bytes = await options.images.targetFile(component, version, file);
      if (bytes === null)
        throw new Fault(
          'not_found',
          `the image repository has no target ${component}/${version}/${file}`,
        );
      return reply
        .type('application/json')
        .header('cache-control', cacheControl(file))
        .send(Buffer.from(bytes));
    },
  );

  app.get(
    '/repo/image/files/:sha256',
    {
      schema: {
        summary: 'A file of a release by its digest; `Range: bytes=N-` resumes',
        tags,
        params: Type.Object({ sha256: Hex32 }),
        response: { 200: Bytes, 206: Bytes, ...errors },
      },
    },
    async (request, reply) => {
      const { sha256 } = request.params;
      const { artifacts } = options;
      const found = await artifacts.stat(sha256);
      if (found === null)
        throw new Fault('not_found', `the image repository has no file ${sha256}`);
      const { lengthBytes } = found;
      const start = rangeStart(request.headers.range);
      void reply
        .type('application/octet-stream')
        .header('accept-ranges', 'bytes')
        .header('etag', `"${sha256}"`)
        .header('cache-control', cacheControl(sha256));
      if (start !== null && start >= lengthBytes)
        return reply.code(416).header('content-range', `bytes */${lengthBytes}`).send();
      if (request.method === 'HEAD') return reply.header('content-length', lengthBytes).send();
      const artifact = await artifacts.get(sha256, { start: start ?? 0, end: null });
      if (artifact === null)
        throw new Fault('not_found', `the image repository has no file ${sha256}`);
      if (start === null) return reply.header('content-length', lengthBytes).send(artifact.stream);
      return reply
        .code(206)
        .header('content-range', `bytes ${start}-${lengthBytes - 1}/${lengthBytes}`)
        .header('content-length', lengthBytes - start)
        .send(artifact.stream);
    },
  );
}

/**
 * Where a single open range starts; null for no range, and for every other form, which a server may
 * ignore (RFC 9110, 14.2).
 */
function rangeStart(header: string | undefined): number | null {
  const digits = /^bytes=(\d{1,15})-$/.exec(header ?? '')?.[1];
  return digits === undefined ? null : Number(digits);
}
