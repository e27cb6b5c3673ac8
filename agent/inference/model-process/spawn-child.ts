// Spawns a model process: its command line, its environment and its pipes. Nothing of the
// supervisor's environment reaches it, and its HOME is a private, empty folder. Supervision is
// host.ts.
import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Fault, reason } from '../../../shared/base/fault-codes.js';
import { requireChildProgram } from './installation.js';

/** The compiled host-child.js beside this file. Code that runs from TypeScript must name dist/. */
export const compiledChild = fileURLToPath(new URL('./host-child.js', import.meta.url));

export interface SpawnChildOptions {
  /** Path of the compiled host-child.js. */
  readonly childPath: string;
  /**
   * HOME, cache and working folder of model processes. Private to them, created when missing, stays
   * empty.
   */
  readonly home: string;
  readonly frameMaxBytes: number;
}

/** What a process gets: pipes only, and they may be missing (see pipesOf). */
export interface ChildPipes {
  readonly stderr: Readable;
  /** Carries IPC frames in both directions. */
  readonly socket: Socket;
}

let deathSignalPrefix: readonly string[] | null = null;

/**
 * A model process ends by itself when its socket ends, except inside a run that never returns.
 * Where util-linux is installed, the kernel kills it in that case too (prctl PR_SET_PDEATHSIG; a
 * watching thread in each process would cost 11 MB). Tried once.
 */
function deathSignal(): readonly string[] {
  const [command, ...options] = ['setpriv', '--pdeathsig', 'KILL'] as const;
  deathSignalPrefix ??=
    spawnSync(command, [...options, 'true'], { stdio: 'ignore' }).status === 0
      ? [command, ...options]
      : [];
  return deathSignalPrefix;
}

/**
 * Faults: `installation_incomplete`; `host_start` when the system refuses at once (no memory, no
 * more processes). A later
 * refusal is the process's `error` event, with `pid` undefined.
 */
export function spawnChild({ home, childPath, frameMaxBytes }: SpawnChildOptions): ChildProcess {
  requireChildProgram(childPath);
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Fault('host_start', `cannot create ${home} for model processes`, { cause: error });
  }
  const [command, ...args] = [...deathSignal(), process.execPath, childPath, String(frameMaxBytes)];
  try {
    return spawn(command, args, spawnOptions(home));
  } catch (error) {
    throw new Fault('host_start', `cannot start a model process: ${reason(error)}`, {
      cause: error,
    });
  }
}

function spawnOptions(home: string): SpawnOptions {
  return {
    cwd: home,
    env: {
      PATH: process.env['PATH'] ?? '/usr/bin:/bin',
      HOME: home,
      XDG_CACHE_HOME: home,
      XDG_CONFIG_HOME: home,
      XDG_DATA_HOME: home,
      TMPDIR: home,
      ORT_DISABLE_TELEMETRY: '1',
      // Freed memory returns to the system at once instead of staying in the allocator's arenas
      // (measured: -25 MB).
      MALLOC_MMAP_THRESHOLD_: '131072',
      MALLOC_ARENA_MAX: '2',
    },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  };
}

/**
 * Fault `host_start` without them: when no file descriptors are left there is no stdio at all,
 * whatever its type says (node: lib/internal/child_process.js).
 */
export function pipesOf(child: ChildProcess): ChildPipes {
  const [, , stderr, socket] = (child.stdio as ChildProcess['stdio'] | undefined) ?? [];
  if (stderr === undefined || stderr === null || socket === undefined || socket === null)
    throw new Fault('host_start', 'cannot open the pipes of a model process: too many open files');
  return { stderr, socket: socket as Socket };
}
