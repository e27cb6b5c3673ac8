// What /readyz looks at: a durable write to the database, room on the disks that the server writes
// to, the broker, and the expiry of the image metadata.
import { statfs } from 'node:fs/promises';
import { Fault, isFault, reason } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { MIB } from '../../shared/base/units.js';
import { databaseFault } from '../database-fault.js';

/** Faults: disk_full, disk_failed. */
export async function requireWritable(write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    const fault = databaseFault(error, 'a test write');
    if (isFault(fault)) throw fault;
    throw new Fault('disk_failed', `a test write: ${reason(error)}`, { cause: error });
  }
}

/**
 * SQLite writes into room that it has already, so a small write can succeed on a full disk.
 * Faults: disk_full, disk_failed.
 */
export async function requireRoom(folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    const free = await freeBytes(folder);
    if (free < limits.readyFreeMinBytes)
      throw new Fault('disk_full', `${folder} has ${Math.floor(free / MIB)} MiB left`);
  }
}

/** What this process may still write there. Faults: disk_failed. */
export async function freeBytes(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    throw new Fault('disk_failed', `${folder}: ${reason(error)}`, { cause: error });
  }
}

export interface RoleExpiry {
  readonly role: 'root' | 'targets' | 'snapshot' | 'timestamp';
  readonly at: number;
}

/** Devices refuse what has expired. Faults: metadata_expired. */
export function requireUnexpired(expiries: readonly RoleExpiry[], now: number): void {
  const expired = expiries.filter(({ at }) => at <= now).map(({ role }) => role);
  if (expired.length > 0)
    throw new Fault('metadata_expired', `image metadata has expired: ${expired.join(', ')}`);
}
