// Reads a file that the user named, whole. Every failure is a Fault that says which file and what
// is wrong with it.
import { readFileSync } from 'node:fs';
import { Fault, reason, systemCode } from '../../../shared/base/fault-codes.js';

/** Faults: not_found (no such file, or a folder), disk_failed (it cannot be read). */
export function readInputFile(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** The Fault for a file that could not be opened or read. */
export function unreadable(path: string, cause: unknown): Fault {
  switch (systemCode(cause)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new Fault('not_found', `${path}: there is no such file`, { cause });
    case 'EISDIR':
      return new Fault('not_found', `${path}: it is a folder, not a file`, { cause });
    default:
      return new Fault('disk_failed', `${path}: it cannot be read: ${reason(cause)}`, { cause });
  }
}
