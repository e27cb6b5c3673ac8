// What `npm start` and `npm test` run first, in plain JavaScript so that it works on a fresh clone: installs the
// packages when package-lock.json is newer than what is installed, and compiles TypeScript into dist/ (incremental).
// Running it twice does nothing the second time. It needs the npm registry and a C++ toolchain, nothing else.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const stamp = join(root, 'node_modules', '.linnet-lock-sha256');
const MINIMUM_NODE = [20, 19];

function run(title, command, args, env = {}) {
  const begun = Date.now();
  process.stderr.write(`linnet setup: ${title} ...\n`);
  const done = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: { ...process.env, ...env },
  });
  if (done.status !== 0) {
    process.stderr.write(
      `linnet setup: ${title} failed (${done.error?.message ?? `exit ${done.status}`}).\n`,
    );
    process.exit(done.status ?? 1);
  }
  process.stderr.write(
    `linnet setup: ${title} done in ${((Date.now() - begun) / 1000).toFixed(1)} s\n`,
  );
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor < MINIMUM_NODE[1])) {
  process.stderr.write(
    `linnet setup: Node ${process.versions.node} is too old; Linnet needs >= ${MINIMUM_NODE.join('.')}.\n`,
  );
  process.exit(1);
}

const wanted = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .update(process.versions.modules)
  .digest('hex');
const installed = existsSync(stamp) ? readFileSync(stamp, 'utf8') : '';
if (installed !== wanted) {
  // The switch keeps onnxruntime-node from fetching CUDA libraries from its vendor's feed (also in .npmrc, for plain `npm ci`).
  // Development packages by name: with NODE_ENV=production npm would leave out the compiler that the next step needs.
  run(
    'installing packages (better-sqlite3 compiles, 1 to 3 minutes)',
    'npm',
    ['ci', '--include=dev', '--no-audit', '--no-fund'],
    { ONNXRUNTIME_NODE_INSTALL: 'skip' },
  );
}
run('compiling TypeScript', process.execPath, [
  join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
  '-p',
  join(root, 'tsconfig.json'),
]);
// Only now: an installation that cannot compile is not one, and is made again the next time.
if (installed !== wanted) writeFileSync(stamp, wanted);
