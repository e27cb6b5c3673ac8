// What the doctor of the server finds, each by a machine that lacks one thing; and once by a real
// server's configuration, as the command.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initRepository } from '../../firmware-tools/release/repository.js';
import type { TSchema } from 'typebox';
import { ServerSettings, serverSettings } from '../../server/config.js';
import { serverFindings, type ServerProbes } from '../../server/doctor.js';
import { serverProbes } from '../../server/doctor-probes.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { isHealthy, type Finding } from '../../shared/base/findings.js';
import { limits } from '../../shared/base/limits.js';
import { DAY_MS } from '../../shared/base/units.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';

const MINIMAL = 'data_dir = "/d"\nrepository = "/r"\n';
let home: string;
/** A certificate of 365 days, its key, and another key. */
let files: Record<string, Buffer>;

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'linnet-server-doctor-'));
  const path = (name: string): string => join(home, name);
  const made = ['-keyout', path('key'), '-out', path('crt'), '-days', '365', '-subj', '/CN=f'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...made], { stdio: 'ignore' });
  const other = ['genpkey', '-algorithm', 'ed25519', '-out', path('other')];
  execFileSync('openssl', other, { stdio: 'ignore' });
  files = Object.fromEntries(
    ['crt', 'key', 'other'].map((name) => [name, readFileSync(path(name))]),
  );
});

afterAll(() => rmSync(home, { recursive: true }));

/** What is not good of a healthy server that differs by `change`, with `toml` in its settings. */
async function complaints(change: Partial<ServerProbes>, toml = ''): Promise<Finding[]> {
  const findings = await serverFindings({
    config: 'fleet.toml',
    node: { version: '22.0.0', modules: '127', system: 'linux x64' },
    sqliteFailure: () => null,
    settings: () => serverSettings(MINIMAL + toml, {}),
    user: 1,
    folder: () => ({ problem: null, exists: true, owner: 1, mode: 0o700 }),
    freeBytes: () => limits.doctorFreeMinBytes,
    onlineKeys: () => Promise.resolve(),
    file: (setting, path) => {
      const found = files[path];
      if (found === undefined) throw new Fault('config_invalid', `cannot read ${setting} ${path}`);
      return found;
    },
    exists: () => true,
    listenFailure: () => Promise.resolve(null),
    now: () => Date.now(),
    ...change,
  });
  expect(findings).toHaveLength(11);
  for (const { state, todo } of findings)
    expect(todo === undefined).toBe(state === 'good' || state === 'skipped');
  return findings.filter(({ state }) => state !== 'good');
}

/** Names of all settings that end with `_file`. */
function fileSettings(schema: TSchema, prefix = ''): string[] {
  const { properties = {} } = schema as { properties?: Record<string, TSchema> };
  return Object.entries(properties).flatMap(([key, inner]) =>
    key.endsWith('_file') ? [prefix + key] : fileSettings(inner, `${prefix}${key}.`),
  );
}

const one = (check: string, state: Finding['state'], found: string): unknown[] => [
  expect.objectContaining({ check, state, found: expect.stringContaining(found) as string }),
];

describe('the doctor of the server', () => {
  it('server_that_lacks_nothing_is_healthy', async () => {
    expect(await complaints({})).toEqual([]);
  });

  it('native_module_of_another_node_is_bad', async () => {
    const sqliteFailure = () => 'compiled against a different Node.js version';
    expect(await complaints({ sqliteFailure })).toEqual(one('SQLite module', 'bad', 'compiled'));
  });

  it('wrong_configuration_is_bad_and_what_it_names_is_skipped', async () => {
    const found = await complaints({}, '[http]\nport = 7301\n');
    expect(found.slice(0, 1)).toEqual(one('configuration', 'bad', 'cannot both listen'));
    expect(found.slice(1).map(({ state }) => state)).toEqual(Array(8).fill('skipped'));
  });

  it('server_without_init_is_told_to_run_it', async () => {
    const found = await complaints({ exists: () => false });
    expect(found).toEqual(one('device CA', 'bad', '/d/device-ca.crt and /d/device-ca.key'));
    expect(found[0]?.todo).toContain('server init');
    const own = '[device_ca]\ncert_file = "/ca"\nkey_file = "/k"\n';
    const [finding] = await complaints({ exists: () => false }, own);
    expect(finding?.todo).not.toContain('server init');
  });

  it('repository_without_online_keys_is_bad', async () => {
    const onlineKeys = () => Promise.reject(new Fault('key_invalid', 'no key at /r'));
    expect(await complaints({ onlineKeys })).toEqual(one('repository', 'bad', 'no key at /r'));
  });

  it('every_file_that_cannot_be_read_is_named', async () => {
    const toml =
      '[webhook]\nurl = "https://a/b"\nsecret_file = "/w"\n' +
      '[syslog]\nhost = "h"\nport = 1\nca_file = "/c"\n';
    expect(await complaints({}, toml)).toEqual(
      one('files', 'bad', 'syslog.ca_file /c; cannot read webhook.secret_file /w'),
    );
  });

  it('every_setting_that_names_a_file_is_looked_at', async () => {
    const asked: string[] = [];
    const file = (setting: string): Uint8Array => {
      asked.push(setting);
      return (setting === 'tls.key_file' ? files['key'] : files['crt']) ?? new Uint8Array();
    };
    const names = fileSettings(ServerSettings).filter((name) => name !== 'broker.crl_file');
    const tables = names.map((name) => `${name} = "x"`).filter((line) => /^\w+\.\w+ /.test(line));
    const toml =
      'database = "postgres://h/d"\ndatabase_password_file = "x"\n' +
      'artifacts = "s3://bucket/a"\nbroker.url = "mqtts://h"\nsyslog.host = "h"\n' +
      'syslog.port = 1\nwebhook.url = "https://h"\notlp.url = "https://h"\n' +
      tables.filter((line) => !line.startsWith('oci.')).join('\n');
    await complaints({ file }, toml);
    expect(asked.sort()).toEqual(names.filter((name) => !name.startsWith('oci.')).sort());
  });

  it('what_to_do_about_a_wrong_configuration_names_its_file', async () => {
    const [found] = await complaints({}, 'colour = 1\n');
    expect(found?.todo).toBe(
      'correct what is listed here in fleet.toml, then run this command again',
    );
  });

  it('server_without_tls_on_the_network_is_a_warning', async () => {
    expect(await complaints({}, '[http]\nhost = "0.0.0.0"\n')).toEqual(
      one('TLS', 'warning', 'none on 0.0.0.0'),
    );
  });

  it('certificate_that_ends_soon_or_has_another_key_is_found', async () => {
    const tls = (key: string): string => `[tls]\ncert_file = "crt"\nkey_file = "${key}"\n`;
    expect(await complaints({}, tls('key'))).toEqual([]);
    expect(await complaints({}, tls('other'))).toEqual(one('TLS', 'bad', 'is not the key'));
    expect(await complaints({}, tls('none'))).toEqual(one('TLS', 'bad', 'tls.key_file none'));
    const after = (days: number) => ({ now: () => Date.now() + days * DAY_MS });
    expect(await complaints(after(355), tls('key'))).toEqual(one('TLS', 'warning', 'days'));
    expect(await complaints(after(366), tls('key'))).toEqual(one('TLS', 'bad', 'valid until'));
  });

  it('address_in_use_is_a_warning_and_one_of_another_machine_bad', async () => {
    const failing = (code: string) => (_: string, port: number) =>
      Promise.resolve(port === 7300 ? code : null);
    expect(await complaints({ listenFailure: failing('EADDRINUSE') })).toEqual(
      one('HTTP address', 'warning', '127.0.0.1:7300 is in use'),
    );
    expect(await complaints({ listenFailure: failing('EADDRNOTAVAIL') })).toEqual(
      one('HTTP address', 'bad', 'EADDRNOTAVAIL'),
    );
  });
});

describe('on this machine', () => {
  it('prepared_server_is_healthy_and_an_address_in_use_is_noticed', async () => {
    const { server: repository } = await initRepository({
      out: join(home, 'fleet'),
      passphrase: null,
      clock: realClock,
      random: realRandom,
    });
    const busy = createServer();
    await new Promise<void>((listens) => busy.listen(0, '127.0.0.1', listens));
    const { port } = busy.address() as AddressInfo;
    const toml =
      `data_dir = "${join(home, 'data')}"\nrepository = "${repository}"\n` +
      `[http]\nport = ${port}\n[mqtt]\nport = 0\n`;
    const findings = await serverFindings({
      ...serverProbes(
        'fleet.toml',
        () => serverSettings(toml, {}),
        realClock,
        () => null,
      ),
      exists: () => true,
    });
    busy.close();
    const rest = findings.filter(({ state }) => state !== 'good');
    expect(rest).toEqual(one('HTTP address', 'warning', 'is in use'));
    expect(isHealthy(findings)).toBe(true);
  });

  it('command_exits_by_6_when_something_is_bad', () => {
    const file = join(home, 'fleet.toml');
    writeFileSync(file, MINIMAL);
    const args = ['dist/firmware-tools/cli/main.js', 'server', 'doctor', '--config', file];
    const { status, stdout, stderr } = spawnSync(process.execPath, [...args, '--json'], {
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(status).toBe(6);
    const { findings } = JSON.parse(stdout) as { findings: Finding[] };
    expect(findings.filter(({ state }) => state === 'bad').map(({ check }) => check)).toEqual(
      expect.arrayContaining(['device CA', 'repository']),
    );
  });
});
