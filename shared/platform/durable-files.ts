// Durable files: what is reported as written survives a power cut, and a reader sees the old file
// or the new one, never a part. A file is written whole under a temporary name, fsynced, renamed to
// its own name (or linked, which never replaces), and its folder is fsynced. Errors are those of
// the system: errno-faults.ts maps them. Who owns a path, and what a leftover of a cut is called,
// are the callers'.
import { link, mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hex } from '../base/bytes.js';
import { systemCode } from '../base/fault-codes.js';
import type { Random } from '../base/interfaces.js';

export interface WriteWholeOptions {
  /** Where the bytes are gathered; in the folder of the target. A leftover there is removed. */
  readonly temp: string;
  /** File mode, before the umask. Default 0o644. */
  readonly mode?: number;
  /** False: an existing target is kept, and the write fails with EEXIST. Default true. */
  readonly overwrite?: boolean;
}

/** The beginning of temporary names: what has it after a crash is a leftover. */
export const TEMP_PREFIX = '.tmp-';

/** A temporary name of its own, beside `path`. */
export function tempBeside(path: string, random: Random): string {
  return join(dirname(path), `${TEMP_PREFIX}${hex(random.bytes(8))}-${basename(path)}`);
}

export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Writes `chunks` to `path`, durably and whole. When the chunks or the file system throw, the
 * target is untouched and the temporary file is removed. Verify a stream by throwing after its last
 * chunk.
 */
export async function writeWhole(
  path: string,
  chunks: Chunks,
  options: WriteWholeOptions,
): Promise<void> {
  const { temp, mode = 0o644, overwrite = true } = options;
  // A leftover may be a hard link to something else: it is removed, never written through.
  await rm(temp, { recursive: true, force: true });
  try {
    const file = await open(temp, 'wx', mode);
    try {
      for await (const chunk of chunks) await writeAll(file, chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    if (overwrite) await rename(temp, path);
    else await linkNew(temp, path);
  } catch (error) {
    // Where even this fails (the folder is a file, a read-only disk), the first error is the
    // reason.
    await rm(temp, { force: true }).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

/** A new name that never replaces: EEXIST when there is one. */
async function linkNew(temp: string, path: string): Promise<void> {
  await link(temp, path);
  await rm(temp);
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.length;) done += (await file.write(chunk, done)).bytesWritten;
}

/** Makes new names and removals in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * Makes a folder with its parents; each new folder's name is durable on return. One at a time from
 * the first that exists: mkdir of Node with `recursive` does not return where the system refuses
 * new folders with ENOENT (/proc).
 */
export async function makeFolders(path: string, mode?: number): Promise<void> {
  try {
    await makeFolder(path, mode);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolders(dirname(path), mode);
    await makeFolder(path, mode);
  }
}

async function makeFolder(path: string, mode?: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if (systemCode(error) === 'EEXIST' && (await stat(path)).isDirectory()) return;
    throw error;
  }
  await syncFolder(dirname(path));
}
