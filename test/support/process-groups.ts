// Ends whole process groups: a child that was started `detached`, and all that it started itself.
import type { ChildProcess } from 'node:child_process';
import { systemCode } from '../../shared/base/fault-codes.js';

/** Kills what is left of the group of a detached child; says whether anything was. */
export function endGroup({ pid }: ChildProcess): 'ended' | 'nothing was left' {
  if (pid === undefined) return 'nothing was left';
  try {
    process.kill(-pid, 'SIGKILL');
    return 'ended';
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return 'nothing was left';
    throw error;
  }
}
