// The demo empties its folder, so it must not be one that the demo did not make.
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MARKER, leaveFolder, takeFolder } from '../../../firmware-tools/demo/demo-folder.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'linnet-folder-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

it('a_folder_that_is_missing_or_empty_is_taken', () => {
  for (const folder of [root, join(root, 'deeper', 'new')]) {
    takeFolder(folder);
    expect(readFileSync(join(folder, MARKER), 'utf8')).toBe(`${process.pid}\n`);
  }
});

it('a_folder_of_somebody_else_is_refused_and_keeps_its_files', () => {
  writeFileSync(join(root, 'thesis.txt'), 'years of work');
  expect(() => takeFolder(root)).toThrow('holds files that no demo made');
  expect(readdirSync(root)).toEqual(['thesis.txt']);
});

it('a_folder_of_a_demo_that_ended_or_was_killed_is_emptied', () => {
  const noProcess = 2 ** 22 + 1; // Linux gives no id above 2^22.
  for (const end of [
    () => leaveFolder(root),
    () => writeFileSync(join(root, MARKER), `${noProcess}\n`),
  ]) {
    takeFolder(root);
    writeFileSync(join(root, 'server.log'), 'old');
    end();
    takeFolder(root);
    expect(readdirSync(root)).toEqual([MARKER]);
  }
});

it('a_folder_where_a_demo_still_runs_is_refused_and_keeps_its_files', () => {
  takeFolder(root, process.ppid);
  writeFileSync(join(root, 'server.log'), 'live');
  expect(() => takeFolder(root)).toThrow(`a demo is running in ${root} (process ${process.ppid})`);
  expect(existsSync(join(root, 'server.log'))).toBe(true);
});
