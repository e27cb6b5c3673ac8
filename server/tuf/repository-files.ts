// Durable files of the repository folder: each is written whole under a temporary name, fsynced and
// renamed, and its folder fsynced, so that a reader or a restart sees the old file or the new one.
// Temporary files of a crash are removed at start.
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Fault, reason, systemCode } from '../../shared/base/fault-codes.js';
import type { Random } from '../../shared/base/interfaces.js';
import { hex } from '../../shared/base/bytes.js';

const TEMP = '.tmp-';

export class RepositoryFiles {
  constructor(private readonly random: Random) {}

  /** Null when there is none. */
  async read(path: string): Promise<Uint8Array | null> {
    try {
      return new Uint8Array(await readFile(path));
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return null;
      throw disk(error, `read ${path}`);
    }
  }

  /** Length in bytes, or null. */
  async length(path: string): Promise<number | null> {
    try {
      const found = await stat(path);
      return found.isFile() ? found.size : null;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return null;
      throw disk(error, `stat ${path}`);
    }
  }

  async names(folder: string): Promise<string[]> {
    try {
      return await readdir(folder);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      throw disk(error, `list ${folder}`);
    }
  }

  /** Durable on return: the parent of each folder that was created is fsynced. */
  async makeFolder(path: string): Promise<void> {
    try {
      const first = await mkdir(path, { recursive: true });
      if (first === undefined) return;
      for (let made = resolve(path); ; made = dirname(made)) {
        await syncFolder(dirname(made));
        if (made === resolve(first)) return;
      }
    } catch (error) {
      throw disk(error, `create ${path}`);
    }
  }

  async removeLeftovers(folder: string): Promise<void> {
    for (const name of await this.names(folder))
      if (name.startsWith(TEMP)) await rm(join(folder, name), { force: true });
  }

  /** Makes the names in a folder durable, also those that are gone. */
  async syncFolder(path: string): Promise<void> {
    try {
      await syncFolder(path);
    } catch (error) {
      throw disk(error, `sync ${path}`);
    }
  }

  /** Durable on return. */
  async replace(path: string, bytes: Uint8Array): Promise<void> {
    await this.makeFolder(dirname(path));
    await this.stream(path, [bytes]);
  }

  /** Writes `chunks`; when they throw, nothing is left behind. */
  async stream(
    path: string,
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const folder = dirname(path);
    const temp = join(folder, `${TEMP}${hex(this.random.bytes(8))}-${basename(path)}`);
    try {
      const file = await open(temp, 'wx', 0o644);
      try {
        for await (const chunk of chunks) await writeAll(file, chunk);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temp, path);
      await syncFolder(folder);
    } catch (error) {
      await rm(temp, { force: true });
      throw error instanceof Fault ? error : disk(error, `write ${path}`);
    }
  }
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.length;) done += (await file.write(chunk, done)).bytesWritten;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** File system errors as faults; all others (a broken upload) unchanged. */
function disk(error: unknown, doing: string): unknown {
  const code = systemCode(error);
  if (
    code === undefined ||
    !/^E[A-Z]+$/.test(code) ||
    !(error instanceof Error) ||
    !('syscall' in error)
  )
    return error;
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  return new Fault(full ? 'disk_full' : 'disk_failed', `cannot ${doing}: ${reason(error)}`, {
    cause: error,
  });
}
