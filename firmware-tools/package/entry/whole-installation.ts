// The first file of the packaged agent and server: whether the package's other files are there,
// before any of them is loaded. Without it a file that is missing or cut (a disk that was full, a
// copy that was ended) would show itself as an error of Node.js, or as one of a release. It imports
// nothing of this project, because that could be what is missing.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Paths in the package's home, with their sizes; written when the package is made. */
export type FileSizes = Readonly<Record<string, number>>;
export const FILE_SIZES = 'files.json';

/** As in firmware-tools/cli/output.ts: of `doctor`, and of the fault installation_incomplete. */
const EXIT_NEGATIVE = 6;
const EXIT_FLAKED = 4;

/** What is not there as it was packaged; empty when everything is. */
export function whatIsNotWhole(home: string): string[] {
  const list = join(home, FILE_SIZES);
  let sizes: FileSizes;
  try {
    sizes = JSON.parse(readFileSync(list, 'utf8')) as FileSizes;
  } catch (error) {
    return [`${list} cannot be read: ${String(error)}`];
  }
  return Object.entries(sizes).flatMap(([name, size]) => {
    const path = join(home, name);
    const found = sizeOf(path);
    if (found === size) return [];
    return [
      typeof found === 'string' ? `${path} ${found}` : `${path} has ${found} of ${size} bytes`,
    ];
  });
}

/** In bytes, or why it has none. */
function sizeOf(path: string): number | string {
  try {
    return statSync(path, { throwIfNoEntry: false })?.size ?? 'is missing';
  } catch (error) {
    return `cannot be looked at: ${String(error)}`;
  }
}

/**
 * True when the package at `home` (a URL) is whole. Else it says what is not, as the doctor would,
 * and sets the exit code.
 */
export function isWhole(home: URL, name: string): boolean {
  const found = whatIsNotWhole(fileURLToPath(home));
  if (found.length === 0) return true;
  const args = process.argv.slice(2);
  const isDoctor = args.includes('doctor');
  const text = found.join('; ');
  const todo = `install the package ${name} again, for this processor`;
  const finding = { check: 'program files', state: 'bad', found: text, todo };
  process.exitCode = isDoctor ? EXIT_NEGATIVE : EXIT_FLAKED;
  const isJson = args.includes('--json');
  const code = 'installation_incomplete';
  if (isDoctor && isJson)
    process.stdout.write(`${JSON.stringify({ healthy: false, findings: [finding] }, null, 2)}\n`);
  else if (isJson)
    process.stdout.write(`${JSON.stringify({ error: text, code, kind: 'flaked', todo })}\n`);
  else if (isDoctor) process.stdout.write(`bad  program files  ${text}\n     -> ${todo}\n`);
  else
    process.stderr.write(
      `error: the installation of ${name} is not complete: ${text}\n` +
        `  code: ${code}\n  what to do: ${todo}\n`,
    );
  return false;
}
