// Operator routes about releases: files go up first by digest, then the signed envelope with the
// new signed targets makes a release of them. The server checks signatures and cannot make any: its
// publisher role is a mailbox, not a key.
import type { Readable } from 'node:stream';
import { Type } from 'typebox';
import { limits } from '../../../shared/base/limits.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { Component, Version } from '../../../shared/release/manifest.js';
import {
  ApiError,
  PublishRequest,
  ReleaseView,
  RepositoryView,
} from '../../../shared/protocol/operator-api.js';
import { Hex32 } from '../../../shared/base/bytes.js';
import type { AppOptions, FleetApp } from '../app.js';
import { caller } from './operator-api.js';
import { releaseView } from './views.js';

const errors = { '4xx': ApiError, '5xx': ApiError } as const;
const Stored = Type.Object({ sha256: Hex32 }, { additionalProperties: false });
const PUBLISH_BODY_MAX_BYTES = 2 * (limits.manifestMaxBytes + limits.targetsMaxBytes) + 4096;

const tags = ['releases'];

export function releaseRoutes(app: FleetApp, options: AppOptions): void {
  publishing(app, options);
  reading(app, options);
}

function publishing(app: FleetApp, { store, clock, images, artifacts }: AppOptions): void {
  // The body of an upload stays a stream: it goes to disk as it comes.
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) =>
    done(null, payload),
  );

  app.put(
    '/files/:sha256',
    {
      config: { role: 'publisher', action: 'file.put', bodyNotLogged: true },
      schema: {
        summary: 'Upload a file of a release, by its digest (application/octet-stream)',
        tags,
        consumes: ['application/octet-stream'],
        params: Stored,
        response: { 200: Stored, ...errors },
      },
    },
    async (request) => {
      if (request.headers['content-type'] !== 'application/octet-stream')
        throw new Fault('message_undecodable', 'send the file as application/octet-stream');
      await artifacts.put(request.params.sha256, request.body as Readable, {
        maxBytes: limits.releaseFileMaxBytes,
      });
      return { sha256: request.params.sha256 };
    },
  );

  app.post(
    '/releases',
    {
      bodyLimit: PUBLISH_BODY_MAX_BYTES,
      config: { role: 'publisher', action: 'release.publish', bodyNotLogged: true },
      schema: {
        summary: 'Publish a signed release',
        tags,
        body: PublishRequest,
        response: { 200: ReleaseView, ...errors },
      },
    },
    async (request) => {
      const release = await images.publish(
        base64(request.body.envelope, 'envelope'),
        base64(request.body.targets, 'targets'),
      );
      await store.releases.add(release, clock.now());
      await store.audit.append(
        {
          actor: caller(request).name,
          action: 'release.published',
          subject: `${release.component}@${release.version}`,
          detail: release.digest,
        },
        clock.now(),
      );
      const row = await store.releases.find(release.component, release.version);
      return releaseView(row ?? { ...release, publishedAt: clock.now() });
    },
  );
}

function reading(app: FleetApp, { store, images }: AppOptions): void {
  app.get(
    '/releases',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Releases, the newest first',
        tags,
        response: { 200: Type.Array(ReleaseView), ...errors },
      },
    },
    async () => (await store.releases.list(limits.listPageMaxCount)).map(releaseView),
  );

  app.get(
    '/releases/:component/:version',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'One release',
        tags,
        params: Type.Object({ component: Component, version: Version }),
        response: { 200: ReleaseView, ...errors },
      },
    },
    async (request) => {
      const { component, version } = request.params;
      const row = await store.releases.find(component, version);
      if (row === null) throw new Fault('not_found', `there is no release ${component}@${version}`);
      return releaseView(row);
    },
  );

  app.get(
    '/repository',
    {
      config: { role: 'viewer' },
      schema: {
        summary: "The image repository's current root and targets, for the release desk",
        tags,
        response: { 200: RepositoryView, ...errors },
      },
    },
    async () => images.view(),
  );
}

function base64(text: string, what: string): Uint8Array {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    throw new Fault('message_undecodable', `${what} is not base64`);
  return new Uint8Array(Buffer.from(text, 'base64'));
}
