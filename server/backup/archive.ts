// The file of a backup: an ordinary tar (`tar tf` lists it). The first entry says what it is, the
// last one lists every other with its length and SHA-256, so a file that was cut short has no list
// and is refused. Entries are written and read as streams.
import type { FileHandle } from 'node:fs/promises';
import { Header } from 'tar';
import { Type, type Static } from 'typebox';
import { utf8 } from '../../shared/base/bytes.js';
import { Hex32 } from '../../shared/base/hex-schemas.js';
import { decodeJson } from '../../shared/base/decode.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { RunningDigest } from '../../shared/platform/hashing.js';

export const HEAD_NAME = 'backup.json';
export const LIST_NAME = 'manifest.json';
/** Fixed by tar: what headers and padding are multiples of. */
const BLOCK_BYTES = 512;

const strict = { additionalProperties: false } as const;
const Name = Type.String({ minLength: 1, maxLength: limits.nameMaxChars });

/** The first entry. */
export const BackupHead = Type.Object(
  {
    format: Type.Literal('linnet.backup/1'),
    createdAt: Type.String({ maxLength: 40 }),
    /** Which database it was; it is restored into either. */
    database: Type.Enum(['sqlite', 'postgresql']),
    /** The last step of the database's schema. */
    schema: Name,
    /** The server's online keys and the key of the device CA. */
    keys: Type.Boolean(),
    /** Files of releases; `elsewhere`: a bucket or a registry has them. */
    artifacts: Type.Enum(['included', 'left-out', 'elsewhere']),
  },
  strict,
);
export type BackupHead = Static<typeof BackupHead>;

/** The last entry. */
export const BackupList = Type.Object(
  {
    entries: Type.Array(
      Type.Object(
        {
          name: Type.String({ minLength: 1, maxLength: limits.filePathMaxChars }),
          length: Type.Integer({ minimum: 0 }),
          sha256: Hex32,
        },
        strict,
      ),
    ),
    /** Of each table that has some. */
    rows: Type.Record(Name, Type.Integer({ minimum: 1 })),
  },
  strict,
);
export type BackupList = Static<typeof BackupList>;

export interface ArchiveEntry {
  readonly name: string;
  readonly length: number;
  readonly chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

export const wholeEntry = (name: string, bytes: Uint8Array): ArchiveEntry => ({
  name,
  length: bytes.length,
  chunks: [bytes],
});

/** The bytes of the archive; `rows` is called when all entries were written. */
export async function* archiveBytes(
  head: BackupHead,
  entries: AsyncIterable<ArchiveEntry>,
  rows: () => BackupList['rows'],
): AsyncIterable<Uint8Array> {
  const listed: BackupList['entries'] = [];
  const write = async function* (entry: ArchiveEntry): AsyncIterable<Uint8Array> {
    const digest = new RunningDigest();
    yield headerBytes(entry);
    for await (const chunk of entry.chunks) {
      digest.update(chunk);
      yield chunk;
    }
    const { sha256, length } = digest.end();
    if (length !== entry.length)
      throw new Fault('disk_failed', `${entry.name} changed while it was copied; try again`);
    yield new Uint8Array(paddingBytes(length));
    listed.push({ name: entry.name, length, sha256 });
  };
  yield* write(wholeEntry(HEAD_NAME, jsonBytes(head)));
  for await (const entry of entries) yield* write(entry);
  const list: BackupList = { entries: [...listed], rows: rows() };
  yield* write(wholeEntry(LIST_NAME, jsonBytes(list)));
  yield new Uint8Array(2 * BLOCK_BYTES);
}

const jsonBytes = (value: BackupHead | BackupList): Uint8Array =>
  utf8(`${JSON.stringify(value, null, 1)}\n`);

const paddingBytes = (length: number): number =>
  (BLOCK_BYTES - (length % BLOCK_BYTES)) % BLOCK_BYTES;

function headerBytes({ name, length }: ArchiveEntry): Uint8Array {
  const header = new Header({
    path: name,
    size: length,
    mode: 0o600,
    mtime: new Date(0),
    uid: 0,
    gid: 0,
    type: 'File',
  });
  const block = Buffer.alloc(BLOCK_BYTES);
  // True: the name does not fit, and another entry would have to carry it.
  if (header.encode(block, 0)) throw new Fault('internal', `${name} is too long for an archive`);
  return new Uint8Array(block);
}

/** The entries of a backup file, in their order; each one's chunks can be read at any time. */
export async function* archiveEntries(file: FileHandle): AsyncIterable<ArchiveEntry> {
  const { size } = await file.stat();
  await requireBackup(file, size);
  for (let at = 0; at < size;) {
    const block = await readAt(file, at, BLOCK_BYTES);
    const header = new Header(block);
    if (header.nullBlock) return;
    const { path: name, size: length } = header;
    if (!header.cksumValid || header.type !== 'File' || name === undefined || length === undefined)
      throw new Fault('backup_invalid', `byte ${at} is not the beginning of an entry`);
    const start = at + BLOCK_BYTES;
    if (start + length > size) throw new Fault('backup_invalid', `it is cut short in ${name}`);
    yield { name, length, chunks: chunksAt(file, start, length) };
    at = start + length + paddingBytes(length);
  }
}

/** Another file is not damaged. Fault backup_invalid: the first entry is not that of a backup. */
async function requireBackup(file: FileHandle, size: number): Promise<void> {
  const header = size < BLOCK_BYTES ? null : new Header(await readAt(file, 0, BLOCK_BYTES));
  if (header?.cksumValid !== true || header.path !== HEAD_NAME)
    throw new Fault('backup_invalid', 'it is no backup of Linnet');
}

async function* chunksAt(
  file: FileHandle,
  start: number,
  length: number,
): AsyncIterable<Uint8Array> {
  for (let done = 0; done < length;) {
    const chunk = await readAt(file, start + done, Math.min(limits.readChunkBytes, length - done));
    yield chunk;
    done += chunk.length;
  }
}

async function readAt(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(bytes, done, length - done, at + done);
    if (bytesRead === 0) throw new Fault('backup_invalid', 'it is cut short');
    done += bytesRead;
  }
  return bytes;
}

/** All bytes of an entry. Fault backup_invalid when they are more than `mostBytes`. */
export async function entryBytes(entry: ArchiveEntry, mostBytes: number): Promise<Uint8Array> {
  if (entry.length > mostBytes)
    throw new Fault('backup_invalid', `${entry.name} has more than ${mostBytes} bytes`);
  const chunks: Uint8Array[] = [];
  for await (const chunk of entry.chunks) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export interface VerifiedBackup {
  readonly head: BackupHead;
  readonly list: BackupList;
}

/** Reads the whole file. Fault backup_invalid. */
export async function verifyArchive(file: FileHandle): Promise<VerifiedBackup> {
  let head: BackupHead | null = null;
  let list: BackupList | null = null;
  const found: BackupList['entries'] = [];
  for await (const entry of archiveEntries(file)) {
    if (list !== null) throw new Fault('backup_invalid', `something follows ${LIST_NAME}`);
    if ((head === null) !== (entry.name === HEAD_NAME))
      throw new Fault('backup_invalid', `${HEAD_NAME} stands in it more than once`);
    if (entry.name === LIST_NAME) {
      list = decoded(BackupList, await entryBytes(entry, limits.backupManifestMaxBytes), LIST_NAME);
      continue;
    }
    const digest = new RunningDigest();
    const kept: Uint8Array[] = [];
    for await (const chunk of entry.chunks) {
      digest.update(chunk);
      if (head === null) kept.push(chunk);
    }
    head ??= decoded(BackupHead, Buffer.concat(kept), HEAD_NAME);
    found.push({ name: entry.name, ...digest.end() });
  }
  if (head === null || list === null)
    throw new Fault('backup_invalid', `it is cut short: it has no ${LIST_NAME}`);
  requireSame(found, list.entries);
  return { head, list };
}

function decoded<T extends typeof BackupHead | typeof BackupList>(
  schema: T,
  bytes: Uint8Array,
  name: string,
): Static<T> {
  return decodeJson(schema, bytes, name, 'backup_invalid');
}

function requireSame(found: BackupList['entries'], listed: BackupList['entries']): void {
  for (const [index, { name, length, sha256 }] of found.entries()) {
    const expected = listed[index];
    if (expected?.name !== name)
      throw new Fault('backup_invalid', `${name} stands where the list has another entry`);
    if (expected.length !== length || expected.sha256 !== sha256)
      throw new Fault('backup_invalid', `${name} is damaged: its digest is not the listed one`);
  }
  if (found.length !== listed.length)
    throw new Fault('backup_invalid', `the list has more entries than the file`);
}
