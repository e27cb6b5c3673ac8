// Files that are read and written whole, with system errors as Faults (disk_full, disk_failed): a
// reader or a restart sees the old file or the new one. Temporary files that a crash left are
// removed at start. The writing itself is durable-files.ts.
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Random } from '../base/interfaces.js';
import {
  makeFolders,
  syncFolder,
  TEMP_PREFIX,
  tempBeside,
  writeWhole,
  type Chunks,
} from './durable-files.js';
import { whenFound, withDiskFaults } from './errno-faults.js';

export class WholeFiles {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

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
      if (name.startsWith(TEMP_PREFIX)) await rm(join(folder, name), { force: true });
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
    return withDiskFaults(`write ${path}`, () =>
      writeWhole(path, chunks, { temp: tempBeside(path, this.#random) }),
    );
  }
}
