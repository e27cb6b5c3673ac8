// `npm run newcomer` with packages that are not compressed. Times are printed, and not judged.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEVICE, OPERATOR, SERVER } from '../../firmware-tools/package/kinds.js';
import { missingForDebian } from '../support/debian-root.js';
import { debWithNode } from '../support/package-debs.js';
import { ofInstalledPackages } from '../support/whole.js';
import { newcomer } from './newcomer/newcomer.js';
import { reportText } from './newcomer/report.js';

const missing = missingForDebian();
if (ofInstalledPackages && missing !== null)
  console.log(`the newcomer is not tested: it needs ${missing}`);

describe.skipIf(!ofInstalledPackages || missing !== null)(
  'the newcomer (npm run test:installed)',
  () => {
    it('documents_lead_from_packages_to_a_first_answer_an_upgrade_and_a_clean_purge', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'linnet-newcomer-'));
      try {
        const out = join(folder, 'packages');
        const report = await newcomer({
          folder,
          debs: {
            newerAgent: await debWithNode(DEVICE, out, { version: '0.1.1' }),
            agent: await debWithNode(DEVICE, out),
            server: await debWithNode(SERVER, out),
            operator: await debWithNode(OPERATOR, out),
          },
        });
        console.log(reportText(report));
        expect(report.answersBefore).toHaveLength(10);
        expect(report.answersAfter).toEqual(report.answersBefore);
        expect(report.leftBehind).toEqual([]);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }, 900_000);
  },
);
