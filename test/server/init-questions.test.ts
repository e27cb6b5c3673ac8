// What `server init` asks, and what it makes of the answers; once as the command with --yes.
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkTogether, serverSettings } from '../../server/config.js';
import { initAnswers } from '../../server/init-questions.js';

function person(answers: Readonly<Record<string, string>> = {}) {
  const asked: string[] = [];
  const ask = (question: string, standard: string): Promise<string> => {
    asked.push(question);
    return Promise.resolve(answers[question] ?? standard);
  };
  return { asked, ask };
}

const EXIT_REFUSED = 3;
const EXIT_BAD_NEWS = 6;

const linnetIn = (cwd: string, ...args: string[]): SpawnSyncReturns<string> =>
  spawnSync(process.execPath, [resolve('dist/firmware-tools/cli/main.js'), ...args], {
    cwd,
    encoding: 'utf8',
  });
const initWithYes = (cwd: string): SpawnSyncReturns<string> =>
  linnetIn(cwd, 'server', 'init', '--yes');

/** The commands below `Next:`. */
const nextOf = (stderr: string): string[] =>
  stderr
    .slice(stderr.indexOf('Next:'))
    .split('\n')
    .slice(1)
    .map((line) => line.trim())
    .filter(Boolean);

const [nothing, everything] = [() => false, () => true];

describe('the questions of server init', () => {
  it('script_that_gives_everything_is_asked_nothing', async () => {
    const given = { config: 'c', tokenOut: 't' };
    expect(await initAnswers({ given, ask: null, exists: nothing })).toEqual({
      ...given,
      newConfig: null,
    });
  });

  it('script_that_gives_too_little_is_told_what_to_pass', async () => {
    const without = initAnswers({ given: {}, ask: null, exists: nothing });
    await expect(without).rejects.toThrow('--config FILE');
    const half = initAnswers({ given: { config: 'c' }, ask: null, exists: nothing });
    await expect(half).rejects.toThrow('--token-out FILE');
  });

  it('configuration_that_exists_is_not_asked_about', async () => {
    const { asked, ask } = person();
    const answers = await initAnswers({ given: { config: 'c' }, ask, exists: everything });
    expect(answers).toEqual({ config: 'c', tokenOut: 'admin.token', newConfig: null });
    expect(asked).toEqual(['File for the admin token (new)']);
  });

  it('answers_become_a_valid_configuration', async () => {
    const { ask } = person({ 'Folder for the database': 'a "b"\\c', 'HTTP port': '80' });
    const { newConfig } = await initAnswers({ given: {}, ask, exists: nothing });
    const settings = serverSettings(newConfig ?? '', {});
    checkTogether(settings);
    expect(settings.data_dir).toBe('a "b"\\c');
    expect(settings.http).toEqual({ host: '127.0.0.1', port: 80 });
    expect(settings.mqtt.port).toBe(7301);
  });

  it('wrong_answer_is_told_at_once_and_asked_again', async () => {
    const typed: Record<string, string[]> = {
      'Address to serve on (0.0.0.0: the network)': ['not one', '0.0.0.0'],
      'HTTP port': ['abc', '0', '70000', '8080'],
      'MQTT port': ['8080', '8081'],
      'File for the admin token (new)': ['there', 'new'],
    };
    const told: string[] = [];
    const answers = await initAnswers({
      given: {},
      ask: (question, standard) => Promise.resolve(typed[question]?.shift() ?? standard),
      tell: (complaint) => told.push(complaint),
      exists: (path) => path === 'there',
    });
    expect(told).toEqual([
      'not one is no address: as 127.0.0.1, or a name',
      ...['abc', '0', '70000'].map((port) => `${port} is no port: a number from 1 to 65535`),
      '8080 is the HTTP port: choose another',
      'there exists already: name a new file',
    ]);
    expect(answers.tokenOut).toBe('new');
    const settings = serverSettings(answers.newConfig ?? '', {});
    expect(settings.http).toEqual({ host: '0.0.0.0', port: 8080 });
    expect(settings.mqtt.port).toBe(8081);
  });

  it('command_with_yes_writes_configuration_and_token', () => {
    const home = mkdtempSync(join(tmpdir(), 'linnet-init-'));
    const { status, stderr } = initWithYes(home);
    expect(status, stderr).toBe(0);
    expect(readFileSync(join(home, 'fleet.toml'), 'utf8')).toContain('data_dir = "fleet-data"');
    expect(readFileSync(join(home, 'admin.token'), 'utf8')).not.toBe('');
    expect(existsSync(join(home, 'fleet-data', 'device-ca.crt'))).toBe(true);
    rmSync(home, { recursive: true });
  });

  it('repository_that_is_not_there_yet_is_a_next_step_that_works_and_no_fault', () => {
    const home = mkdtempSync(join(tmpdir(), 'linnet-init-'));
    const { stderr } = initWithYes(home);
    expect(stderr).not.toMatch(/^bad/m);
    const [first = '', second, third] = nextOf(stderr);
    expect(first).toBe('linnet repo init --out fleet');
    expect(second).toBe('linnet server --config fleet.toml');
    expect(third).toMatch(/^linnet login --server http/);
    expect(linnetIn(home, ...first.split(' ').slice(1)).status).toBe(0);
    const { status, stdout } = linnetIn(home, 'server', 'doctor', '--config', 'fleet.toml');
    expect(status, stdout).toBe(0);
    rmSync(home, { recursive: true });
  });

  it('repository_in_another_place_is_to_be_copied_there', () => {
    const home = mkdtempSync(join(tmpdir(), 'linnet-init-'));
    writeFileSync(join(home, 'fleet.toml'), 'data_dir = "data"\nrepository = "/srv/no/repository"');
    const { status, stderr } = initWithYes(home);
    expect(status, stderr).toBe(0);
    expect(nextOf(stderr).slice(0, 2)).toEqual([
      'linnet repo init --out fleet',
      'cp -r fleet/server /srv/no/repository',
    ]);
    rmSync(home, { recursive: true });
  });

  it('folder_that_is_no_repository_is_a_fault_and_not_success', () => {
    const home = mkdtempSync(join(tmpdir(), 'linnet-init-'));
    mkdirSync(join(home, 'fleet/server'), { recursive: true });
    const { status, stderr } = initWithYes(home);
    expect(status).toBe(EXIT_BAD_NEWS);
    expect(stderr).toMatch(/^bad +repository/m);
    expect(nextOf(stderr)).toContain('linnet server doctor --config fleet.toml');
    expect(existsSync(join(home, 'admin.token'))).toBe(true);
    rmSync(home, { recursive: true });
  });

  it('token_file_that_exists_ends_it_before_anything_is_written', () => {
    const home = mkdtempSync(join(tmpdir(), 'linnet-init-'));
    writeFileSync(join(home, 'admin.token'), 'of another fleet');
    const { status, stderr } = initWithYes(home);
    expect(status).toBe(EXIT_REFUSED);
    expect(stderr).toContain('admin.token exists already');
    expect(readdirSync(home)).toEqual(['admin.token']);
    rmSync(home, { recursive: true });
  });
});
