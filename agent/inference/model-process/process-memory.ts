// How much memory a model process has, read from the system and not asked of the process: a run
// that takes long, or never ends, does not hide it. Linux only; elsewhere it is not known.
import { readFile } from 'node:fs/promises';

const KIB = 1024;

/** Resident bytes (VmRSS of proc(5)); null when the process has ended, or without /proc. */
export async function residentBytes(pid: number): Promise<number | null> {
  let status: string;
  try {
    status = await readFile(`/proc/${pid}/status`, 'latin1');
  } catch {
    return null; // Ended meanwhile, or not Linux.
  }
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kib === undefined ? null : Number(kib) * KIB;
}
