// What the help of a command loads: names and options, and no package but commander. A schema or a
// runtime among them would make every --help slow, which no time of a test shows reliably.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';

const MAIN = pathToFileURL(join(process.cwd(), 'dist/firmware-tools/cli/main.js')).href;

const asModule = (source: string): string => `data:text/javascript,${encodeURIComponent(source)}`;

/** Prints the address of every module that is loaded, of Node.js's own too. */
const HOOK = asModule(`
  import { writeSync } from 'node:fs';
  export const load = (url, context, next) => {
    writeSync(2, url + '\\n');
    return next(url, context);
  };
`);
const LISTING = asModule(`
  import { register } from 'node:module';
  register(${JSON.stringify(HOOK)});
`);

/** The modules that a program of these lines loads. */
function loadedBy(program: string): string[] {
  const args = ['--import', LISTING, '--input-type=module', '--eval', program];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  return stderr.split('\n').filter((url) => url.startsWith('file:'));
}

const packagesOf = (urls: readonly string[]): string[] => [
  ...new Set(urls.flatMap((url) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? [])),
];

it('the_help_of_no_command_loads_what_the_command_needs_to_run', () => {
  // The declarations of every command: --help of one loads some of these modules.
  const urls = loadedBy(`await (await import(${JSON.stringify(MAIN)})).commandTree()`);
  expect(urls.filter((url) => /\/(?:actions|run-[^/]*)(?:\/|\.js$)/.test(url))).toEqual([]);
  expect(packagesOf(urls)).toEqual(['commander']);
});
