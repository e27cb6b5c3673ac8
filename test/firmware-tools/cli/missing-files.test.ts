// Files and folders that an operator names and that are not there: all of them are named at once,
// with what to do, and never as a bug or a bad disk.
import { mkdirSync, writeFileSync } from 'node:fs';
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
  ['publish', ['no.bundle', '--keys', 'no.folder', '--root', 'no.json']],
  ['keys show', ['no.key']],
  ['login', ['--server', 'http://127.0.0.1:1', '--token-file', 'no.token']],
  ['login', ['--server', 'http://127.0.0.1:1', '--ca', 'no.crt']],
  ['group list', ['--token-file', 'no.token']],
  ['rollout create', ['--spec', 'no.toml']],
  ['server', ['--config', 'no.toml']],
  ['server doctor', ['--config', 'no.toml']],
  ['server backup verify', ['no.tar']],
  ['agent', ['--config', 'no.toml']],
])('%s_names_every_missing_file', async (command, args) => {
  const { code, text } = await run(...command.split(' '), ...args);
  // What a doctor finds is a result, and not the end of the command.
  expect(code).toBe(command === 'server doctor' ? EXIT.badNews : EXIT.usage);
  const missing = args.filter((arg) => /^no\.(?!folder)/.test(arg));
  for (const file of missing) expect(text).toContain(`${file}: there is no such file`);
  expect(text).not.toMatch(/ENOENT|no such file or directory/);
});

it('a_folder_in_place_of_a_file_is_not_the_fault_of_the_disk', async () => {
  const { code, text } = await run('bundle', 'inspect', folder);
  expect([code, text]).toEqual([EXIT.usage, expect.stringContaining('is a folder, not a file')]);
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

it('the_folder_of_the_server_in_place_of_the_offline_keys_is_told_apart', async () => {
  mkdirSync(join(folder, 'server'));
  const keys = ['--keys', join(folder, 'server'), '--root', plain];
  const { code, text } = await run('publish', plain, ...keys);
  expect([code, text]).toEqual([EXIT.usage, expect.stringContaining('name the folder offline/')]);
});

it('a_file_that_is_no_backup_is_not_called_cut_short', async () => {
  const { code, text } = await run('server', 'backup', 'verify', plain);
  expect([code, text]).toEqual([EXIT.refused, expect.stringContaining('is no backup of Linnet')]);
  expect(text).not.toContain('cut short\n');
});

it('a_server_without_a_repository_is_told_how_one_is_made', async () => {
  const config = serverConfig(join(folder, 'data'), join(folder, 'repo'));
  const token = join(folder, 'token');
  const made = await run('server', 'init', '--config', config, '--token-out', token);
  expect(made.code).toBe(EXIT.done);
  expect(made.text).toMatch(
    /Next:\n {2}linnet repo init .*\n {2}cp -r .*\n {2}linnet server --config/,
  );
  const { code, text } = await run('server', '--config', config);
  expect([code, text]).toEqual([EXIT.refused, expect.stringContaining('`linnet repo init')]);
});
