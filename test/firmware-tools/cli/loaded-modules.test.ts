// What the help of a command loads: names and options, and no package but commander. A schema or a
// runtime among them would make every --help slow, which no time of a test shows reliably.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { loadedBy, packagesOf } from '../../support/loaded-modules.js';

const MAIN = pathToFileURL(join(process.cwd(), 'dist/firmware-tools/cli/main.js')).href;

it('the_help_of_no_command_loads_what_the_command_needs_to_run', () => {
  // The declarations of every command: --help of one loads some of these modules.
  const urls = loadedBy(`await (await import(${JSON.stringify(MAIN)})).commandTree()`);
  expect(urls.filter((url) => /\/(?:actions|run-[^/]*)(?:\/|\.js$)/.test(url))).toEqual([]);
  expect(packagesOf(urls)).toEqual(['commander']);
});
