// What the doctors ask this machine.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';

const DIST = join(process.cwd(), 'dist');
const folder = mkdtempSync(join(tmpdir(), 'linnet-probes-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('folder_whose_package_file_cannot_be_read_does_not_make_a_library_look_broken', () => {
  const home = join(folder, 'home');
  mkdirSync(home);
  writeFileSync(join(home, 'package.json'), 'not JSON, as unreadable as a file without the right');
  const library = join(folder, 'library.cjs');
  writeFileSync(library, '');
  const ask = join(folder, 'ask.mjs');
  writeFileSync(
    ask,
    `import { programFailure } from '${DIST}/shared/platform/machine-probes.js';\n` +
      `console.log(await programFailure(['-e', 'require("${library}")']));\n`,
  );
  const { stdout, stderr } = spawnSync(process.execPath, [ask], { cwd: home, encoding: 'utf8' });
  expect(stdout + stderr).toBe('null\n');
});
