// System errors as Faults: the one place that says which error code of the operating system is
// which Fault. What is not a system error (a Fault, a bug, a broken upload) passes unchanged.
import { Fault, reason, systemCode } from '../base/fault-codes.js';

const FULL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT']);

/** What an operator cannot read from the code alone. */
const MEANING: Readonly<Record<string, string>> = {
  EROFS: 'the file system is read-only',
  EIO: 'the medium fails',
  ENOSPC: 'no space or no inodes are left',
  EDQUOT: "the user's quota is used up",
};

/** Why a file cannot be read; what is not here is said by its code. */
const READ_PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EISDIR: 'it is a folder, not a file',
  EACCES: 'this user may not read it',
  EPERM: 'this user may not read it',
  ELOOP: 'its links lead in a circle',
};

/** Why a file cannot be read, as a sentence for an operator. */
export function readProblem(error: unknown): string {
  const code = systemCode(error);
  return code === undefined ? reason(error) : (READ_PROBLEMS[code] ?? MEANING[code] ?? code);
}

/** True for an error of the operating system (ENOENT, EISDIR, EROFS, ...). */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && !(error instanceof Fault) && 'syscall' in error;
}

/** True when the file system has no room left, or the user's quota is used up. */
export function isDiskFull(error: unknown): boolean {
  return FULL.has(systemCode(error));
}

/**
 * A system error as the Fault `disk_full` or `disk_failed`; anything else as it came. `doing` says
 * what was tried and to which path: "write /var/lib/x".
 */
export function diskFault(error: unknown, doing: string): unknown {
  if (!isSystemError(error)) return error;
  const code = systemCode(error) ?? reason(error);
  const meaning = MEANING[code];
  const detail = `cannot ${doing}: ${code}${meaning === undefined ? '' : ` (${meaning})`}`;
  return new Fault(isDiskFull(error) ? 'disk_full' : 'disk_failed', detail, { cause: error });
}

/** Runs `work`; its system errors become Faults. */
export async function withDiskFaults<T>(doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw diskFault(error, doing);
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
