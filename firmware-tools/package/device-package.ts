// The device package: the agent and the model process, the native modules that they need, and what
// a device's system needs to run them.
import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './bundles.js';
import {
  componentList,
  licenceFile,
  licenceTexts,
  npmComponent,
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
import { installedSqliteModule, sqliteModule } from './native-modules.js';
import { project, run, type Architecture } from './tools.js';
import { copy, filled, makeArchives, write } from './tree.js';

export interface DeviceOptions {
  readonly arch: Architecture;
  /** The package carries Node.js, instead of needing the distribution's. */
  readonly withNode: boolean;
  /** Releases of Node.js that a package without Node works with; each adds 2 MB. */
  readonly majors?: readonly NodeMajor[];
  readonly out: string;
  readonly version: string;
  /** Time of all files, in seconds since 1970. */
  readonly epochSeconds: number;
  /** Of xz, 0 to 9; 9 when left out. */
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
const HOME = 'usr/lib/linnet-agent';
const ORT = 'node_modules/onnxruntime-node';
const ORT_COMMON = 'node_modules/onnxruntime-common';
const TEMPLATES = join(project, 'firmware-tools', 'package', 'device');
/** New objects get little memory: measured, 12 MiB less for an idle agent. */
const NODE_FLAGS = '--max-semi-space-size=1';
/** What better_sqlite3.node needs when Debian 12 compiled it; ONNX Runtime takes older ones. */
const LIBRARIES = 'libc6 (>= 2.34), libstdc++6 (>= 11)';

/** Where Node.js is on a device. */
const nodePath = (withNode: boolean): string => (withNode ? `/${HOME}/bin/node` : '/usr/bin/node');

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
  options: Pick<DeviceOptions, 'arch' | 'withNode' | 'version' | 'majors'>,
  kib: number,
): string {
  const { arch, withNode, version, majors = NODE_MAJORS } = options;
  const depends = ['adduser', LIBRARIES, ...(withNode ? [] : [nodeDependency(majors)])];
  return [
    'Package: linnet-agent',
    `Version: ${version}`,
    `Architecture: ${DEBIAN_ARCHITECTURE[arch]}`,
    'Maintainer: Linnet <linnet@localhost>',
    `Installed-Size: ${kib}`,
    `Depends: ${depends.join(', ')}`,
    'Recommends: ca-certificates, util-linux',
    'Section: net',
    'Priority: optional',
    'Description: runs machine learning models on this device, with signed updates',
    ' The agent serves models to local applications, takes signed updates from a fleet',
    ' server, tries each before it serves it, and goes back when it is worse.',
    '',
  ].join('\n');
}

/** Paths of what was made: folder, archive, and the .deb where dpkg-deb is installed. */
export async function makeDevicePackage(options: DeviceOptions): Promise<string[]> {
  const { arch, withNode, version, out, epochSeconds, compression = 9 } = options;
  const kind = withNode ? '-with-node' : '';
  const name = `linnet-agent${kind}_${version}_${DEBIAN_ARCHITECTURE[arch]}`;
  const tree = join(out, name);
  rmSync(tree, { recursive: true, force: true });
  await fill(tree, options);
  const parts = { control: (kib: number) => controlFile(options, kib), scripts: TEMPLATES };
  return [tree, ...makeArchives(tree, parts, { epochSeconds, compression })];
}

async function fill(tree: string, options: DeviceOptions): Promise<void> {
  const { arch, withNode, version, majors = NODE_MAJORS } = options;
  const home = join(tree, HOME);
  const { files, packages } = await bundle({
    agent: 'firmware-tools/cli/agent-program.ts',
    'host-child': 'agent/inference/model-process/host-child.ts',
  });
  for (const { path, bytes } of files) write(join(home, 'dist', 'agent', path), bytes);
  const about = { name: 'linnet-agent', version, type: 'module', private: true };
  write(join(home, 'package.json'), `${JSON.stringify(about)}\n`);
  for (const major of withNode ? [CARRIED_NODE] : majors)
    copy(
      options.installedModule === true ? installedSqliteModule() : sqliteModule(arch, major),
      join(home, 'native', `abi${NODE_ABI[major]}`, 'better_sqlite3.node'),
    );
  onnxRuntime(home, arch);
  if (withNode)
    copy(join(nodeFolder(CARRIED_NODE, arch), 'bin', 'node'), join(home, 'bin', 'node'), 0o755);

  const values = { NODE: nodePath(withNode), NODE_FLAGS, VERSION: version };
  for (const [template, path, mode] of [
    ['linnet-agent.service', 'usr/lib/systemd/system/linnet-agent.service', 0o644],
    ['linnet-agent', 'usr/bin/linnet-agent', 0o755],
    ['linnet-agent.8', 'usr/share/man/man8/linnet-agent.8', 0o644],
    ['tmpfiles', 'usr/lib/tmpfiles.d/linnet-agent.conf', 0o644],
    ['logrotate', 'etc/logrotate.d/linnet-agent', 0o644],
    ['openrc', 'usr/share/doc/linnet-agent/examples/openrc', 0o755],
    ['agent.toml', 'etc/linnet/agent.toml', 0o644],
    ['default', 'etc/default/linnet-agent', 0o644],
  ] as const)
    write(join(tree, path), filled(readFileSync(join(TEMPLATES, template), 'utf8'), values), mode);
  run('gzip', ['-n9', join(tree, 'usr/share/man/man8/linnet-agent.8')]);

  const components = componentsOf([...packages, ORT, ORT_COMMON], options);
  const documents = join(tree, 'usr/share/doc/linnet-agent');
  const own = readFileSync(join(project, 'LICENSE'), 'utf8');
  write(join(documents, 'copyright'), licenceFile(own, components));
  write(
    join(documents, 'sbom.cdx.json'),
    componentList({ name: 'linnet-agent', version }, components),
  );
}

function componentsOf(folders: readonly string[], { arch, withNode }: DeviceOptions): Component[] {
  const components = folders.map((folder) => npmComponent(join(project, folder)));
  if (withNode)
    components.push({
      name: `node-linux-${arch}`,
      version: nodeVersion(CARRIED_NODE),
      licence: 'MIT',
      texts: licenceTexts(nodeFolder(CARRIED_NODE, arch)),
    });
  return components;
}

/** ONNX Runtime's own loader finds its library by this folder, so it keeps its form. */
function onnxRuntime(home: string, arch: Architecture): void {
  const binaries = join('bin', 'napi-v6', 'linux', arch);
  for (const [folder, parts] of [
    [ORT, ['package.json', 'dist', binaries]],
    [ORT_COMMON, ['package.json', join('dist', 'cjs')]],
  ] as const)
    for (const part of parts)
      cpSync(join(project, folder, part), join(home, folder, part), {
        recursive: true,
        filter: (path) => !/\.(?:d\.ts|map)$/.test(path),
      });
}
