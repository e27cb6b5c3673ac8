// `npm run newcomer`: how long a newcomer takes from the first command to the first answer of a
// device, with packages that are made as they are shipped; `-- --packages DIR` takes those of
// `package:device`, `package:server` and `package:operator` (with Node.js, x64) from a folder.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DEVICE, OPERATOR, SERVER } from '../../../firmware-tools/package/kinds.js';
import { missingForDebian } from '../../support/debian-root.js';
import { debWithNode } from '../../support/package-debs.js';
import { newcomer, type NewcomerOptions } from './newcomer.js';
import { reportText } from './report.js';

const { values } = parseArgs({ options: { packages: { type: 'string' } } });
const missing = missingForDebian();
if (missing !== null) throw new Error(`the newcomer needs ${missing}`);
const folder = mkdtempSync(join(tmpdir(), 'linnet-newcomer-'));

async function packages(given: string | undefined): Promise<NewcomerOptions['debs']> {
  const made = join(folder, 'packages');
  const newerAgent = await debWithNode(DEVICE, made, { version: '0.1.1' });
  if (given !== undefined) {
    const of = (name: string) => join(given, `${name}-with-node_0.1.0_amd64.deb`);
    return {
      server: of(SERVER.name),
      operator: of(OPERATOR.name),
      agent: of(DEVICE.name),
      newerAgent,
    };
  }
  const shipped = { compression: 9 };
  return {
    server: await debWithNode(SERVER, made, shipped),
    operator: await debWithNode(OPERATOR, made, shipped),
    agent: await debWithNode(DEVICE, made, shipped),
    newerAgent,
  };
}

try {
  const report = await newcomer({ folder, debs: await packages(values.packages) });
  console.log(reportText(report));
  if (report.leftBehind.length > 0) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
