// Programs that the package builder runs, and the folders it works in.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Root of the project: commands of package.json run there. */
export const project = process.cwd();
/** Node.js archives and compiled modules; kept between builds. */
export const cacheFolder = join(project, '.linnet', 'package');

export const ARCHITECTURES = ['x64', 'arm64'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** Runs a program to its end and returns what it printed. */
export function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: Readonly<Record<string, string>> } = {},
): string {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, {
    cwd: options.cwd ?? project,
    env: { ...process.env, ...options.env },
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status === 0) return stdout;
  const cause = error?.message ?? `exit ${signal ?? status}`;
  throw new Error(`${[command, ...args].join(' ')} failed (${cause})\n${stderr}`);
}

/** Whether a program of that name is on the PATH. */
export function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export const digest = (algorithm: 'sha256' | 'sha512', bytes: Uint8Array): Buffer =>
  createHash(algorithm).update(bytes).digest();
