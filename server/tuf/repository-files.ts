// Durable files of the repository folder, by shared/platform/durable-files: a reader or a restart
// sees the old file or the new one. Temporary files of a crash have the prefix `.tmp-` and are
// removed at start. Faults: disk_full, disk_failed.
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Random } from '../../shared/base/interfaces.js';
import { hex } from '../../shared/base/bytes.js';
import {
  makeFolders,
  syncFolder,
  writeWhole,
  type Chunks,
} from '../../shared/platform/durable-files.js';
import { whenFound, withDiskFaults } from '../../shared/platform/errno-faults.js';

const TEMP = '.tmp-';

export class RepositoryFiles {
  constructor(private readonly random: Random) {}

  /** Null when there is none. */
  read(path: string): Promise<Uint8Array | null> {
    return withDiskFaults(`read ${path}`, () =>
      whenFound(async () => new Uint8Array(await readFile(path))),
    );
  }

  /** Length in bytes, or null. */
  length(path: string): Promise<number | null> {
    return withDiskFaults(`stat ${path}`, async () => {
      const found = await whenFound(() => stat(path));
      return found?.isFile() === true ? found.size : null;
    });
  }

  names(folder: string): Promise<string[]> {
    return withDiskFaults(
      `list ${folder}`,
      async () => (await whenFound(() => readdir(folder))) ?? [],
    );
  }

  /** Durable on return: the parent of each folder that was created is fsynced. */
  makeFolder(path: string): Promise<void> {
    return withDiskFaults(`create ${path}`, () => makeFolders(resolve(path)));
  }

  async removeLeftovers(folder: string): Promise<void> {
    for (const name of await this.names(folder))
      if (name.startsWith(TEMP)) await rm(join(folder, name), { force: true });
  }

  /** Makes the names in a folder durable, also those that are gone. */
  syncFolder(path: string): Promise<void> {
    return withDiskFaults(`sync ${path}`, () => syncFolder(path));
  }

  /** Durable on return. */
  async replace(path: string, bytes: Uint8Array): Promise<void> {
    await this.makeFolder(dirname(path));
    await this.stream(path, [bytes]);
  }

  /** Writes `chunks`; when they throw, nothing is left behind. */
  stream(path: string, chunks: Chunks): Promise<void> {
    const name = `${TEMP}${hex(this.random.bytes(8))}-${basename(path)}`;
    return withDiskFaults(`write ${path}`, () =>
      writeWhole(path, chunks, { temp: join(dirname(path), name) }),
    );
  }
}
