// The folder that a story makes everything in. It is emptied at the start, so it must be ours:
// empty, or marked by a story before. The marker holds the id of the process that tells the story
// there, and while that one lives nobody else may.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';

export const MARKER = '.linnet-story';

/**
 * Makes `root` an empty folder of this process. Fault conflict, with nothing deleted, for one that
 * is not a story's, or whose story still runs.
 */
export function takeFolder(root: string, pid: number = process.pid): void {
  mkdirSync(root, { recursive: true });
  const marker = join(root, MARKER);
  if (existsSync(marker)) {
    const other = Number(readFileSync(marker, 'utf8'));
    if (other !== pid && isAlive(other))
      throw new Fault(
        'conflict',
        `a story is running in ${root} (process ${other}): stop it first, or give another folder with --dir`,
      );
  } else if (readdirSync(root).length > 0) {
    throw new Fault(
      'conflict',
      `${root} holds files that no story made, and would be emptied: remove it yourself, or give another with --dir`,
    );
  }
  // The marker first and never removed: a story that is cut off while it empties the folder can
  // begin again.
  writeFileSync(marker, `${pid}\n`);
  for (const name of readdirSync(root))
    if (name !== MARKER) rmSync(join(root, name), { recursive: true, force: true });
}

/**
 * The story is over: its files stay, and the next one may take the folder whoever has the process
 * id by then.
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
    return systemCode(error) === 'EPERM'; // Somebody else's process. ESRCH: there is none.
  }
}
