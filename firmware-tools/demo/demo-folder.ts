// The folder in which a demo makes everything. It is emptied at the start, so it must be empty or
// marked by an earlier demo. The marker holds the id of the demo's process; while that process
// runs, no other demo may use the folder.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';

export const MARKER = '.linnet-demo';

/**
 * Makes `root` an empty folder of this process. Fault conflict, with nothing deleted, for one that
 * no demo made, or whose demo still runs.
 */
export function takeFolder(root: string, pid: number = process.pid): void {
  mkdirSync(root, { recursive: true });
  const marker = join(root, MARKER);
  if (existsSync(marker)) {
    const other = Number(readFileSync(marker, 'utf8'));
    if (other !== pid && isAlive(other))
      throw new Fault(
        'conflict',
        `a demo is running in ${root} (process ${other}): stop it first, or give ` +
          'another folder with --dir',
      );
  } else if (readdirSync(root).length > 0) {
    throw new Fault(
      'conflict',
      `${root} holds files that no demo made, and would be emptied: remove it yourself, or give ` +
        'another folder with --dir',
    );
  }
  // The marker is written first and never removed, so that a demo that was killed while it emptied
  // the folder can be started again.
  writeFileSync(marker, `${pid}\n`);
  for (const name of readdirSync(root))
    if (name !== MARKER) rmSync(join(root, name), { recursive: true, force: true });
}

/**
 * Ends the demo's use of the folder. Its files stay, and the next demo may take it, whatever
 * process has the id by then.
 */
export function leaveFolder(root: string): void {
  writeFileSync(join(root, MARKER), '');
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM'; // Another user's process. ESRCH: no process.
  }
}
