// Creates a fleet's trust: the keys, and the first root of the image and of the director
// repository, in three folders for three different places:
//   offline/  keys of people (roots, targets, releases, acceptance sets): keep them away from the
//             server, best on a machine without network
//   server/   what the fleet server gets as its `repository` folder, with the online keys
//   trust/    the two roots that every device is provisioned with
// All or nothing: everything is made in a folder beside `out`, which is then renamed. Nothing is
// ever overwritten.
import { chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';
import type { Clock, Random } from '../../shared/base/interfaces.js';
import type { PublicKey, Signer } from '../../shared/trust/signer.js';
import { heading, signDocument } from '../../shared/trust/documents.js';
import { validityMs } from '../../shared/trust/validity.js';
import { makeFolders } from '../../shared/platform/durable-files.js';
import { asFault, createKeyFile, writeWhole } from './keys/key-files.js';
import { KEY_SUFFIX } from './keys/key-suffix.js';

const OFFLINE_KEYS = [
  'image-root',
  'image-targets',
  'release',
  'acceptance',
  'director-root',
] as const;
const ONLINE_KEYS = [
  'snapshot',
  'timestamp',
  'director-targets',
  'director-snapshot',
  'director-timestamp',
] as const;
type KeyName = (typeof OFFLINE_KEYS)[number] | (typeof ONLINE_KEYS)[number];
type Keys = Readonly<Record<KeyName, Signer>>;

export interface InitOptions {
  readonly out: string;
  /** Seals the offline keys; the server's are plain, because it starts unattended. */
  readonly passphrase: string | null;
  readonly clock: Clock;
  readonly random: Random;
}

export interface InitResult {
  readonly offline: string;
  readonly server: string;
  readonly trust: string;
  /** Key ids by name. */
  readonly keys: Readonly<Record<string, string>>;
}

/** Faults: conflict (there is something at `out` already), disk_full, disk_failed. */
export async function initRepository(options: InitOptions): Promise<InitResult> {
  const out = resolve(options.out);
  await requireEmpty(out);
  const making = await makeBeside(out);
  try {
    const keys = await fill(making, options);
    await chmod(making, 0o755);
    await rename(making, out);
    return {
      offline: join(out, 'offline'),
      server: join(out, 'server'),
      trust: join(out, 'trust'),
      keys: Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, key.keyId])),
    };
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    if (systemCode(error) === 'ENOTEMPTY' || systemCode(error) === 'EEXIST')
      throw new Fault('conflict', `${out} is not empty; nothing is overwritten`, { cause: error });
    throw asFault(error, out);
  }
}

async function makeBeside(out: string): Promise<string> {
  try {
    await makeFolders(dirname(out));
    return await mkdtemp(join(dirname(out), `.${basename(out)}-making-`));
  } catch (error) {
    throw asFault(error, out);
  }
}

async function requireEmpty(out: string): Promise<void> {
  try {
    if ((await readdir(out)).length > 0)
      throw new Fault('conflict', `${out} is not empty; nothing is overwritten`);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    if (systemCode(error) === 'ENOTDIR')
      throw new Fault('conflict', `${out} is a file`, { cause: error });
    throw asFault(error, out);
  }
}

async function fill(folder: string, options: InitOptions): Promise<Keys> {
  const write = (path: string, bytes: Uint8Array): Promise<void> =>
    writeWhole(join(folder, path), bytes, { random: options.random, overwrite: false });
  for (const path of [
    'server/metadata/image',
    'server/metadata/director',
    'server/files',
    'server/targets',
    'trust',
  ]) {
    await mkdir(join(folder, path), { recursive: true });
  }
  const keys: Partial<Record<KeyName, Signer>> = {};
  for (const [place, names, passphrase] of [
    ['offline', OFFLINE_KEYS, options.passphrase],
    ['server/online', ONLINE_KEYS, null],
  ] as const) {
    await mkdir(join(folder, place), { mode: 0o700 });
    for (const name of names) {
      keys[name] = await createKeyFile(join(folder, place, `${name}${KEY_SUFFIX}`), {
        role: name,
        passphrase,
        random: options.random,
      });
    }
  }
  const all = keys as Keys;
  const now = options.clock.now();
  const image = await imageRoot(all, now);
  const director = await directorRoot(all, now);
  await write('server/metadata/image/1.root.json', image);
  await write(
    'server/metadata/image/1.targets.json',
    await signDocument({ ...heading('targets', 1, now + validityMs.imageTargets), targets: {} }, [
      all['image-targets'],
    ]),
  );
  await write('server/metadata/director/1.root.json', director);
  await write('trust/image-root.json', image);
  await write('trust/director-root.json', director);
  return all;
}

const one = (key: Signer): { keyids: string[]; threshold: number } => ({
  keyids: [key.keyId],
  threshold: 1,
});
const listed = (keys: readonly Signer[]): Record<string, PublicKey> =>
  Object.fromEntries(keys.map((key) => [key.keyId, key.publicKey]));

function imageRoot(keys: Keys, nowMs: number): Promise<Uint8Array> {
  const { 'image-root': root, 'image-targets': targets, release, acceptance } = keys;
  const { snapshot, timestamp } = keys;
  return signDocument(
    {
      ...heading('root', 1, nowMs + validityMs.root),
      consistent_snapshot: true,
      keys: listed([root, targets, release, acceptance, snapshot, timestamp]),
      roles: {
        root: one(root),
        targets: one(targets),
        snapshot: one(snapshot),
        timestamp: one(timestamp),
      },
      'x-linnet-release': one(release),
      'x-linnet-acceptance': one(acceptance),
    },
    [root],
  );
}

function directorRoot(keys: Keys, nowMs: number): Promise<Uint8Array> {
  const {
    'director-root': root,
    'director-targets': targets,
    'director-snapshot': snapshot,
    'director-timestamp': timestamp,
  } = keys;
  return signDocument(
    {
      ...heading('root', 1, nowMs + validityMs.root),
      consistent_snapshot: true,
      keys: listed([root, targets, snapshot, timestamp]),
      roles: {
        root: one(root),
        targets: one(targets),
        snapshot: one(snapshot),
        timestamp: one(timestamp),
      },
    },
    [root],
  );
}
