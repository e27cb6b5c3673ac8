// Operator routes about releases: the files are uploaded first, by digest; then the signed envelope
// with the new signed targets publishes them. The server verifies signatures and cannot make any: a
// publisher token lets its holder upload what was signed elsewhere.
import type { Readable } from 'node:stream';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type, type Static } from 'typebox';
import { limits } from '../../../shared/base/limits.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { Component, Version } from '../../../shared/release/manifest-head.js';
import { modelBom } from '../../../shared/release/model-bom.js';
import {
  PublishRequest,
  ReleaseDetail,
  ReleasePage,
  releaseQuery,
  pageQuery,
  RepositoryView,
  StoredFile,
} from '../../../shared/protocol/operator-api.js';
import type { ReleaseRow } from '../../interfaces.js';
import { operatorOfRequest } from '../authentication.js';
import { errorResponses, type FleetApp, type HttpServices } from '../context.js';
import { pageOf } from '../paging.js';
import { traceOf } from '../trace.js';
import { iso, releaseDetail, releaseSummary } from '../views.js';
import { digestsInDocument, digestsInEnvelope } from '../../tuf/referenced-files.js';

const FILE_TYPE = 'application/octet-stream';
const BOM_TYPE = 'application/vnd.cyclonedx+json; version=1.6';
const ReleaseName = Type.Object({ component: Component, version: Version });
const ReleaseKey = Type.Tuple([Type.Integer(), Type.String(), Type.String()]);

type Options = Pick<HttpServices, 'releases' | 'images' | 'rollouts' | 'uploads' | 'clock'>;
const tags = ['releases'];

export const releaseRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  // The body of an upload stays a stream: its bytes go to the disk as they arrive.
  app.addContentTypeParser(FILE_TYPE, (_request, payload, done) => done(null, payload));
  uploadRoute(app, options);
  publishRoute(app, options);
  readRoutes(app, options);
  repositoryRoute(app, options);
};

function uploadRoute(app: FleetApp, { uploads }: Options): void {
  app.put(
    '/files/:sha256',
    {
      config: { role: 'publisher', action: 'file.put', recorded: 'before', bodyNotLogged: true },
      schema: {
        operationId: 'putFile',
        summary: 'Upload a file of a release, by its digest',
        tags,
        consumes: [FILE_TYPE],
        params: StoredFile,
        body: Type.Unsafe<Readable>({ contentMediaType: FILE_TYPE }),
        response: { 200: StoredFile, ...errorResponses },
      },
    },
    async (request) => {
      if (request.headers['content-type'] !== FILE_TYPE)
        throw new Fault('media_type_unsupported', `send the file as ${FILE_TYPE}`);
      const { sha256 } = request.params;
      const length = request.headers['content-length'];
      await uploads.put({
        digest: sha256,
        operator: operatorOfRequest(request).name,
        lengthBytes: length === undefined ? null : Number(length),
        stream: request.body,
      });
      return { sha256 };
    },
  );
}

function publishRoute(app: FleetApp, options: Options): void {
  const { images, releases, uploads, clock } = options;
  app.post(
    '/releases',
    {
      bodyLimit: limits.publishBodyMaxBytes,
      config: {
        role: 'publisher',
        action: 'release.publish',
        recorded: 'before',
        bodyNotLogged: true,
      },
      schema: {
        operationId: 'publishRelease',
        summary: 'Publish a signed release',
        tags,
        body: PublishRequest,
        response: { 200: ReleaseDetail, ...errorResponses },
      },
    },
    async (request) => {
      const envelope = base64(request.body.envelope, 'envelope');
      const targets = base64(request.body.targets, 'targets');
      const files = new Set(digestsInEnvelope(envelope));
      for (const sha256 of digestsInDocument(targets)) files.add(sha256);
      await uploads.claim(files);
      const release = await images.publish(envelope, targets);
      const row = await releases.add(
        release,
        {
          actor: operatorOfRequest(request).name,
          action: 'release.published',
          subject: `${release.component}@${release.version}`,
          detail: release.digest,
          trace: traceOf(request.id),
        },
        clock.now(),
      );
      await uploads.published(files);
      return detailOf(row, options);
    },
  );
}

async function detailOf(
  row: ReleaseRow,
  { images, releases, rollouts }: Options,
): Promise<ReleaseDetail> {
  const { component, version } = row;
  const own = await releases.rollouts(component, version, limits.releaseRolloutsMaxCount);
  return releaseDetail(row, await images.provenance(row), own, await rollouts.standing());
}

async function named(
  { component, version }: Static<typeof ReleaseName>,
  { releases }: Options,
): Promise<ReleaseRow> {
  const row = await releases.find(component, version);
  if (row !== null) return row;
  throw new Fault(
    'not_found',
    `there is no release ${component}@${version}; \`linnet release list\` lists the releases`,
  );
}

function readRoutes(app: FleetApp, options: Options): void {
  const { releases } = options;
  app.get(
    '/releases',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'listReleases',
        summary: 'Releases, the newest first, without their manifests',
        tags,
        querystring: Type.Object({ ...pageQuery, ...releaseQuery }),
        response: { 200: ReleasePage, ...errorResponses },
      },
    },
    ({ query }) =>
      pageOf(query, ReleaseKey, {
        rows: (page) => releases.page(page, query),
        scanned: (after) => releases.scanned(query, after),
        key: (row): Static<typeof ReleaseKey> => [row.publishedAt, row.component, row.version],
        view: (rows) => rows.map(releaseSummary),
      }),
  );

  app.get(
    '/releases/:component/:version',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getRelease',
        summary: 'One release with its manifest',
        tags,
        params: ReleaseName,
        response: { 200: ReleaseDetail, ...errorResponses },
      },
    },
    async ({ params }) => detailOf(await named(params, options), options),
  );

  app.get(
    '/releases/:component/:version/bom',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getReleaseBom',
        summary: 'The bill of materials of a release, from its manifest: CycloneDX 1.6 (ML-BOM)',
        tags,
        params: ReleaseName,
        response: {
          200: { description: 'CycloneDX', content: { [BOM_TYPE]: { schema: Type.Unknown() } } },
          ...errorResponses,
        },
      },
    },
    async ({ params }, reply) => {
      const row = await named(params, options);
      const bom = modelBom(row, iso(row.publishedAt));
      return reply.type(BOM_TYPE).send(`${JSON.stringify(bom, null, 2)}\n`);
    },
  );
}

function repositoryRoute(app: FleetApp, { images }: Options): void {
  app.get(
    '/repository',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getRepository',
        summary: "The image repository's current root and targets, which `linnet publish` extends",
        tags,
        response: { 200: RepositoryView, ...errorResponses },
      },
    },
    () => images.view(),
  );
}

function base64(text: string, what: string): Uint8Array {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    throw new Fault('message_undecodable', `${what} is not base64`);
  return new Uint8Array(Buffer.from(text, 'base64'));
}
