// What `server init` asks, and what it makes of the answers; once as the command with --yes.
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

const initWithYes = (cwd: string): SpawnSyncReturns<string> =>
  spawnSync(
    process.execPath,
    [resolve('dist/firmware-tools/cli/main.js'), 'server', 'init', '--yes'],
    { cwd, encoding: 'utf8' },
  );

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

  it('command_with_yes_writes_configuration_and_token', () => {
    const home = mkdtempSync(join(tmpdir(), 'linnet-init-'));
    const { status, stderr } = initWithYes(home);
    expect(status, stderr).toBe(0);
    expect(readFileSync(join(home, 'fleet.toml'), 'utf8')).toContain('data_dir = "fleet-data"');
    expect(readFileSync(join(home, 'admin.token'), 'utf8')).not.toBe('');
    expect(existsSync(join(home, 'fleet-data', 'device-ca.crt'))).toBe(true);
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
