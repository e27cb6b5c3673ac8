// `npm run package:device -- --arch x64|arm64 [--with-node] [--out DIR]`, and package:server and
// package:operator alike: makes the package.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { DEVICE, OPERATOR, SERVER } from './kinds.js';
import { makePackage } from './packages.js';
import { ARCHITECTURES, isInstalled, project, run } from './tools.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    arch: { type: 'string', default: process.arch },
    'with-node': { type: 'boolean', default: false },
    out: { type: 'string', default: join(project, '.linnet', 'packages') },
  },
});
const kinds = { device: DEVICE, server: SERVER, operator: OPERATOR };
const kind = Object.entries(kinds).find(([name]) => name === positionals[0])?.[1];
if (kind === undefined) throw new Error(`name one of ${Object.keys(kinds).join(', ')}`);
const arch = ARCHITECTURES.find((each) => each === values.arch);
if (arch === undefined) throw new Error(`--arch ${values.arch} is none of ${ARCHITECTURES.join()}`);
const { version } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as {
  version: string;
};
const given = process.env['SOURCE_DATE_EPOCH'];
const epochSeconds = Number(given ?? run('git', ['log', '-1', '--format=%ct']));
const made = await makePackage(kind, {
  arch,
  withNode: values['with-node'],
  out: resolve(values.out),
  version,
  epochSeconds,
});
console.log(made.join('\n'));
if (!isInstalled('dpkg-deb')) console.error('no .deb: dpkg-deb is not installed');
