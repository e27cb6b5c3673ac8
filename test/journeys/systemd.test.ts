// `npm run test:systemd`: the packages of server, agent and operator on a Debian 13 that is booted,
// so that systemd itself starts, watches, restricts and ends the units. The documents' commands are
// run with the real apt, sudo and systemctl. The tests go on from each other, in this order.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { exampleData } from '../../firmware-tools/demo/digits/data.js';
import { DEVICE, OPERATOR, SERVER } from '../../firmware-tools/package/kinds.js';
import { makePackage } from '../../firmware-tools/package/packages.js';
import { BootedDebian, missingForBoot } from '../support/booted-debian.js';
import { DebianRoot } from '../support/debian-root.js';
import { until } from '../support/journey-devices.js';
import { debWithNode } from '../support/package-debs.js';
import { ofSystemd } from '../support/whole.js';
import {
  addStandIns,
  AGENT_SETTINGS,
  commandsOf,
  DOCUMENTED,
  removeStandIns,
  requireEdited,
  ROLL_OUT,
  runCommands,
  SERVER_SETTINGS,
  willEdit,
} from './newcomer/documents.js';
import { everything } from './newcomer/newcomer.js';

const UNITS = ['linnet-server', 'linnet-agent'] as const;
type Unit = (typeof UNITS)[number];
const LIMIT_MS = 300_000;
const OPERATE = `export LINNET_SERVER=http://127.0.0.1:7300
export LINNET_TOKEN=$(cat /var/lib/linnet-server/admin.token)`;
/** A system call that the unit forbids ends the process, instead of failing unseen there. */
const STRICT = '[Service]\nSystemCallErrorNumber=kill\nWatchdogSec=15\n';
const SOCKET = '/run/linnet/api.sock';
const DENIALS = /EPERM|EACCES|EROFS|SIGSYS|status=31|denied|read-only file|not permitted/i;

const missing = missingForBoot();
if (ofSystemd && missing !== null)
  console.log(`the packages are not tested under systemd: they need ${missing}`);

/** Why no systemd runs on this machine; null: it does. */
let noBoot: string | null = 'the system was not made';
let folder: string;
let system: BootedDebian;
let newer: readonly string[];
let before: ReadonlySet<string>;
let answer: string;

/** Of Debian's Node.js, as the documents say. */
async function agentDeb(version: string): Promise<string> {
  const options = { arch: 'x64', withNode: false, majors: [20], compression: 0 } as const;
  const out = join(folder, 'packages');
  return (await makePackage(DEVICE, { ...options, version, epochSeconds: 1, out })).at(-1) ?? '';
}

/** Packages, the data of a release, and two users. */
async function prepare(root: DebianRoot): Promise<void> {
  const out = join(folder, 'packages');
  mkdirSync(out);
  mkdirSync(root.path('root/.linnet/packages'), { recursive: true });
  copyFileSync(await debWithNode(SERVER, out), root.path(`root/${DOCUMENTED.server}`));
  copyFileSync(await debWithNode(OPERATOR, out), root.path(`root/${DOCUMENTED.operator}`));
  copyFileSync(await agentDeb('0.1.0'), root.path(`root/${DOCUMENTED.agent}`));
  newer = [await debWithNode(SERVER, out, { version: '0.1.1' }), await agentDeb('0.1.1')];
  for (const deb of newer) copyFileSync(deb, root.path(`root/${basename(deb)}`));
  exampleData(root.path('root/release'));
  const image = { name: 'image', shape: [1, 1, 28, 28], datatype: 'FP32' };
  const body = JSON.stringify({ inputs: [{ ...image, data: Array(784).fill(0.5) }] });
  writeFileSync(root.path('opt/body.json'), body);
  // Spaces, so that a slow client takes some seconds to send it.
  writeFileSync(root.path('opt/long-body.json'), body + ' '.repeat(80_000));
  addStandIns(system, { booted: true });
  for (const user of ['app', 'other'])
    system.run(`adduser --disabled-password --gecos '' --quiet ${user}`);
  before = everything(root);
}

const show = (unit: Unit, property: string): string =>
  system.run(`systemctl show --value --property ${property} ${unit}`).trim();

const isActive = (unit: Unit): boolean => show(unit, 'ActiveState') === 'active';

const journal = (unit: Unit): string => system.run(`journalctl --no-pager -o cat -u ${unit}`);

/** By a user who may be in the group linnet. */
const ask = (user: string, body = 'body.json', more = ''): string =>
  `sudo -u ${user} curl -sS --fail-with-body --max-time 60 ${more} --unix-socket ${SOCKET} ` +
  `http://localhost/v2/models/digits/infer --data-binary @/opt/${body}`;

/** Without the release, which every test checks once. */
const logits = (text: string): string => text.replace(/^.*"data":/s, '');

/** As soon as the model answers. */
const answered = (): Promise<string> =>
  until(
    'the device answers',
    () => {
      const text = system.run(`${ask('app')} || true`);
      return text.includes('"outputs"') && logits(text);
    },
    LIMIT_MS,
  );

async function startedAgain(unit: Unit, restarts: number): Promise<void> {
  await until(
    `${unit} is started again`,
    () => Number(show(unit, 'NRestarts')) === restarts + 1 && isActive(unit),
    LIMIT_MS,
  );
}

const modes = (paths: readonly string[]): string[] =>
  system
    .run(`stat -c '%n %U:%G %a' ${paths.join(' ')}`)
    .trim()
    .split('\n');

describe.skipIf(!ofSystemd || missing !== null)(
  'packages under systemd (npm run test:systemd)',
  { retry: 0, timeout: 2 * LIMIT_MS },
  () => {
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'linnet-systemd-'));
      const root = DebianRoot.make(join(folder, 'office'), 'systemd');
      try {
        system = await BootedDebian.boot(root);
        noBoot = null;
      } catch (error) {
        noBoot = String(error);
        console.log(`the packages are not tested under systemd: ${noBoot}`);
        return;
      }
      await prepare(root);
    }, 12 * LIMIT_MS);

    beforeEach((context) => {
      if (noBoot !== null) context.skip(noBoot);
    });

    afterAll(async () => {
      if (noBoot === null) await system.end();
      rmSync(folder, { recursive: true, force: true });
    }, LIMIT_MS);

    it('server_of_the_documents_is_ready_when_its_start_ends', () => {
      willEdit(system, SERVER_SETTINGS, {});
      const ready = 'curl -sS --fail http://127.0.0.1:7300/readyz';
      runCommands(system, `${commandsOf('docs/server.md', null)}\n${ready}`);
      expect(show('linnet-server', 'ActiveState')).toBe('active');
      expect(show('linnet-server', 'UnitFileState')).toBe('enabled');
    });

    it('agent_of_the_documents_listens_when_its_start_ends_and_is_approved_as_its_log_says', async () => {
      const edits = {
        'name = "device-1"': 'name = "gate"',
        '# socket = .*': `socket = "${SOCKET}"`,
      };
      system.run('cp fleet/trust/*.json .');
      willEdit(system, AGENT_SETTINGS, edits);
      const live = `curl -sS --fail --unix-socket ${SOCKET} http://localhost/v2/health/live`;
      runCommands(system, `${commandsOf('docs/devices.md', 'Install')}\n${live}`);
      requireEdited(system, AGENT_SETTINGS, edits);
      expect(show('linnet-agent', 'ActiveState')).toBe('active');
      const [advice] = await until('the log says how to approve the device', () =>
        /linnet device approve gate --fingerprint \w+/.exec(journal('linnet-agent')),
      );
      system.run(`${OPERATE}\n${advice}`);
      expect(system.run(`${OPERATE}\nlinnet device list`)).toContain('enrolled');
    });

    it('folders_and_files_have_the_owners_and_modes_that_the_units_name', () => {
      expect(
        modes([
          '/run/linnet',
          SOCKET,
          '/var/lib/linnet',
          '/var/lib/linnet/identity.json',
          '/var/lib/linnet-server',
          '/var/lib/linnet-server/data',
          '/etc/default/linnet-agent',
          '/etc/default/linnet-server',
        ]),
      ).toEqual([
        '/run/linnet linnet:linnet 755',
        `${SOCKET} linnet:linnet 660`,
        '/var/lib/linnet linnet:linnet 700',
        '/var/lib/linnet/identity.json linnet:linnet 600',
        '/var/lib/linnet-server linnet-server:linnet-server 700',
        '/var/lib/linnet-server/data linnet-server:linnet-server 700',
        '/etc/default/linnet-agent root:root 600',
        '/etc/default/linnet-server root:linnet-server 640',
      ]);
    });

    it('release_is_installed_and_serves_where_a_denied_system_call_would_kill', async () => {
      for (const unit of UNITS)
        system.run(`mkdir -p /etc/systemd/system/${unit}.service.d
printf '${STRICT}' > /etc/systemd/system/${unit}.service.d/strict.conf`);
      system.run(`systemctl daemon-reload; systemctl restart ${UNITS.join(' ')}`);
      system.run(`${OPERATE}\n${ROLL_OUT}`);
      system.run('adduser --quiet app linnet');
      answer = await answered();
      expect(JSON.parse(answer.slice(0, answer.indexOf(']') + 1))).toHaveLength(10);
      for (const unit of UNITS) expect(show(unit, 'NRestarts')).toBe('0');
    });

    it('user_who_is_not_in_the_group_may_not_ask_over_the_socket', () => {
      expect(() => system.run(ask('other'))).toThrow(/Could not connect/);
    });

    it('environment_of_the_unit_is_the_environment_of_the_doctor', () => {
      system.run(
        "echo 'LINNET_AGENT__SERVER__URL=http://127.0.0.1:1' >> /etc/default/linnet-agent",
      );
      const doctor = system.run('linnet-agent doctor || true');
      expect(doctor).toContain('http://127.0.0.1:1');
      system.run("sed -i '/SERVER__URL=/d' /etc/default/linnet-agent");
    });

    it.each([
      ['linnet-server', SERVER_SETTINGS],
      ['linnet-agent', AGENT_SETTINGS],
    ] as const)(
      'reload_of_%s_changes_its_log_level_and_not_its_process',
      async (unit, settings) => {
        const process = show(unit, 'MainPID');
        system.run(`sed -i '1i log_level = "debug"' ${settings}; systemctl reload ${unit}`);
        expect(show(unit, 'MainPID')).toBe(process);
        await until('the reload is logged', () =>
          /"log_level":"debug".*configuration reloaded/.test(journal(unit)),
        );
      },
    );

    it.each(UNITS)('%s_that_was_killed_is_started_again', async (unit) => {
      const restarts = Number(show(unit, 'NRestarts'));
      system.run(`kill -9 ${show(unit, 'MainPID')}`);
      await startedAgain(unit, restarts);
      expect(await answered()).toBe(answer);
    });

    it.each(UNITS)('%s_that_hangs_is_started_again_by_the_watchdog', async (unit) => {
      const restarts = Number(show(unit, 'NRestarts'));
      system.run(`kill -STOP ${show(unit, 'MainPID')}`);
      await startedAgain(unit, restarts);
      expect(journal(unit)).toContain('Watchdog timeout (limit 15s)!');
      expect(await answered()).toBe(answer);
    });

    it('agent_that_is_stopped_answers_the_request_that_was_being_sent', () => {
      const slow = ask('app', 'long-body.json', '--limit-rate 20K');
      const output = system.run(`${slow} > /opt/slow & sleep 1.5; systemctl stop linnet-agent
wait $!; cat /opt/slow`);
      expect(logits(output)).toBe(answer);
      for (const unit of UNITS) {
        system.run(`systemctl stop ${unit}`);
        expect(`${show(unit, 'Result')} ${show(unit, 'ExecMainStatus')}`).toBe('success 0');
      }
    });

    it('both_serve_after_the_system_was_shut_down_and_started', async () => {
      system.run('rm -r /etc/systemd/system/linnet-*.service.d');
      await system.powerOff();
      system = await BootedDebian.boot(system.root);
      expect(await answered()).toBe(answer);
      expect(UNITS.map(isActive)).toEqual([true, true]);
    });

    it('upgrade_keeps_what_is_enrolled_and_installed_and_serves_again', async () => {
      const packages = newer.map((deb) => `./${basename(deb)}`).join(' ');
      const key = system.run('sha256sum /var/lib/linnet/identity.json');
      system.run(`apt-get install -y ${packages}`);
      expect(UNITS.map(isActive)).toEqual([true, true]);
      expect(system.run('linnet-agent --version; linnet-server --version')).toBe('0.1.1\n0.1.1\n');
      expect(system.run('sha256sum /var/lib/linnet/identity.json')).toBe(key);
      expect(await answered()).toBe(answer);
      await until('the device is heard by the new server', () =>
        /gate +default +enrolled +digits@1\.0\.0/.test(
          system.run(`${OPERATE}\nlinnet device list`),
        ),
      );
    });

    it('sandbox_denied_nothing', () => {
      for (const unit of UNITS)
        expect(
          journal(unit)
            .split('\n')
            .filter((line) => DENIALS.test(line)),
        ).toEqual([]);
    });

    it('agent_with_a_wrong_file_is_tried_again_after_pauses_that_grow', async () => {
      expect(show('linnet-agent', 'StartLimitIntervalUSec')).toBe('0');
      system.run(`echo nonsense >> ${AGENT_SETTINGS}
systemctl reset-failed linnet-agent; systemctl restart linnet-agent || true`);
      await until(
        'the agent was started three times',
        () => Number(show('linnet-agent', 'NRestarts')) >= 2,
        LIMIT_MS,
      );
      const pause = (property: string) => show('linnet-agent', property);
      expect(pause('RestartUSec')).toBe('5s');
      expect(pause('RestartMaxDelayUSec')).toBe('5min');
      expect(pause('RestartUSecNext')).toMatch(/^(?:9|[1-9]\d)(?:\.\d+)?s/);
    });

    it('agent_that_cannot_start_is_purged_and_leaves_nothing', () => {
      system.run('apt-get remove -y linnet-agent linnet-server linnet');
      for (const path of ['var/lib/linnet/identity.json', 'etc/linnet/agent.toml'])
        expect(existsSync(system.path(path))).toBe(true);
      system.run('apt-get purge -y linnet-agent linnet-server');
      expect(system.run("systemctl list-units --all --plain --no-legend 'linnet*'")).toBe('');
      expect(system.run('systemctl --failed --plain --no-legend')).toBe('');
      expect(system.run('ls /run')).not.toMatch(/linnet/);
      removeStandIns(system);
      const left = [...everything(system.root)].filter((each) => !before.has(each));
      expect(left.sort()).toEqual([]);
    });
  },
);
