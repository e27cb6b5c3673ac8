// Makes a package: bundled programs, the native modules that they need, and what the system needs
// to run them.
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './bundles.js';
import {
  componentList,
  licenceFile,
  licenceTexts,
  listed,
  npmComponent,
  npmUrl,
  sqliteComponent,
  type Component,
} from './contents.js';
import {
  CARRIED_NODE,
  NODE_ABI,
  nodeFolder,
  NODE_MAJORS,
  nodeVersion,
  type NodeMajor,
} from './node-archives.js';
import { FILE_SIZES, type FileSizes } from './entry/whole-installation.js';
import { writeHelp } from './help-files.js';
import type { PackageKind } from './kinds.js';
import { installedSqliteModule, sqliteModule, strippedNode } from './native-modules.js';
import { project, type Architecture } from './tools.js';
import { copy, filled, makeArchives, write } from './tree.js';

export interface PackageOptions {
  readonly arch: Architecture;
  /** The package carries Node.js, instead of needing the distribution's. */
  readonly withNode: boolean;
  /** Releases of Node.js that a package without Node works with; each adds 2 MB. */
  readonly majors?: readonly NodeMajor[];
  readonly out: string;
  readonly version: string;
  /** Time of all files, in seconds since 1970. */
  readonly epochSeconds: number;
  /** See ArchiveOptions; 9 when left out. */
  readonly compression?: number;
  /**
   * In place of compiling: the module that this installation runs with. For tests; the package
   * works with this processor and this release of Node.js only.
   */
  readonly installedModule?: boolean;
}

const DEBIAN_ARCHITECTURE: Readonly<Record<Architecture, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
};
const TEMPLATES = join(project, 'firmware-tools', 'package');
/** What better_sqlite3.node needs when Debian 12 compiled it; ONNX Runtime takes older ones. */
const LIBRARIES = 'libc6 (>= 2.34), libstdc++6 (>= 11)';

const homeOf = ({ name }: PackageKind): string => `usr/lib/${name}`;

/**
 * The Debian versions of these releases of Node.js and of no other: the native modules fit no
 * other one. Node.js 20 before 20.19 lacks what the agent needs.
 */
function nodeDependency(majors: readonly NodeMajor[]): string {
  const [first = 20, ...rest] = majors;
  const gaps: string[] = [];
  let before: number = first;
  for (const major of rest) {
    gaps.push(`nodejs (<< ${before + 1}) | nodejs (>= ${major})`);
    before = major;
  }
  const oldest = first === 20 ? '20.19' : String(first);
  return [`nodejs (>= ${oldest})`, ...gaps, `nodejs (<< ${before + 1})`].join(', ');
}

/** The control file of the .deb. */
export function controlFile(
  { name, about }: PackageKind,
  options: Pick<PackageOptions, 'arch' | 'withNode' | 'version' | 'majors'>,
  kib: number,
): string {
  const { arch, withNode, version, majors = NODE_MAJORS } = options;
  const depends = ['adduser', LIBRARIES, ...(withNode ? [] : [nodeDependency(majors)])];
  return [
    `Package: ${name}`,
    `Version: ${version}`,
    `Architecture: ${DEBIAN_ARCHITECTURE[arch]}`,
    'Maintainer: Linnet <linnet@localhost>',
    `Installed-Size: ${kib}`,
    `Depends: ${depends.join(', ')}`,
    'Recommends: ca-certificates, util-linux',
    'Section: net',
    'Priority: optional',
    `Description: ${about.join('\n ')}`,
    '',
  ].join('\n');
}

/** Paths of what was made: folder, archive, and the .deb where dpkg-deb is installed. */
export async function makePackage(kind: PackageKind, options: PackageOptions): Promise<string[]> {
  const { arch, withNode, version, out, epochSeconds, compression = 9 } = options;
  const form = withNode ? `${kind.name}-with-node` : kind.name;
  const tree = join(out, `${form}_${version}_${DEBIAN_ARCHITECTURE[arch]}`);
  rmSync(tree, { recursive: true, force: true });
  await fill(kind, tree, options);
  const parts = {
    control: (kib: number) => controlFile(kind, options, kib),
    scripts: join(TEMPLATES, kind.templates),
  };
  return [tree, ...makeArchives(tree, parts, { epochSeconds, compression })];
}

async function fill(kind: PackageKind, tree: string, options: PackageOptions): Promise<void> {
  const { arch, withNode, version, majors = NODE_MAJORS } = options;
  const { name, folder, files: templates } = kind;
  const home = join(tree, homeOf(kind));
  const { files, packages } = await bundle(kind);
  for (const { path, bytes } of files) write(join(home, 'dist', folder, path), bytes);
  const about = { name, version, type: 'module', private: true };
  write(join(home, 'package.json'), `${JSON.stringify(about)}\n`);
  for (const major of withNode ? [CARRIED_NODE] : majors)
    copy(
      options.installedModule === true ? installedSqliteModule() : sqliteModule(arch, major),
      join(home, 'native', `abi${NODE_ABI[major]}`, 'better_sqlite3.node'),
    );
  const others = kind.extra(home, arch);
  if (withNode) copy(strippedNode(arch, CARRIED_NODE), join(home, 'bin', 'node'), 0o755);

  // Last: it lists the others.
  if (kind.looksFirst) write(join(home, FILE_SIZES), `${JSON.stringify(fileSizes(home))}\n`);

  const node = withNode ? `/${homeOf(kind)}/bin/node` : '/usr/bin/node';
  const values = { NODE: `${node} ${kind.nodeFlags}`.trim(), VERSION: version };
  for (const [template, path, mode] of templates) {
    const text = readFileSync(join(TEMPLATES, kind.templates, template), 'utf8');
    write(join(tree, path), filled(text, values), mode);
  }
  await writeHelp(kind, tree, values);

  const components = componentsOf([...packages, ...others], options);
  const documents = join(tree, 'usr/share/doc', name);
  const own = readFileSync(join(project, 'LICENSE'), 'utf8');
  write(join(documents, 'copyright'), licenceFile(own, components));
  write(join(documents, 'sbom.cdx.json'), componentList({ name, version }, components));
}

function fileSizes(home: string): FileSizes {
  const files = readdirSync(home, { recursive: true, encoding: 'utf8' })
    .map((path) => ({ path, stat: statSync(join(home, path)) }))
    .filter(({ stat }) => stat.isFile());
  return Object.fromEntries<number>(
    files.map(({ path, stat }) => [path, stat.size] as const).sort(),
  );
}

function componentsOf(folders: readonly string[], { arch, withNode }: PackageOptions): Component[] {
  const components = folders.map((folder) => npmComponent(join(project, folder)));
  components.push(sqliteComponent(join(project, 'node_modules', 'better-sqlite3')));
  if (withNode) {
    const [name, version] = [`node-linux-${arch}`, nodeVersion(CARRIED_NODE)];
    const texts = licenceTexts(nodeFolder(CARRIED_NODE, arch));
    components.push({ name, version, licence: 'MIT', texts, purl: npmUrl(name, version) });
  }
  return listed(components);
}
