// The image repository over HTTP, for anybody: what it serves is signed, and a device verifies each
// byte, so that any mirror of these paths will do. Files of releases take Range and conditional
// requests, so that a download resumes and a cache revalidates.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import fresh from 'fresh';
import { Type } from 'typebox';
import { sha256 } from '../../../shared/base/bytes.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { Component, Version } from '../../../shared/release/manifest-head.js';
import { StoredFile } from '../../../shared/protocol/operator-api.js';
import { bytesOf, errorResponses, type FleetApp, type HttpServices } from '../context.js';
import { sendFile, sendNotModified } from '../send-file.js';

/** One path segment that cannot leave its folder. */
const SegmentName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$' });

type Options = Pick<HttpServices, 'images' | 'artifacts'>;
const tags = ['repository'];

/**
 * TUF file names carry their version or digest, except timestamp.json: the others never change and
 * may be cached.
 */
const cacheControl = (name: string): string =>
  name === 'timestamp.json' ? 'no-cache' : 'public, max-age=86400, immutable';

export const imageRepositoryRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  documentRoutes(app, options);
  fileRoute(app, options);
};

function documentRoutes(app: FleetApp, { images }: Options): void {
  app.get(
    '/repo/image/metadata/:name',
    {
      schema: {
        operationId: 'getImageMetadata',
        summary: 'Signed metadata of the image repository',
        tags,
        params: Type.Object({ name: SegmentName }),
        response: {
          200: bytesOf('application/json', 'The signed bytes'),
          304: Type.Null({ description: 'The client has it (If-None-Match)' }),
          ...errorResponses,
        },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const bytes = await images.metadata(name);
      if (bytes === null)
        throw new Fault('not_found', `the image repository has no metadata ${name}`);
      const etag = `"${sha256(bytes)}"`;
      void reply.headers({ etag, 'cache-control': cacheControl(name) });
      if (fresh(request.headers, { etag })) return sendNotModified(reply);
      return reply.type('application/json').send(Buffer.from(bytes));
    },
  );

  app.get(
    '/repo/image/targets/:component/:version/:file',
    {
      schema: {
        operationId: 'getImageTarget',
        summary: 'A signed release envelope; its digest is part of its name',
        tags,
        params: Type.Object({ component: Component, version: Version, file: SegmentName }),
        response: { 200: bytesOf('application/json', 'The signed bytes'), ...errorResponses },
      },
    },
    async (request, reply) => {
      const { component, version, file } = request.params;
      const bytes = await images.targetFile(component, version, file);
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
}

function fileRoute(app: FleetApp, { artifacts }: Options): void {
  const url = '/repo/image/files/:sha256';
  const content = 'application/octet-stream';
  app.get(
    url,
    {
      exposeHeadRoute: false,
      schema: {
        operationId: 'getImageFile',
        summary: 'A file of a release by its digest; takes Range and If-None-Match',
        tags,
        params: StoredFile,
        response: {
          200: bytesOf(content, 'The whole file'),
          206: bytesOf(content, 'The range of bytes that was asked for'),
          304: Type.Null({ description: 'The client has the file' }),
          307: Type.Null({ description: 'The file is at Location for a short time' }),
          ...errorResponses,
        },
      },
    },
    async (request, reply) => {
      await sendFile(artifacts, request.params.sha256, request, reply.type(content));
      return reply;
    },
  );
  // Fastify's own HEAD route would open the file and overwrite its length with 0.
  app.head(url, { schema: { hide: true, params: StoredFile } }, async (request, reply) => {
    await sendFile(artifacts, request.params.sha256, request, reply.type(content));
    return reply;
  });
}
