// `linnet publish`: takes a verified bundle into the image repository. The release desk trusts its
// own root file and keys, never the server: the bundle is proven first, the server's present
// targets must be signed by the root's targets role, and what is signed here is exactly those
// targets plus this one release. Publishing the same release again does nothing.
//
// A server (or someone on the way) could still show an old targets.json that was once genuine. The
// desk therefore keeps the last one that it published beside its keys (published-targets.json), and
// refuses to go below it.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { Fault, reason, systemCode } from '../../shared/base/fault-codes.js';
import { targetPath, type Release } from '../../shared/release/manifest.js';
import type { Clock, Random } from '../../shared/base/interfaces.js';
import { routes, type ImageCustom } from '../../shared/protocol/device-api.js';
import { PublishRequest, ReleaseView, RepositoryView } from '../../shared/protocol/operator-api.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import type { Signer } from '../../shared/trust/signer.js';
import {
  decodeDocument,
  heading,
  releaseRing,
  requireThreshold,
  roleRing,
  signDocument,
  type Document,
  type TargetFile,
} from '../../shared/trust/documents.js';
import { startTrust, withRoot, type TrustedSet } from '../../shared/trust/trusted-set.js';
import { validityMs } from '../../shared/trust/validity.js';
import { readRoot } from '../cli/commands/bundle.js';
import { bundleFile, readBundle, type BundleView } from './bundle/read.js';
import type { Output } from '../cli/output.js';
import { connect, connectionOptions, type FleetClient } from '../fleet/fleet-client.js';
import { asFault, KEY_SUFFIX, readSigningKey, writeWhole } from './keys/key-files.js';

const MEMORY = 'published-targets.json';

export interface PublishOptions {
  /** Path of the bundle. */
  readonly bundle: string;
  /** Bytes of the image root that the desk trusts. */
  readonly root: Uint8Array;
  /** Keys of the root's targets role, as many as its threshold. */
  readonly targetsKeys: readonly Signer[];
  /** File in which the desk remembers what it published last; null to do without. */
  readonly memory: string | null;
  readonly client: FleetClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly progress?: (text: string) => void;
}

export interface Published {
  readonly release: Release;
  readonly targetsVersion: number;
  /** Names of the files that were uploaded; those that the server already had are left out. */
  readonly uploaded: readonly string[];
  readonly already: boolean;
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
  const next = await nextTargets(current, view, trust, options);
  const already = next === null;
  const targets = next ?? current.bytes;
  const uploaded = already ? [] : await upload(view, options);
  // Also when it is already there: a publication that was cut after the repository took it is
  // completed by this.
  const request: PublishRequest = { envelope: toBase64(view.envelope), targets: toBase64(targets) };
  await options.client.request('POST', '/releases', ReleaseView, request);
  if (options.memory !== null)
    await writeWhole(options.memory, targets, { random: options.random, overwrite: true });
  return {
    release: view.release,
    targetsVersion: decodeDocument('targets', targets).signed.version,
    uploaded,
    already,
  };
}

/** The server may know a later root; it must follow from ours. */
function follow(trust: TrustedSet, served: Uint8Array): TrustedSet {
  const version = decodeDocument('root', served).signed.version;
  if (version <= trust.root.signed.version) return trust;
  if (version > trust.root.signed.version + 1) {
    throw new Fault(
      'root_version',
      `the server's image root is version ${version}, --root is version ${trust.root.signed.version}: get a newer root file from whoever signs it`,
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
      `the server shows targets ${current.signed.version}, this desk published version ${last.signed.version} (${memory})`,
    );
  }
}

/** The next targets.json, signed; null when the release is already in the current one. */
async function nextTargets(
  current: Document<'targets'>,
  view: BundleView,
  trust: TrustedSet,
  { targetsKeys, clock }: PublishOptions,
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
      `${release.component} ${release.version} is already published with other content (${known.hashes['sha256']}): raise the version in the release spec`,
    );
  }
  const role = trust.root.signed.roles.targets;
  const foreign = targetsKeys.filter((key) => !role.keyids.includes(key.keyId));
  if (foreign.length > 0)
    throw new Fault(
      'key_invalid',
      `the root does not name ${foreign.map((key) => key.keyId).join(', ')} as a targets key`,
    );
  if (targetsKeys.length < role.threshold)
    throw new Fault(
      'key_invalid',
      `the root asks for ${role.threshold} targets keys, ${targetsKeys.length} are given`,
    );
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
      targets: { ...current.signed.targets, [path]: added },
    },
    targetsKeys,
  );
}

async function upload(view: BundleView, { client, progress }: PublishOptions): Promise<string[]> {
  const uploaded: string[] = [];
  const folder = await mkdtemp(join(tmpdir(), 'linnet-publish-')).catch((error: unknown) => {
    throw asFault(error, tmpdir());
  });
  try {
    for (const { entry } of view.files) {
      if (await isThere(client, entry.sha256)) continue;
      progress?.(`uploading ${entry.name} (${entry.length} bytes)`);
      const copy = join(folder, entry.sha256);
      await pipeline(Readable.from(bundleFile(view, entry.name)), createWriteStream(copy)).catch(
        (error: unknown) => {
          throw asFault(error, copy);
        },
      );
      await client.putFile(entry.sha256, copy, entry.length);
      await rm(copy);
      uploaded.push(entry.name);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return uploaded;
}

/**
 * Saves an upload where the server says that it has the file; its word is enough, because
 * publishing checks it again.
 */
async function isThere(client: FleetClient, sha256: string): Promise<boolean> {
  const url = `${client.server}${routes.imageFile(sha256)}`;
  try {
    return (await fetch(url, { method: 'HEAD' })).status === 200;
  } catch (error) {
    throw new Fault('server_unreachable', `${url}: ${reason(error)}`, { cause: error });
  }
}

const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

const HELP = `
Proves the bundle with the root's release keys, checks the server's present targets with the root's targets keys,
signs the next targets with OFFLINE_DIR/image-targets.key.json, uploads what is missing, and publishes.
Publishing the same bundle again does nothing; another bundle of the same version is refused.

Example:
  linnet publish digits-1.1.0.bundle --keys fleet/offline --root fleet/trust/image-root.json \\
    --server http://127.0.0.1:7300 --token-file fleet/publisher.token`;

export function registerPublishCommand(program: Command, out: Output): void {
  const command = program
    .command('publish')
    .description('sign a release into the image repository and upload it')
    .argument('<bundle>', 'bundle to publish')
    .requiredOption('--keys <dir>', 'folder of the offline keys (image-targets.key.json)')
    .requiredOption('--root <file>', 'trusted image-root.json');
  connectionOptions(command)
    .addHelpText('after', HELP)
    .action(async (bundle: string, options: { keys: string; root: string }) => {
      const { release, targetsVersion, uploaded, already } = await publishBundle({
        bundle,
        root: await readRoot(options.root),
        targetsKeys: [await readSigningKey(join(options.keys, `image-targets${KEY_SUFFIX}`))],
        memory: join(options.keys, MEMORY),
        client: await connect(command),
        clock: realClock,
        random: realRandom,
        progress: (text) => out.progress(text),
      });
      const { component, version, digest } = release;
      out.result({ component, version, release: digest, targetsVersion, uploaded, already }, () =>
        already
          ? `${component} ${version} was published before; nothing to do`
          : `published ${component} ${version}\n  release  ${digest}\n  targets  version ${targetsVersion}\n  files    ${uploaded.length === 0 ? 'none new' : uploaded.join(', ')}`,
      );
    });
}
