// `npm run bench:package` with a package that is not compressed and has the native module of
// this installation: every figure is taken. How large they are is not looked at.
import { expect, it } from 'vitest';
import { NODE_MAJORS } from '../../firmware-tools/package/node-archives.js';
import { isInstalled } from '../../firmware-tools/package/tools.js';
import { run } from '../bench/package.js';
import { isWhole } from '../support/whole.js';

const major = NODE_MAJORS.find((each) => process.versions.node.startsWith(`${each}.`));
const missing =
  process.platform !== 'linux' || process.arch !== 'x64' || major === undefined
    ? 'Linux on x64 with a Node.js that packages support'
    : ['dpkg-deb', 'xz'].find((program) => !isInstalled(program));

it.skipIf(!isWhole)('every_figure_of_the_device_package_is_taken', async (test) => {
  if (missing !== undefined || major === undefined) {
    console.log(`the package is not measured: it needs ${missing}`);
    return test.skip();
  }
  const plain = { withNode: false, majors: [major], installedModule: true, compression: 0 };
  const results = await run({ packages: [plain], coldStarts: 1, agentStarts: 2, restMs: 0 });
  const rows = results.flatMap((result) => result.rows);
  for (const { what, value } of rows) expect(value, what).toBeGreaterThan(0);
  expect(rows.filter(({ aim }) => aim !== undefined).map(({ what }) => what)).toEqual([
    'size of the .deb',
    'idle agent: anonymous memory',
    'idle agent: RSS',
    '--version / node -e 0',
    '--help / node -e 0',
  ]);
});
