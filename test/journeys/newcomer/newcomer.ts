// What a newcomer does, by the documents and with the packages: a server and an operator's commands
// on one fresh Debian system, an agent on another; a device enrols, a release is rolled out, the
// device answers. Then the agent's package is upgraded, removed and purged. Every step is timed;
// the packages are given, so that no time is a download's.
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { exampleData } from '../../../firmware-tools/demo/digits/data.js';
import { DebianRoot, type Service } from '../../support/debian-root.js';
import { freePorts, until } from '../../support/journey-devices.js';
import {
  addStandIns,
  AGENT_SETTINGS,
  commandsOf,
  DOCUMENTED,
  removeStandIns,
  requireEdited,
  requireStarted,
  ROLL_OUT,
  runCommands,
  SERVER_SETTINGS,
  willEdit,
  type Edits,
} from './documents.js';

export interface NewcomerOptions {
  /** Folder for the two systems. */
  readonly folder: string;
  /** Paths of .deb files that carry Node.js. */
  readonly debs: Readonly<Record<'server' | 'operator' | 'agent' | 'newerAgent', string>>;
}

export interface NewcomerReport {
  /** From the first command to the first answer. */
  readonly steps: readonly { readonly what: string; readonly seconds: number }[];
  readonly totalSeconds: number;
  /** From SIGTERM to the old agent to an answer of the new one. */
  readonly upgradeSeconds: number;
  readonly answersBefore: unknown;
  readonly answersAfter: unknown;
  /** Files and users that were not there before the agent's package. */
  readonly leftBehind: readonly string[];
}

const MS_PER_SECOND = 1000;
interface Fleet {
  readonly root: DebianRoot;
  readonly http: number;
  /** Before every command of an operator. */
  readonly operator: string;
}

export async function newcomer({ folder, debs }: NewcomerOptions): Promise<NewcomerReport> {
  const [office, device] = ['office', 'device'].map((name) => {
    const root = DebianRoot.make(join(folder, name));
    addStandIns(root);
    return root;
  }) as [DebianRoot, DebianRoot];
  mkdirSync(office.path('root/.linnet/packages'), { recursive: true });
  copyFileSync(debs.server, office.path(`root/${DOCUMENTED.server}`));
  copyFileSync(debs.operator, office.path(`root/${DOCUMENTED.operator}`));
  copyFileSync(debs.agent, device.path(`root/${DOCUMENTED.agent}`));
  exampleData(office.path('root/release'));
  const [http = 0, mqtt = 0, api = 0] = await freePorts(3);
  const before = everything(device);

  const services: Service[] = [];
  const steps: { what: string; seconds: number }[] = [];
  const timed = async <T>(what: string, step: () => T | Promise<T>): Promise<T> => {
    const from = performance.now();
    const result = await step();
    steps.push({ what, seconds: (performance.now() - from) / MS_PER_SECOND });
    return result;
  };
  try {
    const fleet = await timed('server: install, prepare, start', () =>
      serverUp(office, { http, mqtt }, services),
    );
    await timed('device: install, configure, check', () => deviceReady(fleet, device, api));
    await timed('device: start, enrol', () => deviceUp(fleet, device, services));
    await timed('release: build, sign, publish, roll out', () =>
      office.run(`${fleet.operator}\n${ROLL_OUT}`),
    );
    const answersBefore = await timed('device: first answer', () => answers(api, services));
    const upgrade = await upgraded(device, debs.newerAgent, api, services);
    await services.pop()?.stop();
    return {
      steps,
      totalSeconds: steps.reduce((sum, { seconds }) => sum + seconds, 0),
      answersBefore,
      ...upgrade,
      leftBehind: purged(device, before),
    };
  } catch (error) {
    const logs = services.map((service) => service.log()).join('\n');
    throw new Error(`the newcomer failed; logs of the services:\n${logs}`, { cause: error });
  } finally {
    for (const { child } of services) child.kill('SIGKILL');
  }
}

/** By docs/server.md. */
async function serverUp(
  root: DebianRoot,
  { http, mqtt }: { http: number; mqtt: number },
  services: Service[],
): Promise<Fleet> {
  const edits: Edits = { '# port = 7300': `port = ${http}`, '# port = 7301': `port = ${mqtt}` };
  willEdit(root, SERVER_SETTINGS, edits);
  runCommands(root, commandsOf('docs/server.md', null));
  requireEdited(root, SERVER_SETTINGS, edits);
  requireStarted(root, 'linnet-server');
  services.push(root.start('linnet-server'));
  const url = `http://127.0.0.1:${http}`;
  await until('the server is ready', () => answersOk(`${url}/readyz`));
  const token = readFileSync(root.path('var/lib/linnet-server/admin.token'), 'utf8').trim();
  return { root, http, operator: `export LINNET_SERVER=${url} LINNET_TOKEN=${token}` };
}

/** By docs/devices.md, part "Install". */
function deviceReady({ root: office, http, operator }: Fleet, root: DebianRoot, api: number): void {
  const trust = office.path('root/fleet/trust');
  for (const file of ['image-root.json', 'director-root.json'])
    cpSync(join(trust, file), root.path(`root/${file}`));
  const edits: Edits = {
    'name = "device-1"': 'name = "newcomer"',
    'hardware = "linux-any"': 'hardware = "linux-any"',
    'components = .*': 'components = ["digits"]',
    'url = "http://127.0.0.1:7300"': `url = "http://127.0.0.1:${http}"`,
    '# port = 7310': `port = ${api}`,
  };
  willEdit(root, AGENT_SETTINGS, edits);
  const claim = office.run(`${operator}\nlinnet device claim --group fleet --json`);
  runCommands(root, commandsOf('docs/devices.md', 'Install'));
  requireEdited(root, AGENT_SETTINGS, edits);
  requireStarted(root, 'linnet-agent');
  const token = (JSON.parse(claim) as { claim: string }).claim;
  root.run(`echo LINNET_CLAIM=${token} >> /etc/default/linnet-agent`);
}

async function deviceUp(fleet: Fleet, root: DebianRoot, services: Service[]): Promise<void> {
  services.push(root.start('linnet-agent'));
  const [, token = ''] = /LINNET_TOKEN=(\S+)/.exec(fleet.operator) ?? [];
  await until('the device is enrolled', async () => {
    const answer = await fetch(`http://127.0.0.1:${fleet.http}/api/v1/devices`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return /"status":"enrolled"/.test(await answer.text());
  });
}

/** What the device answers to one image, as soon as it does. */
function answers(api: number, services: readonly Service[]): Promise<unknown> {
  const input = { name: 'image', shape: [1, 1, 28, 28], datatype: 'FP32' };
  const body = JSON.stringify({ inputs: [{ ...input, data: Array(784).fill(0.5) }] });
  const url = `http://127.0.0.1:${api}/v2/models/digits/infer`;
  return until(
    'the device answers',
    async () => {
      const ended = services.find(({ child }) => child.exitCode !== null);
      if (ended !== undefined) throw new Error(`a service ended by itself:\n${ended.log()}`);
      const answer = await fetch(url, { method: 'POST', body }).catch(() => null);
      if (answer?.status !== 200) return null;
      return ((await answer.json()) as { outputs: { data: unknown }[] }).outputs[0]?.data ?? null;
    },
    120_000,
  );
}

const answersOk = (url: string): Promise<boolean> =>
  fetch(url).then(
    (answer) => answer.ok,
    () => false,
  );

/** The script does what systemd would: it stops the old agent and starts the new one. */
async function upgraded(
  root: DebianRoot,
  deb: string,
  api: number,
  services: Service[],
): Promise<Pick<NewcomerReport, 'upgradeSeconds' | 'answersAfter'>> {
  copyFileSync(deb, root.path(`root/${basename(deb)}`));
  const old = services.pop();
  const settings = readFileSync(root.path(AGENT_SETTINGS), 'utf8');
  root.run(`dpkg -i ${basename(deb)}`);
  if (readFileSync(root.path(AGENT_SETTINGS), 'utf8') !== settings)
    throw new Error(`the upgrade changed ${AGENT_SETTINGS}`);
  const from = performance.now();
  await old?.stop();
  services.push(root.start('linnet-agent'));
  const answersAfter = await answers(api, services);
  return { upgradeSeconds: (performance.now() - from) / MS_PER_SECOND, answersAfter };
}

/** Removes and purges; returns what is left. */
function purged(root: DebianRoot, before: ReadonlySet<string>): string[] {
  root.run('dpkg -r linnet-agent');
  const kept = everything(root);
  for (const path of ['var/lib/linnet', 'etc/linnet/agent.toml'])
    if (!kept.has(path)) throw new Error(`removing the package deleted ${path}`);
  root.run('dpkg --purge linnet-agent');
  removeStandIns(root);
  return [...everything(root)].filter((each) => !before.has(each)).sort();
}

/**
 * Paths of the system without the newcomer's folders and the notes of systemd, dpkg and adduser;
 * users.
 */
export function everything(root: DebianRoot): ReadonlySet<string> {
  const notes = new RegExp(
    '^(?:proc|sys|dev|root|opt|tmp|var/lib/(?:dpkg|apt|systemd)|var/tmp|var/log|var/cache' +
      // adduser's lock, and the copies that it makes of what it changes.
      '|run/adduser|etc/\\.pwd\\.lock|etc/g?shadow-|etc/(?:passwd|group)-)(?:/|$)',
  );
  const paths = readdirSync(root.folder, { recursive: true, encoding: 'utf8' });
  const users = ['passwd', 'group', 'shadow', 'gshadow'].flatMap((file) =>
    readFileSync(root.path(`etc/${file}`), 'utf8')
      .split('\n')
      .map((line) => `${file}: ${line.split(':')[0] ?? ''}`),
  );
  return new Set([...paths.filter((path) => !notes.test(path)), ...users]);
}
