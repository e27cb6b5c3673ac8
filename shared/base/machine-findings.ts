// Findings about a machine that the agent and the server have in common.
import { bad, good, skipped, warning, type Finding } from './findings.js';
import { reason } from './fault-codes.js';
import { limits } from './limits.js';
import { MIB } from './units.js';

export interface NodeVersions {
  readonly version: string;
  /** Version of the interface of native modules. */
  readonly modules: string;
  readonly system: string;
}

export interface FolderState {
  /** Why this process cannot read, write and enter it, or make it where it is missing. */
  readonly problem: string | null;
  readonly exists: boolean;
  /** User id and mode of the folder itself; 0 where it is missing. */
  readonly owner: number;
  readonly mode: number;
}

const NODE_OLDEST = [20, 19] as const;

/** Compares dotted versions by their first two numbers. */
export function isBefore(version: string, [major, minor]: readonly [number, number]): boolean {
  const [first = 0, second = 0] = version.split('.').map(Number);
  return first < major || (first === major && second < minor);
}

export function nodeFinding({ version, modules, system }: NodeVersions): Finding {
  const found = `Node.js ${version} (modules ${modules}) on ${system}`;
  return isBefore(version, NODE_OLDEST)
    ? bad('Node.js', found, `install Node.js ${NODE_OLDEST.join('.')} or later: 20, 22 or 24`)
    : good('Node.js', found);
}

/** `asUser`: the user of the daemon's package, and this command as that user. */
export function folderFinding(
  path: string,
  { problem, exists, owner, mode }: FolderState,
  user: number,
  asUser: { readonly name: string; readonly command: string },
): Finding {
  const check = 'data folder';
  if (problem !== null)
    return bad(
      check,
      problem,
      `give it to the user of the daemon: chown -R ${asUser.name}: ${path}, or change data_dir`,
    );
  if (!exists) return good(check, `${path} will be made`);
  if (owner !== user)
    return warning(
      check,
      `${path} belongs to user ${owner}, this is user ${user}`,
      `run this command as the user of the daemon: ${asUser.command}`,
    );
  return (mode & 0o077) === 0
    ? good(check, path)
    : warning(check, `${path} is open to other users`, `close it: chmod 700 ${path}`);
}

export function diskFinding(path: string, freeBytes: (path: string) => number): Finding {
  let free: number;
  try {
    free = freeBytes(path);
  } catch (error) {
    return skipped('disk', reason(error));
  }
  const found = `${Math.floor(free / MIB)} MiB free for ${path}`;
  return free >= limits.doctorFreeMinBytes
    ? good('disk', found)
    : bad('disk', found, `make room: ${limits.doctorFreeMinBytes / MIB} MiB are needed`);
}
