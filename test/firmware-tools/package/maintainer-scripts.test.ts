// Installing, upgrading, removing and purging, by dpkg itself in a root of its own. The programs by
// which the scripts change users and services are stand-ins that note how they were called.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isInstalled } from '../../../firmware-tools/package/tools.js';
import { makeArchives, write } from '../../../firmware-tools/package/tree.js';

const missing = ['dpkg', 'dpkg-deb', 'xz'].find((program) => !isInstalled(program));
if (missing !== undefined) console.log(`maintainer scripts are not tested: no ${missing}`);

interface Kind {
  readonly name: string;
  readonly folder: string;
  readonly user: string;
  readonly settings: string;
  readonly data: string;
}

const KINDS: readonly Kind[] = [
  {
    name: 'linnet-agent',
    folder: 'device',
    user: 'linnet',
    settings: 'etc/linnet',
    data: 'var/lib/linnet',
  },
  {
    name: 'linnet-server',
    folder: 'server',
    user: 'linnet-server',
    settings: 'etc/linnet-server',
    data: 'var/lib/linnet-server',
  },
];

let root: string;
let home: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'linnet-dpkg-'));
  root = join(home, 'root');
  const state = join(root, 'var/lib/dpkg');
  for (const folder of ['info', 'updates', 'triggers', 'parts'])
    mkdirSync(join(state, folder), { recursive: true });
  for (const file of ['status', 'available']) writeFileSync(join(state, file), '');
  mkdirSync(join(root, 'run/systemd/system'), { recursive: true });
  for (const program of ['adduser', 'deluser', 'groupdel', 'chown', 'systemctl'])
    write(join(home, 'bin', program), `#!/bin/sh\necho "${program} $*" >> ${home}/calls\n`, 0o755);
  knowUser(false);
  write(join(home, 'calls'), '');
});

afterEach(() => rmSync(home, { recursive: true }));

/** What `getent` says of the package's user and group from now on. */
const knowUser = (known: boolean): void =>
  write(join(home, 'bin/getent'), `#!/bin/sh\nexit ${known ? 0 : 2}\n`, 0o755);

/** A package with the real scripts, one program and one setting. */
function makeDeb({ name, folder, settings }: Kind, version: string): string {
  const tree = join(home, `${name}_${version}`);
  write(join(tree, 'usr/bin', name), `version ${version}\n`, 0o755);
  write(join(tree, settings, 'settings.toml'), 'as packaged\n');
  const control = () =>
    `Package: ${name}\nVersion: ${version}\nArchitecture: all\n` +
    'Maintainer: Linnet <linnet@localhost>\nDescription: a test\n';
  const scripts = resolve('firmware-tools/package', folder);
  const made = makeArchives(tree, { control, scripts }, { epochSeconds: 1, compression: 0 });
  return made.at(-1) ?? '';
}

/** Runs dpkg; returns how the stand-ins were called. */
function dpkg(...args: string[]): string[] {
  writeFileSync(join(home, 'calls'), '');
  const force = '--force-script-chrootless,not-root,bad-path';
  const { status, stderr, stdout } = spawnSync('dpkg', [`--root=${root}`, force, ...args], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${home}/bin:${process.env['PATH']}` },
  });
  expect(status, stdout + stderr).toBe(0);
  return readFileSync(join(home, 'calls'), 'utf8').split('\n').filter(Boolean);
}

const paths = (): string[] =>
  readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => !path.startsWith('var/lib/dpkg'))
    .sort();

describe.skipIf(missing !== undefined).each(KINDS)('$name', (kind) => {
  const { name, user, settings, data } = kind;
  const unit = `${name}.service`;

  it('installing_makes_the_user_and_the_data_folder_and_starts_nothing', () => {
    const calls = dpkg('-i', makeDeb(kind, '1'));
    expect(calls).toEqual([
      expect.stringMatching(`^adduser --system --group .*${user}$`),
      `chown ${user}:${user} ${join(root, data)}`,
      'systemctl daemon-reload',
    ]);
    expect(existsSync(join(root, data))).toBe(true);
  });

  it('upgrade_keeps_settings_and_data_and_restarts_what_ran', () => {
    dpkg('-i', makeDeb(kind, '1'));
    knowUser(true);
    const setting = join(root, settings, 'settings.toml');
    writeFileSync(setting, 'as changed\n');
    writeFileSync(join(root, data, 'key'), 'mine');
    const calls = dpkg('-i', makeDeb(kind, '2'));
    expect(calls.filter((call) => call.startsWith('systemctl'))).toEqual([
      'systemctl daemon-reload',
      'systemctl daemon-reload',
      `systemctl is-active --quiet ${unit}`,
      `systemctl restart ${unit}`,
    ]);
    expect(calls.some((call) => call.startsWith('adduser'))).toBe(false);
    expect(readFileSync(join(root, 'usr/bin', name), 'utf8')).toBe('version 2\n');
    expect(readFileSync(setting, 'utf8')).toBe('as changed\n');
    expect(readFileSync(join(root, data, 'key'), 'utf8')).toBe('mine');
  });

  it('upgrade_does_not_start_what_did_not_run', () => {
    dpkg('-i', makeDeb(kind, '1'));
    knowUser(true);
    const note = `echo "systemctl $*" >> ${home}/calls`;
    const inactive = `#!/bin/sh\n${note}\n[ "$1" != is-active ]\n`;
    write(join(home, 'bin/systemctl'), inactive, 0o755);
    expect(dpkg('-i', makeDeb(kind, '2'))).not.toContain(`systemctl restart ${unit}`);
  });

  it('removing_stops_it_and_keeps_settings_and_data', () => {
    dpkg('-i', makeDeb(kind, '1'));
    knowUser(true);
    const calls = dpkg('-r', name);
    expect(calls.filter((call) => call.startsWith('systemctl'))).toEqual([
      `systemctl stop ${unit}`,
      `systemctl disable ${unit}`,
      'systemctl daemon-reload',
      `systemctl reset-failed ${unit}`,
    ]);
    expect(calls.some((call) => call.startsWith('deluser'))).toBe(false);
    expect(existsSync(join(root, 'usr/bin', name))).toBe(false);
    expect(existsSync(join(root, settings, 'settings.toml'))).toBe(true);
    expect(existsSync(join(root, data))).toBe(true);
  });

  it('purge_leaves_no_file_and_no_user', () => {
    const before = paths();
    dpkg('-i', makeDeb(kind, '1'));
    knowUser(true);
    write(join(root, data, 'key'), 'mine');
    write(join(root, settings, 'claim'), 'added by hand');
    write(join(root, 'var/log', `${name}.log.1`), 'old');
    write(join(root, 'var/log', name, 'current'), 'by runit');
    const calls = dpkg('--purge', name);
    expect(calls).toContain(`deluser --system --quiet ${user}`);
    expect(calls).toContain(`groupdel ${user}`);
    // Folders that every system has are not the package's to remove.
    const common = ['usr', 'usr/bin', 'etc', 'var', 'var/lib', 'var/log', 'run'];
    expect(paths().filter((path) => !before.includes(path) && !common.includes(path))).toEqual([]);
  });
});
