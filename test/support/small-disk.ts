// A file system of a few MiB for tests of full disks and small temp folders: a tmpfs, where this
// process may mount one.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  readonly folder: string;
  unmount(): void;
}

/** Null, with the reason printed, where mounting is not permitted; `what` is then not tested. */
export function mountSmallDisk(mib: number, what: string): SmallDisk | null {
  const folder = mkdtempSync(join(tmpdir(), 'linnet-small-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m`, 'tmpfs', folder], {
      stdio: 'pipe',
    });
  } catch (error) {
    rmSync(folder, { recursive: true });
    console.warn(`${what}: not tested, a tmpfs cannot be mounted here: ${String(error)}`);
    return null;
  }
  return {
    folder,
    unmount: () => {
      execFileSync('umount', [folder]);
      rmSync(folder, { recursive: true });
    },
  };
}
