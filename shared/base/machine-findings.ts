// Findings about a machine that the agent and the server have in common.
import type { NamedFile } from './config.js';
import { bad, faultText, good, skipped, warning, type Finding } from './findings.js';
import { isFault, reason } from './fault-codes.js';
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
  /** What is there, or above it, is another thing than a folder. */
  readonly isOther?: boolean;
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
  { problem, exists, isOther = false, owner, mode }: FolderState,
  user: number,
  asUser: { readonly name: string; readonly command: string },
): Finding {
  const check = 'data folder';
  if (problem !== null) {
    const { name } = asUser;
    const command = exists
      ? `give it to the user of the daemon: chown -R ${name}: ${path}`
      : `make it for the user of the daemon: install -d -m 0700 -o ${name} -g ${name} ${path}`;
    // A command that gives away another thing, or a place that depends on where one is, does harm.
    const isCommand = !isOther && path.startsWith('/');
    return bad(
      check,
      problem,
      isCommand ? `${command}; or change data_dir` : 'name a folder by data_dir, by its whole path',
    );
  }
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

/** The module of SQLite is made for one version of Node.js; `advice`: how else to get another. */
export function sqliteFinding(
  failure: string | null,
  { modules }: NodeVersions,
  advice: string,
): Finding {
  const todo = `it must be made for Node.js modules ${modules}: ${advice}`;
  return failure === null ? good('SQLite module', 'loads') : bad('SQLite module', failure, todo);
}

/**
 * The settings and what is said of them; without settings, every check that needs them (`checks`)
 * is skipped. `file`: of the configuration.
 */
export function configurationFindings<S>(
  file: string,
  read: () => S,
  { about, checks }: { about: (settings: S) => string; checks: readonly string[] },
): { readonly settings: S | null; readonly findings: Finding[] } {
  try {
    const settings = read();
    return { settings, findings: [good('configuration', about(settings))] };
  } catch (error) {
    const todo =
      isFault(error) && error.code === 'file_unreadable'
        ? 'name it by --config FILE, and let the user of the daemon read it'
        : `correct what is listed here in ${file}, then run this command again`;
    return {
      settings: null,
      findings: [
        bad('configuration', faultText(error), todo),
        ...checks.map((check) => skipped(check, 'needs the configuration')),
      ],
    };
  }
}

/** Whether the files that settings name can be read; `read` throws a Fault that names both. */
export function filesFinding(
  files: readonly NamedFile[],
  read: (setting: string, path: string) => unknown,
): Finding {
  const complaints = files.flatMap(({ setting, path }) => {
    try {
      read(setting, path);
      return [];
    } catch (error) {
      return [faultText(error)];
    }
  });
  return complaints.length === 0
    ? good('files', `${files.length} named and readable`)
    : bad('files', complaints.join('; '), 'put them there, readable by the user of the daemon');
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

/** `failure`: why nothing can listen there, null when something can. */
export function listenFinding(
  check: string,
  { host, port }: { readonly host: string; readonly port: number },
  { failure, daemon }: { readonly failure: string | null; readonly daemon: string },
): Finding {
  const found = `${host}:${port}`;
  if (failure === null) return good(check, `${found} is free`);
  return failure === 'EADDRINUSE'
    ? warning(
        check,
        `${found} is in use`,
        `fine when this ${daemon} runs; else choose another port`,
      )
    : bad(check, `${found}: ${failure}`, 'name an address of this machine, and a port above 1023');
}
