// What actions ask of their arguments and options before they begin, the same way everywhere: the
// trusted root file, files that are there, and texts and numbers of a form that a schema has.
import { open, stat } from 'node:fs/promises';
import type { TSchema } from 'typebox';
import { complaints } from '../../shared/base/decode.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { readProblem } from '../../shared/platform/errno-faults.js';
import { unreadableFile } from '../../shared/platform/setting-files.js';
import { releaseRing } from '../../shared/trust/documents.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import { startTrust } from '../../shared/trust/trusted-set.js';

/**
 * Bytes of the root file that `--root` names, at most one byte more than a root may have (so that
 * its decoder refuses it). Fault: file_unreadable.
 */
export async function readRoot(file: string): Promise<Uint8Array> {
  try {
    const handle = await open(file, 'r');
    try {
      const buffer = Buffer.alloc(limits.rootMaxBytes + 1);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
      return new Uint8Array(buffer.subarray(0, bytesRead));
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw unreadableFile('the root file', file, error);
  }
}

/**
 * Refuses a command line whose files are missing or no files, all of them at once; what is
 * undefined was not given. A pipe (`<(...)`) is a file here. Fault file_unreadable.
 */
export async function requireFiles(...paths: readonly (string | undefined)[]): Promise<void> {
  const wrong: string[] = [];
  for (const path of paths) {
    if (path === undefined) continue;
    const found = await stat(path).catch(readProblem);
    if (typeof found === 'string') wrong.push(`${path}: ${found}`);
    else if (found.isDirectory()) wrong.push(`${path}: it is a folder, not a file`);
  }
  if (wrong.length > 0) throw new Fault('file_unreadable', wrong.join('; '));
}

/** The release keys that a trusted root file names. Faults: metadata_*, file_unreadable. */
export async function ringOfRoot(file: string): Promise<KeyRing> {
  return releaseRing(startTrust('image', await readRoot(file)).root.signed);
}

/**
 * Refuses an argument or option whose form is not `schema`'s, before a server is asked; `name` is
 * what the command line calls it, `given` what was typed. What is undefined was not given. Fault
 * usage names the argument, what was given, and what is wrong with it.
 */
export function requireForm(
  name: string,
  schema: TSchema,
  value: unknown,
  given = String(value),
): void {
  if (value === undefined) return;
  const found = complaints(schema, value).map((complaint) => complaint.replace(/^\S*: /, ''));
  if (found.length > 0) throw new Fault('usage', `${name} ${given}: ${found.join('; ')}`);
}
