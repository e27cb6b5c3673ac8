// Publishes a verified bundle into the image repository. The publisher trusts its own root file and
// keys, never the server: the bundle is verified first, the server's current targets must be signed
// by the root's targets role, and the next targets are exactly those plus this one release. Each
// file is streamed from its place in the bundle to the server; no copy is made. Publishing the same
// release again does nothing.
//
// A server (or an attacker between) could serve an old targets.json that was once genuine. The
// publisher therefore keeps the last one that it published beside its keys
// (published-targets.json), and refuses a lower version.
import { readFile } from 'node:fs/promises';
import { sha256 } from '../../shared/base/bytes.js';
import { Fault, reason, systemCode } from '../../shared/base/fault-codes.js';
import { openAcceptanceSet } from '../../shared/release/acceptance-set.js';
import { fileOf } from '../../shared/release/model-manifest.js';
import { type Release } from '../../shared/release/manifest.js';
import { targetPath } from '../../shared/release/release-ref.js';
import type { Clock, Random } from '../../shared/base/interfaces.js';
import { routes, type ImageCustom } from '../../shared/protocol/device-api.js';
import {
  PublishRequest,
  ReleaseDetail,
  RepositoryView,
} from '../../shared/protocol/operator-api.js';
import type { Signer } from '../../shared/trust/signer.js';
import {
  acceptanceOf,
  acceptanceRing,
  decodeDocument,
  heading,
  releaseRing,
  requireThreshold,
  roleRing,
  signDocument,
  type AcceptanceFile,
  type Document,
  type TargetFile,
} from '../../shared/trust/documents.js';
import { startTrust, withRoot, type TrustedSet } from '../../shared/trust/trusted-set.js';
import { validityMs } from '../../shared/trust/validity.js';
import { readInputFile } from '../model/input-data/input-file.js';
import { requireAccepted } from './acceptance.js';
import { bundleFile, readBundle, type BundleView } from './bundle/read.js';
import type { FleetClient } from '../fleet/fleet-client.js';
import { writeWhole } from './keys/key-files.js';

/** The file, beside the offline keys, that keeps what was published last. */
export const PUBLISHED_TARGETS_NAME = 'published-targets.json';

export interface PublishOptions {
  /** Path of the bundle. */
  readonly bundle: string;
  /** Bytes of the image root that the publisher trusts. */
  readonly root: Uint8Array;
  /** Keys of the root's targets role, as many as its threshold. */
  readonly targetsKeys: readonly Signer[];
  /** File that keeps what was published last (rollback protection); null: keep none. */
  readonly memory: string | null;
  readonly client: FleetClient;
  readonly clock: Clock;
  readonly random: Random;
  /** The oldest version that devices may be sent back to from now on; null: as before. */
  readonly floor: string | null;
  /**
   * File of the acceptance set that releases of the component must pass from now on; when left out,
   * as before.
   */
  readonly acceptance?: string;
  readonly progress?: (text: string) => void;
}

export interface Published {
  readonly release: Release;
  readonly targetsVersion: number;
  /** Names of the files that were uploaded; those that the server already had are left out. */
  readonly uploaded: readonly string[];
  readonly already: boolean;
  /** What the release reached on the component's acceptance set; null: there is none. */
  readonly accepted: string | null;
}

/**
 * Faults: those of readBundle, metadata_*, root_version, key_invalid, conflict (published with
 * other content), those of FleetClient.
 */
export async function publishBundle(options: PublishOptions): Promise<Published> {
  const view = await readBundle(
    options.bundle,
    releaseRing(startTrust('image', options.root).root.signed),
  );
  const repository = await options.client.request('GET', '/repository', RepositoryView);
  const trust = follow(startTrust('image', options.root), fromBase64(repository.root));
  const current = decodeDocument('targets', fromBase64(repository.targets));
  requireThreshold(
    current,
    roleRing(trust.root.signed, 'targets'),
    `image root ${trust.root.signed.version}`,
  );
  await requireNoRollback(current, options.memory, trust);
  const { file, bytes } = await acceptanceFor(current, view.release.component, trust, options);
  const accepted = bytes === null ? null : await accept(bytes, view, trust);
  const next = await nextTargets(current, view, trust, { ...options, acceptanceFile: file });
  const already = next === null;
  const targets = next ?? current.bytes;
  const uploaded = already ? [] : await upload(view, options);
  if (!already && file !== null && bytes !== null)
    if (!(await isThere(options.client, file.sha256)))
      await options.client.putFile(file.sha256, [bytes], bytes.length);
  // Sent even when the release is already published: this completes a publication that was cut off
  // after the repository stored it.
  const request: PublishRequest = { envelope: toBase64(view.envelope), targets: toBase64(targets) };
  await options.client.request('POST', '/releases', ReleaseDetail, request);
  if (options.memory !== null)
    await writeWhole(options.memory, targets, { random: options.random, overwrite: true });
  return {
    release: view.release,
    targetsVersion: decodeDocument('targets', targets).signed.version,
    uploaded,
    already,
    accepted,
  };
}

/**
 * The acceptance set of the component from now on: the given file, else the one that the current
 * targets name, fetched and checked against their digest.
 */
async function acceptanceFor(
  current: Document<'targets'>,
  component: string,
  trust: TrustedSet,
  { acceptance, client }: PublishOptions,
): Promise<{ file: AcceptanceFile | null; bytes: Uint8Array | null }> {
  if (acceptance !== undefined) {
    const bytes = readInputFile(acceptance);
    const set = openAcceptanceSet(bytes, acceptanceRing(trust.root.signed));
    if (set.component !== component)
      throw new Fault('conflict', `${acceptance} is a set of ${set.component}, not ${component}`);
    return { file: { sha256: sha256(bytes), length: bytes.length }, bytes };
  }
  const file = acceptanceOf(current.signed, component);
  if (file === null) return { file: null, bytes: null };
  const path = routes.imageFile(file.sha256);
  const bytes = await client.file(path, file.length);
  if (bytes?.length !== file.length || sha256(bytes) !== file.sha256)
    throw new Fault('file_digest', `${path}: not the acceptance set that the targets name`);
  return { file, bytes };
}

/** Opened with the acceptance keys of the root before it is run. Fault acceptance_failed. */
async function accept(bytes: Uint8Array, view: BundleView, trust: TrustedSet): Promise<string> {
  const set = openAcceptanceSet(bytes, acceptanceRing(trust.root.signed));
  const { manifest } = view.release;
  const chunks: Uint8Array[] = [];
  for await (const chunk of bundleFile(view, fileOf(manifest, 'model').name)) chunks.push(chunk);
  return requireAccepted(set, manifest, new Uint8Array(Buffer.concat(chunks)));
}

/** The server may have the next root; the trusted root must verify it. */
function follow(trust: TrustedSet, served: Uint8Array): TrustedSet {
  const version = decodeDocument('root', served).signed.version;
  if (version <= trust.root.signed.version) return trust;
  if (version > trust.root.signed.version + 1) {
    throw new Fault(
      'root_version',
      `the server's image root is version ${version}, the trusted root (--root) is version ` +
        `${trust.root.signed.version}: get the current root file from the people who sign it`,
    );
  }
  return withRoot(trust, served);
}

async function requireNoRollback(
  current: Document<'targets'>,
  memory: string | null,
  trust: TrustedSet,
): Promise<void> {
  if (memory === null) return;
  let bytes: Uint8Array;
  try {
    bytes = await readFile(memory);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw new Fault('disk_failed', `cannot read ${memory}: ${reason(error)}`, { cause: error });
  }
  const last = decodeDocument('targets', bytes);
  requireThreshold(
    last,
    roleRing(trust.root.signed, 'targets'),
    `image root ${trust.root.signed.version}`,
  );
  if (current.signed.version < last.signed.version) {
    throw new Fault(
      'metadata_rollback',
      `the server serves targets version ${current.signed.version}, but version ` +
        `${last.signed.version} was published from here (${memory})`,
    );
  }
}

/** The next targets.json, signed; null when the release is already in the current one. */
async function nextTargets(
  current: Document<'targets'>,
  view: BundleView,
  trust: TrustedSet,
  {
    targetsKeys,
    clock,
    floor,
    acceptanceFile,
  }: PublishOptions & { acceptanceFile: AcceptanceFile | null },
): Promise<Uint8Array | null> {
  const { release, envelope } = view;
  const path = targetPath(release.component, release.version);
  const known = Object.hasOwn(current.signed.targets, path)
    ? current.signed.targets[path]
    : undefined;
  if (known !== undefined) {
    if (known.hashes['sha256'] === release.digest) return null;
    throw new Fault(
      'conflict',
      `${release.component} ${release.version} is already published with other content ` +
        `(${known.hashes['sha256']}): raise the version in the release spec`,
    );
  }
  const role = trust.root.signed.roles.targets;
  const unknownKeys = targetsKeys.filter((key) => !role.keyids.includes(key.keyId));
  if (unknownKeys.length > 0)
    throw new Fault(
      'key_invalid',
      `the root does not name ${unknownKeys.map((key) => key.keyId).join(', ')} as a targets key`,
    );
  if (targetsKeys.length < role.threshold)
    throw new Fault(
      'key_invalid',
      `the root requires ${role.threshold} targets keys, ${targetsKeys.length} are given`,
    );
  const floors = floorsOf(current, release.component, floor);
  const custom: ImageCustom = {
    component: release.component,
    version: release.version,
    hardware: release.manifest.hardware,
  };
  const added: TargetFile = { length: envelope.length, hashes: { sha256: release.digest }, custom };
  return signDocument(
    {
      ...current.signed,
      ...heading('targets', current.signed.version + 1, clock.now() + validityMs.imageTargets),
      ...(floors === undefined ? {} : { 'x-linnet-floors': floors }),
      ...(acceptanceFile === null
        ? {}
        : {
            'x-linnet-acceptance': {
              ...current.signed['x-linnet-acceptance'],
              [release.component]: acceptanceFile,
            },
          }),
      targets: { ...current.signed.targets, [path]: added },
    },
    targetsKeys,
  );
}

/** A floor stands until a publication names another. */
function floorsOf(
  { signed }: Document<'targets'>,
  component: string,
  floor: string | null,
): Record<string, string> | undefined {
  const known = signed['x-linnet-floors'];
  return floor === null ? known : { ...known, [component]: floor };
}

async function upload(view: BundleView, { client, progress }: PublishOptions): Promise<string[]> {
  const uploaded: string[] = [];
  for (const { entry } of view.files) {
    if (await isThere(client, entry.sha256)) continue;
    progress?.(`uploading ${entry.name} (${entry.length} bytes)`);
    await client.putFile(entry.sha256, bundleFile(view, entry.name), entry.length);
    uploaded.push(entry.name);
  }
  return uploaded;
}

/**
 * Whether the server says that it has the file, which saves the upload. A wrong answer does no
 * harm: the server checks that every file is there when the release is published.
 */
const isThere = (client: FleetClient, digest: string): Promise<boolean> =>
  client.hasFile(routes.imageFile(digest));

const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
