// Packages that carry Node.js, as .deb files for tests: not compressed, which would take minutes.
import { mkdirSync } from 'node:fs';
import type { PackageKind } from '../../firmware-tools/package/kinds.js';
import { makePackage, type PackageOptions } from '../../firmware-tools/package/packages.js';
import type { Architecture } from '../../firmware-tools/package/tools.js';

export interface DebOptions {
  readonly arch?: Architecture;
  readonly version?: string;
  readonly compression?: PackageOptions['compression'];
}

/** Path of the .deb. */
export async function debWithNode(
  kind: PackageKind,
  out: string,
  { arch = 'x64', version = '0.1.0', compression = 0 }: DebOptions = {},
): Promise<string> {
  mkdirSync(out, { recursive: true });
  const made = await makePackage(kind, {
    arch,
    withNode: true,
    version,
    compression,
    epochSeconds: 1,
    out,
  });
  const deb = made.at(-1) ?? '';
  if (!deb.endsWith('.deb')) throw new Error('no .deb: dpkg-deb is not installed');
  return deb;
}
