// What several commands take on their command line, read the same way everywhere: the trusted root
// file and options that may be repeated. Commands that talk to a fleet server take their connection
// options from fleet/fleet-client.ts.
import { open, stat } from 'node:fs/promises';
import { Fault, reason, systemCode } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { releaseRing } from '../../shared/trust/documents.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import { startTrust } from '../../shared/trust/trusted-set.js';

/**
 * Bytes of the root file that `--root` names, at most one byte more than a root may have (so that
 * its decoder refuses it). Fault usage: the file cannot be read.
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
    throw new Fault('usage', `cannot read the root file ${file}: ${reason(error)}`, {
      cause: error,
    });
  }
}

/**
 * Refuses a command line whose files are missing or no files, all of them at once; what is
 * undefined was not given. A pipe (`<(...)`) is a file here. Fault not_found.
 */
export async function requireFiles(...paths: readonly (string | undefined)[]): Promise<void> {
  const wrong: string[] = [];
  for (const path of paths) {
    if (path === undefined) continue;
    const found = await stat(path).catch((error: unknown) => systemCode(error) ?? reason(error));
    if (found === 'ENOENT' || found === 'ENOTDIR') wrong.push(`${path}: there is no such file`);
    else if (typeof found === 'string') wrong.push(`${path}: cannot be read (${found})`);
    else if (found.isDirectory()) wrong.push(`${path}: is a folder, not a file`);
  }
  if (wrong.length > 0) throw new Fault('not_found', wrong.join('; '));
}

/** The release keys that a trusted root file names. Faults: metadata_*, usage (see readRoot). */
export async function ringOfRoot(file: string): Promise<KeyRing> {
  return releaseRing(startTrust('image', await readRoot(file)).root.signed);
}

/** For an option that may be given several times: commander calls it once a value. */
export const gather = (value: string, before: string[] | undefined): string[] => [
  ...(before ?? []),
  value,
];
