// Puts a backup back, into folders and a database that are empty. The whole file is verified before
// anything is written. A mark in data_dir says that a restore is under way: no server starts on it,
// and the same restore may run again from its beginning. Files are written whole, the database in
// one transaction, and the mark is removed last.
import { chmod, open, readdir, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { sha256, utf8 } from '../../shared/base/bytes.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import type { Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { syncFolder, tempBeside, writeWhole } from '../../shared/platform/durable-files.js';
import { whenFound, withDiskFaults } from '../../shared/platform/errno-faults.js';
import { unreadableFile } from '../../shared/platform/setting-files.js';
import { RunningDigest } from '../../shared/platform/hashing.js';
import { WholeFiles } from '../../shared/platform/whole-files.js';
import {
  archiveEntries,
  entryBytes,
  HEAD_NAME,
  LIST_NAME,
  verifyArchive,
  type ArchiveEntry,
  type BackupList,
  type VerifiedBackup,
} from './archive.js';
import { placeOf, PRIVATE, promisedDigest, tableOf, type BackupPlaces } from './places.js';

const MARK = 'restore-unfinished';
/** What an empty folder may have: of a file system, and files of releases, which have digests. */
const HARMLESS: ReadonlySet<string> = new Set(['lost+found', 'files', MARK]);

type RowCounts = Readonly<Record<string, number>>;

/** An empty database (store/database-import.ts). */
interface FillableDatabase {
  rowCounts(): Promise<RowCounts | null>;
  fill(
    parts: AsyncIterable<{ readonly table: string; readonly bytes: Uint8Array }>,
    check: (counts: RowCounts) => void,
  ): Promise<void>;
  close(): Promise<void>;
}

export interface RestoreOptions {
  readonly file: string;
  readonly places: BackupPlaces;
  /** The file of a SQLite database; null on PostgreSQL. */
  readonly databaseFile: string | null;
  /** `schema`: the last step of the backup's database. Fault schema_newer. */
  readonly openDatabase: (schema: string) => Promise<FillableDatabase>;
  readonly random: Random;
}

/** Fault restore_unfinished: no server may start there. */
export async function requireNoUnfinishedRestore(dataDir: string): Promise<void> {
  if (await isUnfinished(dataDir))
    throw new Fault('restore_unfinished', `the restore into ${dataDir} has not ended`);
}

const isUnfinished = async (dataDir: string): Promise<boolean> =>
  (await withDiskFaults(`list ${dataDir}`, () => whenFound(() => readdir(dataDir))))?.includes(
    MARK,
  ) ?? false;

/** Reads all of a backup. Faults: backup_invalid, file_unreadable, disk_failed. */
export async function verifyBackup(file: string): Promise<VerifiedBackup> {
  return withBackup(file, verified);
}

async function verified(handle: FileHandle): Promise<VerifiedBackup> {
  const backup = await verifyArchive(handle);
  for (const { name, sha256 } of backup.list.entries) {
    const digest = promisedDigest(name);
    if (digest !== null && digest !== sha256)
      throw new Fault('backup_invalid', `${name} has the digest ${sha256}`);
    if (name !== HEAD_NAME && tableOf(name) === null && placeOf(name, NOWHERE) === null)
      throw new Fault('backup_invalid', `${name} belongs nowhere`);
  }
  return backup;
}

const NOWHERE: BackupPlaces = { dataDir: '/', repository: '/', artifacts: '/' };

/**
 * Faults: backup_invalid, conflict (something is there), schema_newer, file_unreadable, disk_*,
 * database_unreachable.
 */
export async function restoreBackup(options: RestoreOptions): Promise<VerifiedBackup> {
  return withBackup(options.file, async (handle) => {
    const backup = await verified(handle);
    const { dataDir } = options.places;
    const isAgain = await requireRoom(options, sha256(JSON.stringify(backup.list)));
    try {
      await restoreAll(handle, backup, isAgain, options);
    } catch (error) {
      // Nothing was written yet.
      if (!isAgain && isFault(error, 'conflict', 'schema_newer')) await removeMark(dataDir);
      throw error;
    }
    await removeMark(dataDir);
    return backup;
  });
}

/** Leaves the mark behind. True: the restore of this backup was cut short here. */
async function requireRoom(
  { places, databaseFile, random }: RestoreOptions,
  mark: string,
): Promise<boolean> {
  const { dataDir, repository } = places;
  const files = new WholeFiles(random);
  const path = join(dataDir, MARK);
  const found = await files.read(path);
  if (found !== null) {
    if (Buffer.from(found).toString('utf8') !== mark)
      throw new Fault(
        'conflict',
        `the restore of another backup was cut short in ${dataDir}: empty data_dir and repository`,
      );
    if (databaseFile !== null)
      for (const suffix of ['', '-journal', '-wal', '-shm'])
        await rm(`${databaseFile}${suffix}`, { force: true });
    return true;
  }
  await requireEmpty('data_dir', dataDir);
  await requireEmpty('repository', repository);
  await files.makeFolder(resolve(dataDir));
  await files.replace(resolve(path), utf8(mark));
  return false;
}

async function removeMark(dataDir: string): Promise<void> {
  await rm(join(dataDir, MARK), { force: true });
  await syncFolder(dataDir);
}

async function restoreAll(
  handle: FileHandle,
  { head, list }: VerifiedBackup,
  isAgain: boolean,
  options: RestoreOptions,
): Promise<void> {
  const database = await options.openDatabase(head.schema);
  try {
    const isFull = await requireFillable(database, list, isAgain);
    await restoreFiles(handle, list, options);
    if (!isFull)
      await database.fill(partsOf(handle, list), (counts) => {
        if (!sameCounts(counts, list.rows))
          throw new Fault('backup_invalid', 'the rows are not as many as the backup says');
      });
  } finally {
    await database.close();
  }
}

async function withBackup<T>(path: string, work: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw unreadableFile('the backup', path, error);
  });
  try {
    if ((await file.stat()).isDirectory())
      throw new Fault('file_unreadable', `cannot read the backup ${path}: it is a folder`);
    return await withDiskFaults(`read ${path}`, () => work(file));
  } catch (error) {
    if (!isFault(error, 'backup_invalid')) throw error;
    throw new Fault('backup_invalid', `${path}: ${error.detail}`, { cause: error });
  } finally {
    await file.close();
  }
}

async function requireEmpty(setting: string, folder: string): Promise<void> {
  const names = await withDiskFaults(`list ${folder}`, () => whenFound(() => readdir(folder)));
  const found = (names ?? []).filter((name) => !HARMLESS.has(name));
  if (found.length === 0) return;
  const listed = found.slice(0, limits.listedMaxCount).join(', ');
  throw new Fault(
    'conflict',
    `${setting} ${folder} is not empty (${listed}): a restore needs empty folders`,
  );
}

/**
 * True when it has the rows already: the restore before this one was cut after its transaction.
 */
async function requireFillable(
  database: FillableDatabase,
  list: BackupList,
  isAgain: boolean,
): Promise<boolean> {
  const counts = (await database.rowCounts()) ?? {};
  if (Object.keys(counts).length === 0) return false;
  if (isAgain && sameCounts(counts, list.rows)) return true;
  const [table, count] = Object.entries(counts)[0] ?? [];
  throw new Fault(
    'conflict',
    `the database is not empty (${table}: ${count}): a restore needs an empty one`,
  );
}

function sameCounts(some: RowCounts, others: RowCounts): boolean {
  const names = new Set([...Object.keys(some), ...Object.keys(others)]);
  return [...names].every((name) => (some[name] ?? 0) === (others[name] ?? 0));
}

async function restoreFiles(
  handle: FileHandle,
  list: BackupList,
  { places, random }: RestoreOptions,
): Promise<void> {
  const files = new WholeFiles(random);
  for await (const entry of listedEntries(handle, list)) {
    const place = placeOf(entry.name, places);
    if (place === null) continue;
    const path = resolve(place.path);
    await files.makeFolder(dirname(path));
    if (place.mode === PRIVATE) await chmod(dirname(path), 0o700);
    const how = { temp: tempBeside(path, random), mode: place.mode };
    await withDiskFaults(`write ${path}`, () => writeWhole(path, entry.chunks, how));
  }
}

async function* partsOf(
  handle: FileHandle,
  list: BackupList,
): AsyncIterable<{ table: string; bytes: Uint8Array }> {
  for await (const entry of listedEntries(handle, list)) {
    const table = tableOf(entry.name);
    if (table !== null) yield { table, bytes: await entryBytes(entry, limits.backupPartMaxBytes) };
  }
}

/** Entries whose chunks end in a fault when they are not what the verified list says. */
async function* listedEntries(handle: FileHandle, list: BackupList): AsyncIterable<ArchiveEntry> {
  let index = 0;
  for await (const entry of archiveEntries(handle)) {
    if (entry.name === LIST_NAME) return;
    const listed = list.entries[index];
    index += 1;
    yield { ...entry, chunks: sameChunks(entry, listed?.name === entry.name ? listed.sha256 : '') };
  }
}

async function* sameChunks(
  { name, chunks }: ArchiveEntry,
  sha256: string,
): AsyncIterable<Uint8Array> {
  const digest = new RunningDigest();
  for await (const chunk of chunks) {
    digest.update(chunk);
    yield chunk;
  }
  if (digest.end().sha256 !== sha256)
    throw new Fault('backup_invalid', `${name} changed while it was restored`);
}
