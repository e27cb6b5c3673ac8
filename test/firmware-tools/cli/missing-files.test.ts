// Files and folders that an operator names and that are not there: all of them are named at once,
// with what to do, and never as a bug or a bad disk.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { linnet } from '../../../firmware-tools/cli/main.js';
import { EXIT } from '../../../firmware-tools/cli/output.js';
import { tempFolder } from '../../support/temp-folders.js';

let folder: string;
let plain: string;
beforeEach(() => {
  process.exitCode = undefined;
  folder = tempFolder();
  plain = join(folder, 'plain.txt');
  writeFileSync(plain, 'text');
});

async function run(...args: string[]): Promise<{ text: string; code: number }> {
  let text = '';
  const take = (some: string): void => void (text += some);
  const code = await linnet(args, { out: take, err: take });
  return { text, code };
}

it.each([
  ['model quantize', ['no.onnx', '--calibration', 'no.npy', '-o', 'x.onnx']],
  ['bundle build', ['no.toml', '--key', 'no.key', '-o', 'x.bundle']],
  ['bundle verify', ['no.bundle', '--root', 'no.json']],
  ['publish', ['no.bundle', '--keys', '.', '--root', 'no.json']],
])('%s_names_every_missing_file', async (command, args) => {
  const { code, text } = await run(...command.split(' '), ...args);
  expect(code).toBe(EXIT.refused);
  const missing = args.filter((arg) => arg.startsWith('no.'));
  for (const file of missing) expect(text).toContain(`${file}: there is no such file`);
});

it('a_folder_in_place_of_a_file_is_not_the_fault_of_the_disk', async () => {
  const { code, text } = await run('bundle', 'inspect', folder);
  expect([code, text]).toEqual([EXIT.refused, expect.stringContaining('is a folder, not a file')]);
});

function serverConfig(dataDir: string, repository: string): string {
  const file = join(folder, 'fleet.toml');
  writeFileSync(file, `data_dir = "${dataDir}"\nrepository = "${repository}"\n`);
  return file;
}

it.each([
  ['a_file', () => plain, 'it, or a folder above it, is not a folder'],
  ['below_a_file', () => join(plain, 'x'), 'it, or a folder above it, is not a folder'],
  ['where_no_folder_can_be', () => '/proc/nope', 'the user of the server must be able to write it'],
])('a_data_folder_of_the_server_that_is_%s_is_a_mistake_of_the_configuration', async (...given) => {
  const [, dataDir, why] = given;
  const config = serverConfig(dataDir(), join(folder, 'repo'));
  const { code, text } = await run('server', '--config', config);
  expect([code, text]).toEqual([EXIT.refused, expect.stringContaining('code: config_invalid')]);
  expect(text).toContain(`cannot use data_dir ${dataDir()}: `);
  expect(text).toContain(why);
});

it('a_server_without_a_repository_is_told_how_one_is_made', async () => {
  const config = serverConfig(join(folder, 'data'), join(folder, 'repo'));
  await run('server', 'init', '--config', config, '--token-out', join(folder, 'token'));
  const { code, text } = await run('server', '--config', config);
  expect([code, text]).toEqual([EXIT.refused, expect.stringContaining('`linnet repo init')]);
});
