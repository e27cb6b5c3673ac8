// `npm run package:device -- --arch x64|arm64 [--with-node] [--out DIR]`, and package:server and
// package:operator alike: makes the package.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Argument, Command, Option } from 'commander';
import { DEVICE, OPERATOR, SERVER } from './kinds.js';
import { makePackage } from './packages.js';
import { ARCHITECTURES, isInstalled, project, run } from './tools.js';

const kinds = { device: DEVICE, server: SERVER, operator: OPERATOR };

interface Options {
  readonly arch: string;
  readonly withNode: boolean;
  readonly out: string;
}

const program: Command = new Command('npm run package:KIND --')
  .description('Makes a package: a folder, a .tar.xz and, where dpkg-deb is installed, a .deb.')
  .addArgument(new Argument('<kind>', 'set by the npm script').choices(Object.keys(kinds)))
  .addOption(
    new Option('--arch <arch>', 'of the machines that it is for')
      .choices(ARCHITECTURES)
      .default(process.arch),
  )
  .option('--with-node', 'carry Node.js, for systems without one', false)
  .option('--out <folder>', 'where it is put', join(project, '.linnet', 'packages'))
  .parse();
const options = program.opts<Options>();
const kind = kinds[program.args[0] as keyof typeof kinds];
const arch = ARCHITECTURES.find((each) => each === options.arch);
if (arch === undefined)
  program.error(
    `no package is made for ${options.arch}: pass --arch ${ARCHITECTURES.join(' or ')}`,
  );
const { version } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as {
  version: string;
};
const given = process.env['SOURCE_DATE_EPOCH'];
const epochSeconds = Number(given ?? run('git', ['log', '-1', '--format=%ct']));
const made = await makePackage(kind, {
  arch,
  withNode: options.withNode,
  out: resolve(options.out),
  version,
  epochSeconds,
});
console.log(made.join('\n'));
if (!isInstalled('dpkg-deb')) console.error('no .deb: dpkg-deb is not installed');
