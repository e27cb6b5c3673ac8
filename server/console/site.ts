// The files of the operator console as firmware-tools/build-console.mjs made them: read once at the
// start of the server and kept in memory, with the gzip form of each. They are looked for beside
// this module, and in dist/ when it runs from the sources.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface SiteFile {
  readonly type: string;
  readonly bytes: Buffer;
  readonly gzip: Buffer;
}

export interface Site {
  readonly index: string;
  /** By file name; a name carries a hash of the content. */
  readonly assets: ReadonlyMap<string, SiteFile>;
}

const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const PLACES = ['./site/', '../../dist/server/console/site/'];

/** Null: the console was not built. */
export function readSite(): Site | null {
  const folder = PLACES.map((place) => fileURLToPath(new URL(place, import.meta.url))).find(
    (place) => existsSync(join(place, 'index.html')),
  );
  if (folder === undefined) return null;
  const assets = new Map<string, SiteFile>();
  for (const name of readdirSync(join(folder, 'assets'))) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const path = join(folder, 'assets', name);
    assets.set(name, { type, bytes: readFileSync(path), gzip: readFileSync(`${path}.gz`) });
  }
  return { index: readFileSync(join(folder, 'index.html'), 'utf8'), assets };
}
