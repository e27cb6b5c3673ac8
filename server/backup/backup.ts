// Writes a backup of a server that may be running. The database is read first, as of one moment,
// and then the repository, its timestamp before everything that the timestamp names: so every
// release that a row names is there, and all metadata that devices may have been given. The file
// appears under its name when it is whole and on the disk.
import { createHash } from 'node:crypto';
import { open, readdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';
import type { Clock, Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { tempBeside, writeWhole } from '../../shared/platform/durable-files.js';
import { whenFound, withDiskFaults } from '../../shared/platform/errno-faults.js';
import { readPrivateFile } from '../../shared/platform/private-file.js';
import { WholeFiles } from '../../shared/platform/whole-files.js';
import { archiveBytes, wholeEntry, type ArchiveEntry, type BackupHead } from './archive.js';
import {
  artifactName,
  CA_CERTIFICATE,
  CA_KEY,
  dataName,
  isArtifactFile,
  isKeyFile,
  isRepositoryFile,
  KEYS_FOLDER,
  partName,
  REPOSITORY_FOLDERS,
  repositoryName,
  type BackupPlaces,
} from './places.js';

/** The rows of the database as of one moment (store/database-export.ts). */
interface ExportedDatabase {
  readonly schema: string;
  parts(): AsyncIterable<{
    readonly table: string;
    readonly rows: number;
    readonly bytes: Uint8Array;
  }>;
}

export interface BackupOptions {
  readonly out: string;
  readonly places: BackupPlaces;
  readonly kind: BackupHead['database'];
  readonly database: ExportedDatabase;
  readonly keys: boolean;
  readonly artifacts: boolean;
  readonly clock: Clock;
  readonly random: Random;
}

export interface BackupSummary {
  readonly file: string;
  readonly bytes: number;
  readonly rows: Readonly<Record<string, number>>;
  readonly head: BackupHead;
}

/** Faults: conflict (the file exists), not_found (no repository), file_digest, disk_*. */
export async function writeBackup(options: BackupOptions): Promise<BackupSummary> {
  const { out, places, database, clock, random } = options;
  const head: BackupHead = {
    format: 'linnet.backup/1',
    createdAt: new Date(clock.now()).toISOString(),
    database: options.kind,
    schema: database.schema,
    keys: options.keys,
    artifacts:
      places.artifacts === null ? 'elsewhere' : options.artifacts ? 'included' : 'left-out',
  };
  const rows: Record<string, number> = {};
  let bytes = 0;
  const counted = async function* (): AsyncIterable<Uint8Array> {
    for await (const chunk of archiveBytes(head, entriesOf(options, rows), () => rows)) {
      bytes += chunk.length;
      yield chunk;
    }
  };
  const how = { temp: tempBeside(resolve(out), random), mode: 0o600, overwrite: false };
  await withDiskFaults(`write ${out}`, async () => {
    if ((await whenFound(() => stat(out))) !== null) throw exists(out);
    await writeWhole(resolve(out), counted(), how).catch((error: unknown) => {
      throw systemCode(error) === 'EEXIST' ? exists(out) : error;
    });
  });
  return { file: out, bytes, rows, head };
}

const exists = (file: string): Fault => new Fault('conflict', `${file} exists already`);

async function* entriesOf(
  { places, database, random, keys, artifacts }: BackupOptions,
  rows: Record<string, number>,
): AsyncIterable<ArchiveEntry> {
  const files = new WholeFiles(random);
  let number = 0;
  for await (const { table, rows: count, bytes } of database.parts()) {
    number += 1;
    rows[table] = (rows[table] ?? 0) + count;
    yield wholeEntry(partName(table, number), bytes);
  }
  yield* metadataOf(files, places);
  if (keys) yield* keysOf(files, places);
  const certificate = await files.read(join(places.dataDir, CA_CERTIFICATE));
  if (certificate !== null) yield wholeEntry(dataName(CA_CERTIFICATE), certificate);
  if (artifacts && places.artifacts !== null) yield* artifactsOf(files, places.artifacts);
}

async function* metadataOf(
  files: WholeFiles,
  { repository }: BackupPlaces,
): AsyncIterable<ArchiveEntry> {
  const first = 'metadata/image/timestamp.json';
  const timestamp = await files.read(join(repository, first));
  if (timestamp !== null) yield wholeEntry(repositoryName(first), timestamp);
  let roots = 0;
  for (const folder of REPOSITORY_FOLDERS)
    for (const path of await pathsBelow(repository, folder)) {
      if (path === first || !isRepositoryFile(path)) continue;
      const bytes = await files.read(join(repository, path));
      if (bytes === null) continue;
      if (path.endsWith('/1.root.json')) roots += 1;
      yield wholeEntry(repositoryName(path), bytes);
    }
  if (roots < 2)
    throw new Fault('not_found', `${repository} is no repository: \`linnet repo init\` makes one`);
}

async function* keysOf(
  files: WholeFiles,
  { repository, dataDir }: BackupPlaces,
): AsyncIterable<ArchiveEntry> {
  for (const path of await pathsBelow(repository, KEYS_FOLDER))
    if (isKeyFile(path))
      yield wholeEntry(repositoryName(path), await readPrivateFile(join(repository, path)));
  const authority = join(dataDir, CA_KEY);
  if ((await files.length(authority)) !== null)
    yield wholeEntry(dataName(CA_KEY), await readPrivateFile(authority));
}

/** Files of releases never change: what is here has the length and the digest that it promises. */
async function* artifactsOf(files: WholeFiles, folder: string): AsyncIterable<ArchiveEntry> {
  for (const name of (await files.names(folder)).filter(isArtifactFile).sort()) {
    const length = await files.length(join(folder, name));
    // Null: it was collected meanwhile, because no release names it.
    if (length !== null)
      yield { name: artifactName(name), length, chunks: artifactChunks(folder, name) };
  }
}

async function* artifactChunks(folder: string, digest: string): AsyncIterable<Uint8Array> {
  const path = join(folder, digest);
  const hash = createHash('sha256');
  const file = await open(path, 'r');
  try {
    for (;;) {
      const chunk = Buffer.alloc(limits.readChunkBytes);
      const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
      if (bytesRead === 0) break;
      const bytes = chunk.subarray(0, bytesRead);
      hash.update(bytes);
      yield bytes;
    }
  } finally {
    await file.close();
  }
  if (hash.digest('hex') !== digest)
    throw new Fault(
      'file_digest',
      `${path} is damaged: publish its release again, or remove the file, and back up again`,
    );
}

/** Paths of all files below a folder, relative to `root`, in the order of their names. */
async function pathsBelow(root: string, folder: string): Promise<string[]> {
  return withDiskFaults(`list ${join(root, folder)}`, async () => {
    const found =
      (await whenFound(() =>
        readdir(join(root, folder), { recursive: true, withFileTypes: true }),
      )) ?? [];
    return found
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length).replace(/^\/+/, ''))
      .sort();
  });
}

/** Makes the folder of `out` only where it exists already. Fault not_found. */
export async function requireFolderOf(out: string): Promise<void> {
  const folder = dirname(resolve(out));
  if ((await whenFound(() => stat(folder)))?.isDirectory() !== true)
    throw new Fault('not_found', `there is no folder ${folder}`);
}
