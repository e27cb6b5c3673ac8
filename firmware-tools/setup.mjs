// What `npm start` and `npm test` run first, in plain JavaScript so that it works on a fresh clone:
// installs the packages when package-lock.json or the Node ABI differs from what is installed, and
// compiles TypeScript and the operator console into dist/ (incremental). A second run installs
// nothing. It needs the npm registry, python3, make and a C++ compiler.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const stamp = join(root, 'node_modules', '.linnet-lock-sha256');
const MINIMUM_NODE = [20, 19];

function run(title, command, args, env = {}) {
  const startedMs = Date.now();
  process.stderr.write(`linnet setup: ${title} ...\n`);
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: { ...process.env, ...env },
  });
  if (result.status !== 0) {
    const cause = result.error?.message ?? `exit ${result.status ?? result.signal}`;
    process.stderr.write(`linnet setup: ${title} failed (${cause}).\n`);
    process.exit(result.status ?? 1);
  }
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  process.stderr.write(`linnet setup: ${title} done in ${seconds} s\n`);
}

/**
 * The environment in which node-gyp takes the C++ headers that lie beside this Node, when it finds
 * any, instead of fetching them. From Node 24.19 on, `node::ObjectWrap` removes a hook from the
 * environment in its destructor, and aborts the process when the garbage collector runs outside
 * JavaScript. better-sqlite3 12 frees its statements that way. So the two calls are taken out of a
 * copy of that header; older headers do not have them (DECISIONS.md).
 */
function headersBesideNode() {
  const folder = join(dirname(process.execPath), '..');
  const name = join('include', 'node', 'node_object_wrap.h');
  if (!existsSync(join(folder, name))) return {};
  const copy = join(root, 'node_modules', '.linnet-node-headers');
  rmSync(copy, { recursive: true, force: true });
  cpSync(join(folder, 'include', 'node'), join(copy, 'include', 'node'), { recursive: true });
  const header = readFileSync(join(copy, name), 'utf8');
  writeFileSync(join(copy, name), header.replace(/^ +(?:Add|Remove)CleanupHook\(\);\n/gm, ''));
  // The first name is for the node-gyp of npm 10, the second for that of npm 11.
  return { npm_config_nodedir: copy, npm_package_config_node_gyp_nodedir: copy };
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor < MINIMUM_NODE[1])) {
  process.stderr.write(
    `linnet setup: Node ${process.versions.node} is too old;` +
      ` Linnet needs >= ${MINIMUM_NODE.join('.')}.\n`,
  );
  process.exit(1);
}

const needed = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .update(process.versions.modules)
  .digest('hex');
const installed = existsSync(stamp) ? readFileSync(stamp, 'utf8') : '';
if (installed !== needed) {
  // --include=dev: with NODE_ENV=production npm would leave out the TypeScript compiler.
  run('installing packages', 'npm', ['ci', '--include=dev', '--no-audit', '--no-fund']);
  // .npmrc switches install scripts off; this is the only package that needs its script.
  run(
    'compiling better-sqlite3 (1 to 3 minutes)',
    'npm',
    ['rebuild', 'better-sqlite3', '--ignore-scripts=false'],
    headersBesideNode(),
  );
}
run('compiling TypeScript', process.execPath, [
  join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
  '-p',
  join(root, 'tsconfig.json'),
]);
run('building the console', process.execPath, [join(root, 'firmware-tools', 'build-console.mjs')]);
// Written last: an installation that cannot compile is made again the next time.
if (installed !== needed) writeFileSync(stamp, needed);
