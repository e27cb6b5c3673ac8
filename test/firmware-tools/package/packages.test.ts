// What packages are made of, without making them; test/journeys/package.test.ts makes one.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { agentSettings } from '../../../agent/config.js';
import { checkTogether, serverSettings } from '../../../server/config.js';
import {
  componentList,
  licenceFile,
  listed,
  npmComponent,
  npmUrl,
  sqliteComponent,
} from '../../../firmware-tools/package/contents.js';
import { writeHelp } from '../../../firmware-tools/package/help-files.js';
import { DEVICE, OPERATOR, SERVER } from '../../../firmware-tools/package/kinds.js';
import { controlFile } from '../../../firmware-tools/package/packages.js';
import { isInstalled } from '../../../firmware-tools/package/tools.js';
import { filled, makeArchives, write } from '../../../firmware-tools/package/tree.js';

const FILES = 'firmware-tools/package/device';
const folder = mkdtempSync(join(tmpdir(), 'linnet-packages-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('the device package', () => {
  it('package_without_node_needs_that_of_the_distribution', () => {
    const options = { arch: 'arm64', version: '1.2.3' } as const;
    const without = controlFile(DEVICE, { ...options, withNode: false }, 10);
    expect(without).toContain('Architecture: arm64\n');
    expect(without).toContain('Version: 1.2.3\n');
    expect(without).toMatch(/^Depends: .*nodejs \(>= 20\.19\)/m);
    expect(controlFile(DEVICE, { ...options, withNode: true }, 10)).not.toContain('nodejs');
  });

  it('release_of_node_without_a_native_module_in_the_package_is_not_enough', () => {
    const depends = /^Depends: (.*)$/m.exec(
      controlFile(DEVICE, { arch: 'x64', version: '1.2.3', withNode: false }, 10),
    )?.[1];
    const needs = (depends ?? '').split(', ').filter((each) => each.includes('nodejs'));
    // Only whole and minor versions are compared here, which dpkg does in the same way.
    const fits = (version: number): boolean =>
      needs.every((need) =>
        need.split(' | ').some((alternative) => {
          const [, relation, limit] = /^nodejs \((<<|>=) ([\d.]+)\)$/.exec(alternative) ?? [];
          return relation === '<<' ? version < Number(limit) : version >= Number(limit);
        }),
      );
    expect([20.19, 20.25, 21, 22, 22.9, 23, 24, 24.5, 25].filter(fits)).toEqual([
      20.19, 20.25, 22, 22.9, 24, 24.5,
    ]);
    expect([18, 20.18].some(fits)).toBe(false);
  });

  it('template_with_a_name_that_has_no_value_is_refused', () => {
    expect(filled('run @NODE@ now', { NODE: '/bin/n' })).toBe('run /bin/n now');
    expect(() => filled('run @NODE@', {})).toThrow('@NODE@');
  });

  it('configuration_file_of_the_package_is_valid', () => {
    const settings = agentSettings(readFileSync(`${FILES}/agent.toml`, 'utf8'), {});
    expect(settings.data_dir).toBe('/var/lib/linnet');
    expect(settings.api.port).toBe(7310);
  });

  it('commented_settings_of_the_configuration_file_are_valid_too', () => {
    const text = readFileSync(`${FILES}/agent.toml`, 'utf8');
    const all = text.replace(/^# ([a-z_]+ = )/gm, '$1');
    expect(all).not.toBe(text);
    expect(agentSettings(all, {}).server.claim_file).toBe('/etc/linnet/claim');
  });

  it('configuration_file_of_the_server_package_is_valid', () => {
    const text = readFileSync('firmware-tools/package/server/fleet.toml', 'utf8');
    const settings = serverSettings(text, {});
    checkTogether(settings);
    expect(settings.http).toEqual({ host: '127.0.0.1', port: 7300 });
    const all = text.replace(/^# (\[[a-z]+\]|[a-z_]+ = )/gm, '$1');
    expect(serverSettings(all, {}).tls?.key_file).toBe('/etc/linnet-server/server.key');
  });

  it('server_package_has_a_control_file_of_its_own', () => {
    const options = { arch: 'x64', version: '1.2.3', withNode: false } as const;
    const control = controlFile(SERVER, options, 10);
    expect(control).toContain('Package: linnet-server\n');
    expect(control).toMatch(/^Description: manages a fleet.*\n The server keeps/m);
  });

  it('installing_starts_and_enables_nothing', () => {
    const unit = readFileSync(`${FILES}/linnet-agent.service`, 'utf8');
    expect(unit).toContain('/usr/lib/linnet-agent/dist/agent/agent.js --config');
    expect(unit).toContain('NoNewPrivileges=yes');
    expect(readFileSync(`${FILES}/postinst`, 'utf8')).not.toMatch(
      /^\s*systemctl (?:enable|start)/m,
    );
  });

  it('components_are_listed_with_their_versions_and_licences', () => {
    const purl = npmUrl('@a/b', '1.0.0');
    const component = {
      name: '@a/b',
      version: '1.0.0',
      licence: 'MIT',
      texts: ['Permission'],
      purl,
    };
    const list = JSON.parse(componentList({ name: 'p', version: '2' }, [component])) as {
      components: { purl: string; licenses: unknown }[];
    };
    expect(list.components[0]?.purl).toBe('pkg:npm/%40a/b@1.0.0');
    expect(list.components[0]?.licenses).toEqual([{ expression: 'MIT' }]);
    expect(licenceFile('Apache', [component])).toMatch(
      /Apache[^]*@a\/b 1\.0\.0: MIT[^]*Permission/,
    );
  });
});

describe('licences', () => {
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<string, { dev?: boolean; optional?: boolean }>;
  };

  it('every_package_that_may_be_inside_has_a_licence_and_its_text', () => {
    const folders = Object.entries(lock.packages)
      .filter(([path, { dev, optional }]) => path !== '' && dev !== true && optional !== true)
      .map(([path]) => path);
    expect(folders.length).toBeGreaterThan(100);
    for (const path of folders.filter((each) => existsSync(each)))
      expect(npmComponent(path).texts.join('').length, path).toBeGreaterThan(100);
  });

  it('package_without_the_text_of_its_licence_ends_the_build', () => {
    const bare = join(folder, 'bare');
    write(join(bare, 'package.json'), '{ "name": "bare", "version": "1.0.0", "license": "MIT" }');
    expect(() => npmComponent(bare)).toThrow('bare brings no text of its licence: put that text');
    write(join(bare, 'package.json'), '{ "name": "bare", "version": "1.0.0" }');
    expect(() => npmComponent(bare)).toThrow('states no licence');
  });

  it('component_that_lies_in_two_folders_is_listed_once', () => {
    const [fast] = ['node_modules/fastify'].map(npmComponent);
    const all = [fast, npmComponent('node_modules/aedes'), fast].filter(
      (each) => each !== undefined,
    );
    expect(listed(all).map(({ name }) => name)).toEqual(['aedes', 'fastify']);
  });

  it('parts_that_no_bundle_names_are_listed', () => {
    expect(sqliteComponent('node_modules/better-sqlite3').purl).toMatch(/^pkg:generic.sqlite@3\./);
    const home = join(folder, 'console');
    expect(SERVER.extra(home, 'x64')).toContain('node_modules/preact');
    const files = readdirSync(join(home, 'dist/server/console/site'));
    expect(files.sort()).toEqual(['assets', 'index.html']);
    expect(npmComponent('node_modules/onnxruntime-node').texts.join()).toContain('protobuf');
  });
});

describe('help of the packaged programs', () => {
  it.each([
    [DEVICE, 'linnet-agent d', ['doctor']],
    [DEVICE, 'linnet-agent --conf', ['--config']],
    [SERVER, 'linnet-server br', ['broker-config']],
    [OPERATOR, 'linnet rollout wa', ['watch']],
  ])('shell_completes_what_is_typed', async (kind, line, names) => {
    const { name } = kind;
    const tree = mkdtempSync(join(folder, 'help-'));
    await writeHelp(kind, tree, { VERSION: '1.2.3' });
    const typed = line.split(' ');
    const script = `source ${tree}/usr/share/bash-completion/completions/${name}
      COMP_WORDS=(${typed.join(' ')}); COMP_CWORD=${typed.length - 1}
      $(complete -p ${name} | sed 's/.*-F \\([^ ]*\\) .*/\\1/'); echo "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(stdout.trim().split(' ')).toEqual(names);
    for (const shell of ['zsh/vendor-completions/_', 'fish/vendor_completions.d/'])
      expect(
        readFileSync(
          join(tree, `usr/share/${shell}${name}${shell.startsWith('f') ? '.fish' : ''}`),
          'utf8',
        ),
      ).toContain(names[0]?.replace(/^--/, ''));
  });

  it('manual_of_the_operators_names_every_command', async () => {
    const tree = join(folder, 'manual');
    await writeHelp(OPERATOR, tree, { VERSION: '1.2.3' });
    const page = gunzipSync(readFileSync(join(tree, 'usr/share/man/man1/linnet.1.gz'))).toString();
    for (const command of ['model', 'bundle', 'publish', 'rollout', 'server', 'agent', 'login'])
      expect(page).toContain(`\n.B ${command}\n`);
    expect(page).not.toContain('@');
  });
});

it.skipIf(!isInstalled('dpkg-deb') || !isInstalled('xz'))(
  'package_without_settings_and_scripts_gives_an_archive_and_a_deb_with_its_files',
  () => {
    const tree = join(folder, 'plain_1');
    write(join(tree, 'usr/bin/plain'), 'a program\n', 0o755);
    const control = () =>
      'Package: plain\nVersion: 1\nArchitecture: all\nMaintainer: Linnet <linnet@localhost>\n' +
      'Description: a test\n';
    const made = makeArchives(
      tree,
      { control, scripts: join('firmware-tools/package', OPERATOR.templates) },
      { epochSeconds: 1, compression: 1 },
    );
    expect(made).toEqual([`${tree}.tar.xz`, `${tree}.deb`]);
    const list = (command: string, ...args: string[]) =>
      spawnSync(command, args, { encoding: 'utf8' }).stdout;
    expect(list('tar', '-tf', `${tree}.tar.xz`)).toContain('plain_1/usr/bin/plain\n');
    expect(list('dpkg-deb', '-c', `${tree}.deb`)).toContain('./usr/bin/plain\n');
    expect(list('dpkg-deb', '--ctrl-tarfile', `${tree}.deb`)).not.toContain('conffiles');
  },
);
