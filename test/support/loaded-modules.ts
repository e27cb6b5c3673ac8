// Which modules a program loads, by a loader hook of Node.js.
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';
import { expect } from 'vitest';

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

/** The modules that a program of these lines loads. It ends with 0; its fd 3 has no bytes. */
export function loadedBy(program: string): string[] {
  const args = ['--import', LISTING, '--input-type=module', '--eval', program];
  const empty = openSync(devNull, 'r');
  const { status, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe', empty],
  });
  closeSync(empty);
  expect(status, stderr).toBe(0);
  return stderr.split('\n').filter((url) => url.startsWith('file:'));
}

export const packagesOf = (urls: readonly string[]): string[] => [
  ...new Set(urls.flatMap((url) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? [])),
];
