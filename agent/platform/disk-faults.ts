// System errors of the disk as Faults, and an absent file as null.
import { open } from 'node:fs/promises';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';

/** Runs `work`; system errors become Faults that say what was being done to `path`. */
export async function doing<T>(what: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = systemCode(error);
    if (error instanceof Fault || code === undefined) throw error;
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    throw new Fault(full ? 'disk_full' : 'disk_failed', `cannot ${what} ${path}: ${code}`, {
      cause: error,
    });
  }
}

/** Null when nothing is at the path. */
export async function whenFound<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
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
