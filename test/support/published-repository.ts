// A real repository folder with a real image repository over it, served by a small HTTP server with
// the paths of the fleet server, and `linnet publish`, which publishes into it. For tests of both
// ends; the fleet server's own routes are not here.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { publishBundle, type Published } from '../../firmware-tools/release/publish.js';
import { FleetClient } from '../../firmware-tools/fleet/fleet-client.js';
import { initRepository, type InitResult } from '../../firmware-tools/release/repository.js';
import { readSigningKey } from '../../firmware-tools/release/keys/key-files.js';
import { DiskArtifactStore } from '../../server/artifacts/disk.js';
import type { ArtifactStore } from '../../server/interfaces.js';
import { releaseDetail } from '../../server/http/views.js';
import { ImageRepository } from '../../server/tuf/image-repository.js';
import { readOnlineKeys, type OnlineKeys } from '../../server/tuf/online-keys.js';
import { limits } from '../../shared/base/limits.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realRandom } from '../../shared/platform/clock.js';
import type { Signer } from '../../shared/trust/signer.js';
import { tempFolder } from './temp-folders.js';
import { build, smallSpec, writeSpec } from './release-builder.js';
import { SimClock } from '../sim/tuf-repositories.js';

export class PublishedRepository {
  readonly folder = tempFolder();
  readonly clock = new SimClock();
  /** Method and path of every request. */
  readonly requests: string[] = [];
  /** Replaces the view that the server gives `linnet publish`. */
  view:
    | ((
        honest: Awaited<ReturnType<ImageRepository['view']>>,
      ) => ReturnType<ImageRepository['view']>)
    | null = null;
  made!: InitResult;
  keys!: OnlineKeys;
  images!: ImageRepository;
  artifacts!: ArtifactStore;
  targetsKey!: Signer;
  releaseKey!: Signer;
  #server!: Server;

  static async begin(): Promise<PublishedRepository> {
    const repository = new PublishedRepository();
    repository.made = await initRepository({
      out: join(repository.folder, 'fleet'),
      passphrase: null,
      clock: repository.clock,
      random: realRandom,
    });
    repository.keys = await readOnlineKeys(repository.made.server);
    repository.targetsKey = await readSigningKey(
      join(repository.made.offline, 'image-targets.key.json'),
      {},
    );
    repository.releaseKey = await readSigningKey(
      join(repository.made.offline, 'release.key.json'),
      {},
    );
    await repository.reopen();
    repository.#server = createServer(
      (request, response) => void repository.#answer(request, response),
    );
    await new Promise<void>((resolve) => repository.#server.listen(0, '127.0.0.1', resolve));
    return repository;
  }

  /** As a restart of the server: what is on disk is all there is. */
  async reopen(): Promise<void> {
    this.artifacts = await DiskArtifactStore.open({
      folder: join(this.made.server, 'files'),
      random: realRandom,
    });
    this.images = await ImageRepository.open({
      folder: this.made.server,
      artifacts: this.artifacts,
      keys: this.keys.image,
      clock: this.clock,
      log: silentLog,
      random: realRandom,
    });
  }

  async end(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get root(): Uint8Array {
    return readFileSync(join(this.made.trust, 'image-root.json'));
  }

  metadataPath(name: string): string {
    return join(this.made.server, 'metadata', 'image', name);
  }

  /** Builds a small release; returns the bundle's path. */
  async bundle(
    version: string,
    model?: Uint8Array,
    key: Signer = this.releaseKey,
  ): Promise<string> {
    const folder = tempFolder();
    await build(folder, writeSpec(folder, smallSpec(version), model), 'release.bundle', key);
    return join(folder, 'release.bundle');
  }

  publish(
    bundle: string,
    more: Partial<Parameters<typeof publishBundle>[0]> = {},
  ): Promise<Published> {
    return publishBundle({
      floor: null,
      bundle,
      root: this.root,
      targetsKeys: [this.targetsKey],
      memory: join(this.made.offline, 'published-targets.json'),
      client: new FleetClient({ server: this.url, token: 'lnt_test' }),
      clock: this.clock,
      random: realRandom,
      ...more,
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    this.requests.push(`${request.method} ${path}`);
    try {
      await this.#route(request, response, path.split('/').slice(1));
    } catch (error) {
      const fault = error instanceof Fault ? error : new Fault('internal', String(error));
      request.resume();
      response
        .writeHead(fault.entry.http)
        .end(JSON.stringify({ error: fault.detail, code: fault.code, todo: fault.entry.todo }));
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, parts: string[]): Promise<void> {
    if (parts.slice(0, 3).join('/') === 'repo/image/files') {
      const found = await this.artifacts.stat(parts[3] ?? '');
      response.writeHead(found === null ? 404 : 200);
      if (found === null || request.method === 'HEAD') response.end();
      else (await this.artifacts.get(found.digest))?.stream.pipe(response);
      return;
    }
    const body = await this.#bodyOf(request, parts);
    response.writeHead(body === null ? 404 : 200).end(body ?? '{}');
  }

  async #bodyOf(request: IncomingMessage, parts: string[]): Promise<Uint8Array | null> {
    const [a, b, c, d, e, f] = parts;
    const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
    switch (`${request.method} ${[a, b, c].join('/')}`) {
      case 'GET repo/image/metadata':
        return this.images.metadata(d ?? '');
      case 'GET repo/image/targets':
        return this.images.targetFile(d ?? '', e ?? '', f ?? '');
      case 'GET api/v1/repository': {
        const honest = await this.images.view();
        return json((await this.view?.(honest)) ?? honest);
      }
      case 'PUT api/v1/files':
        await this.artifacts.put(d ?? '', request, { maxBytes: limits.releaseFileMaxBytes });
        return json({ sha256: d });
      case 'POST api/v1/releases':
        return json(await this.#publish(request));
      default:
        return null;
    }
  }

  async #publish(request: IncomingMessage): Promise<object> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString()) as {
      envelope: string;
      targets: string;
    };
    const release = await this.images.publish(
      Buffer.from(body.envelope, 'base64'),
      Buffer.from(body.targets, 'base64'),
    );
    return releaseDetail(
      { ...release, publishedAt: Date.UTC(2026, 10, 23) },
      await this.images.provenance(release),
      [],
      [],
    );
  }
}
