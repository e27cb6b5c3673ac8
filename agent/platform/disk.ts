// The real Disk: keeps every promise of durability in agent/interfaces.ts with an fsync of the file
// and of its folder. A replacement is written beside its target under the suffix `.tmp`, which has
// no meaning at boot: a leftover is removed by the next replacement of the same target. Only
// regular files are read: what else stands at a path (a folder, a FIFO, a link to nothing) is a
// Fault, never a wait. One process owns a data folder; operations on one path run one after
// another.
import { constants } from 'node:fs';
import {
  link,
  lstat,
  open,
  readdir,
  rename,
  rm,
  stat,
  statfs,
  type FileHandle,
} from 'node:fs/promises';
import { dirname } from 'node:path';
import { limits } from '../../shared/base/limits.js';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';
import type { Disk } from '../interfaces.js';
import { appendAll, openAt } from './append.js';
import { makeFolders, syncFolder, writeWhole } from '../../shared/platform/durable-files.js';
import { handleDigest } from '../../shared/platform/hashing.js';
import { KeyedMutex } from '../../shared/platform/mutex.js';
import { whenFound, withDiskFaults } from '../../shared/platform/errno-faults.js';

export const TEMP_SUFFIX = '.tmp';
const ASIDE_SUFFIX = '.damaged';
const READ_BYTES = limits.fetchChunkBytes;

export class NodeDisk implements Disk {
  /** Operations on one path run one after another. */
  readonly #turns = new KeyedMutex();

  /**
   * The whole file; null when missing. A file longer than `maxBytes` is a Fault `disk_failed`, and
   * is not read.
   */
  read(path: string, maxBytes: number): Promise<Uint8Array | null> {
    return withDiskFaults(`read ${path}`, () =>
      whenFound(async () => {
        const file = await openRegular(path);
        try {
          const { size } = await file.stat();
          if (size > maxBytes)
            throw new Fault('disk_failed', `${path} has ${size} bytes, more than ${maxBytes}`);
          return await readWhole(file, size, maxBytes, path);
        } finally {
          await file.close();
        }
      }),
    );
  }

  replace(path: string, bytes: Uint8Array): Promise<void> {
    return this.#turns.run(path, () =>
      withDiskFaults(`replace ${path}`, async () => {
        const write = (): Promise<void> => writeWhole(path, [bytes], { temp: path + TEMP_SUFFIX });
        try {
          await write();
        } catch (error) {
          if (systemCode(error) !== 'EISDIR') throw error;
          await setAside(path);
          await write();
        }
      }),
    );
  }

  /** With its parents; each new folder's entry is durable on return. */
  makeFolder(path: string): Promise<void> {
    return withDiskFaults(`make folder ${path}`, () => makeFolders(path));
  }

  setAside(path: string): Promise<void> {
    return this.#turns.run(path, () => withDiskFaults(`set aside ${path}`, () => setAside(path)));
  }

  /** Names in the folder, sorted; a missing folder is empty. Leftover temp files are left out. */
  list(folder: string): Promise<string[]> {
    return withDiskFaults(`list ${folder}`, async () => {
      const names = await whenFound(() => readdir(folder));
      return (names ?? []).filter((name) => !name.endsWith(TEMP_SUFFIX)).sort();
    });
  }

  /** A file or a whole folder; a missing one is fine. Durable after `syncFolder` of its parent. */
  remove(path: string): Promise<void> {
    return withDiskFaults(`remove ${path}`, () => rm(path, { recursive: true, force: true }));
  }

  link(from: string, to: string): Promise<void> {
    return this.#turns.run(to, () =>
      withDiskFaults(`link ${to}`, async () => {
        const temp = to + TEMP_SUFFIX;
        await rm(temp, { force: true });
        await link(from, temp);
        try {
          await rename(temp, to);
        } finally {
          // POSIX rename does nothing, and leaves both names, when both are links to one file
          // already.
          await rm(temp, { force: true });
        }
      }),
    );
  }

  syncFolder(path: string): Promise<void> {
    return withDiskFaults(`sync folder ${path}`, () => syncFolder(path));
  }

  size(path: string): Promise<number | null> {
    return withDiskFaults(`stat ${path}`, () => whenFound(async () => (await stat(path)).size));
  }

  /** Bytes that this process may still write on the file system that holds `path`. */
  freeBytes(path: string): Promise<number> {
    return withDiskFaults(`ask for free space at ${path}`, async () => {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    });
  }

  /**
   * When `chunks` throws, what came before is written and fsynced (so that a download can resume),
   * then its error is thrown as it is. A chunk must not be changed after it was handed over. A file
   * shorter than `offset` is a Fault `disk_failed`.
   */
  append(path: string, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    return this.#turns.run(path, async () => {
      const file = await withDiskFaults(`open to append ${path}`, () => openAt(path, offset));
      try {
        return await appendAll(file, offset, chunks, path);
      } finally {
        await file.close();
      }
    });
  }

  async *stream(path: string): AsyncIterable<Uint8Array> {
    const file = await withDiskFaults(`open ${path}`, () => openRegular(path));
    try {
      for (let position = 0; ;) {
        const chunk = Buffer.allocUnsafe(READ_BYTES);
        const at = position;
        const { bytesRead } = await withDiskFaults(`read ${path}`, () =>
          file.read(chunk, 0, READ_BYTES, at),
        );
        if (bytesRead === 0) return;
        position += bytesRead;
        yield chunk.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  sha256(path: string): Promise<{ sha256: string; length: number } | null> {
    return withDiskFaults(`hash ${path}`, () =>
      whenFound(async () => {
        const file = await openRegular(path);
        try {
          return await handleDigest(file);
        } finally {
          await file.close();
        }
      }),
    );
  }
}

/** Does not block: without O_NONBLOCK, opening a FIFO waits for a writer. */
async function openRegular(path: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' && (await whenFound(() => lstat(path))) !== null)
      throw new Fault('disk_failed', `${path} is a link to nothing`);
    throw error;
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new Fault('disk_failed', `${path} is not a regular file`);
}

/** What stands in the way of a file gets another name; an earlier one of that name is removed. */
async function setAside(path: string): Promise<void> {
  const aside = path + ASIDE_SUFFIX;
  await rm(aside, { recursive: true, force: true });
  await rename(path, aside);
  await syncFolder(dirname(path));
}

async function readWhole(
  file: FileHandle,
  size: number,
  maxBytes: number,
  path: string,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  let length = 0;
  while (length < size) {
    const { bytesRead } = await file.read(bytes, length, size - length, length);
    if (bytesRead === 0) return bytes.slice(0, length);
    length += bytesRead;
  }
  const more = await file.read(new Uint8Array(1), 0, 1, size);
  if (more.bytesRead > 0)
    throw new Fault('disk_failed', `${path} grew while it was read (bound: ${maxBytes} bytes)`);
  return bytes;
}
