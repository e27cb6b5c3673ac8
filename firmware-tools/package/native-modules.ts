// What compilers make for one processor, for another one than this by Debian's cross compiler:
// better_sqlite3.node, from the installed npm package, for one version of the module interface of
// Node.js; and Node.js without symbol tables. Results are kept in the cache.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  headersFolder,
  NODE_ABI,
  nodeFolder,
  nodeVersion,
  type NodeMajor,
} from './node-archives.js';
import { cacheFolder, isInstalled, project, run, type Architecture } from './tools.js';

const CROSS_PREFIX: Readonly<Record<Architecture, string>> = {
  x64: 'x86_64-linux-gnu-',
  arm64: 'aarch64-linux-gnu-',
};

const CROSS_PACKAGE: Readonly<Record<Architecture, string>> = {
  x64: 'g++-x86-64-linux-gnu',
  arm64: 'g++-aarch64-linux-gnu',
};

/** The module that this installation runs with, for this processor and this Node.js. */
export const installedSqliteModule = (): string =>
  join(project, 'node_modules', 'better-sqlite3', 'build', 'Release', 'better_sqlite3.node');

/** Path of the compiled module. */
export function sqliteModule(arch: Architecture, major: NodeMajor): string {
  const source = join(project, 'node_modules', 'better-sqlite3');
  const { version } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as {
    version: string;
  };
  const kept = join(cacheFolder, `better-sqlite3-${version}-${arch}-abi${NODE_ABI[major]}.node`);
  if (existsSync(kept)) return kept;
  mkdirSync(cacheFolder, { recursive: true });
  const folder = mkdtempSync(join(cacheFolder, 'build-'));
  try {
    for (const part of ['binding.gyp', 'deps', 'src', 'package.json'])
      cpSync(join(source, part), join(folder, part), { recursive: true });
    const headers = headersFolder(major);
    run(process.execPath, [nodeGyp(), 'rebuild', '--release', `--arch=${arch}`], {
      cwd: folder,
      // Settings of npm, which a program that npm started finds in its environment, prevail over
      // arguments: the first name is for the node-gyp of npm 10, the second for that of npm 11.
      env: {
        ...compilerOf(arch),
        npm_config_nodedir: headers,
        npm_package_config_node_gyp_nodedir: headers,
      },
    });
    const built = join(folder, 'build', 'Release', 'better_sqlite3.node');
    if (!readFileSync(built).includes(`node_register_module_v${NODE_ABI[major]}`))
      throw new Error(`node-gyp took other headers than those of Node.js ${major} in ${headers}`);
    run(toolOf(arch, 'strip'), ['--strip-unneeded', built]);
    renameSync(built, kept);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return kept;
}

/**
 * Node.js without its symbol tables, which only debuggers read (18 of 127 MB on x64): path of the
 * program. Native modules find what they need in the dynamic symbols, which stay.
 */
export function strippedNode(arch: Architecture, major: NodeMajor): string {
  const kept = join(cacheFolder, `node-${nodeVersion(major)}-${arch}-stripped`);
  if (existsSync(kept)) return kept;
  const whole = join(nodeFolder(major, arch), 'bin', 'node');
  const folder = mkdtempSync(join(cacheFolder, 'strip-'));
  try {
    const fresh = join(folder, 'node');
    run(toolOf(arch, 'strip'), ['--strip-unneeded', '-o', fresh, whole]);
    renameSync(fresh, kept);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return kept;
}

/** node-gyp of the npm that is installed. */
function nodeGyp(): string {
  const modules = run('npm', ['root', '--global']).trim();
  return join(modules, 'npm', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js');
}

function toolOf(arch: Architecture, tool: string): string {
  if (arch === process.arch) return tool;
  const name = `${CROSS_PREFIX[arch]}${tool}`;
  if (!isInstalled(name))
    throw new Error(`${name} is not installed; on Debian: apt-get install ${CROSS_PACKAGE[arch]}`);
  return name;
}

/** A path of the build in the module would make it another file in another folder. */
function compilerOf(arch: Architecture): Readonly<Record<string, string>> {
  const [cc, cxx, ar] = ['gcc', 'g++', 'ar'].map((tool) => toolOf(arch, tool)) as [
    string,
    string,
    string,
  ];
  return { CC: cc, CXX: cxx, LINK: cxx, AR: ar, LDFLAGS: '-Wl,--build-id=none' };
}
