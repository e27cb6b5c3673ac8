// `linnet device` and `linnet group`: the devices of the fleet and their groups.
import { Option, type Command } from 'commander';
import { counted } from '../../../shared/base/counted.js';
import { limits } from '../../../shared/base/limits.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import {
  Claim,
  ClaimRequest,
  Device,
  DEVICE_STATUSES,
  DeviceApproval,
  DeviceDetail,
  DevicePage,
  GroupName,
  GroupPage,
} from '../../../shared/protocol/operator-api.js';
import { formOf, numberOf } from '../arguments.js';
import { table, type Output } from '../output.js';
import { connect, connectionOptions } from '../../fleet/fleet-client.js';
import { ago, attentionText, deviceScreen, runningText, statusText } from '../fleet-text.js';

const at = (id: string): string => `/devices/${encodeURIComponent(id)}`;
const groupOption = formOf('--group', GroupName);
const { uses, minutes } = ClaimRequest.properties;
/** People type it in either case. */
const fingerprintOption = (text: string): string =>
  formOf('--fingerprint', DeviceApproval.properties.fingerprint)(text.toLowerCase());

/** The `device` command, for what others add to it. */
export function registerDeviceCommands(program: Command, out: Output): Command {
  const device = program
    .command('device')
    .description('devices of the fleet')
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet device claim --group canary --uses 2\n  $ linnet device list\n' +
        '  $ linnet device show cam-1\n',
    );
  listAndShow(device, out);
  approveAndRevoke(device, out);
  replace(device, out);
  claim(device, out);
  registerGroup(program, out);
  return device;
}

function listAndShow(device: Command, out: Output): void {
  connectionOptions(device.command('list'))
    .description('devices by group, with what they run')
    .option('--group <group>', 'only devices of this group', groupOption)
    .addOption(
      new Option('--status <status>', 'only devices with this status').choices([
        ...DEVICE_STATUSES,
      ]),
    )
    .addHelpText('after', '\nExample:\n  $ linnet device list --group canary\n')
    .action(async (options: { group?: string; status?: string }, command: Command) => {
      const client = await connect(command);
      const query = new URLSearchParams(
        Object.entries({ group: options.group, status: options.status }).filter(
          (entry): entry is [string, string] => entry[1] !== undefined,
        ),
      );
      const devices = await client.list(`/devices?${query.toString()}`, DevicePage);
      out.result(devices, () =>
        devices.length === 0
          ? 'no devices'
          : table([
              ['NAME', 'GROUP', 'STATUS', 'RUNS', 'ATTENTION', 'HARDWARE', 'LAST SEEN', 'ID'],
              ...devices.map((row) => [
                row.name,
                row.group,
                statusText(row),
                runningText(row),
                attentionText(row),
                row.hardware,
                ago(row.lastSeenAt, Date.now()),
                row.id,
              ]),
            ]),
      );
    });
  connectionOptions(device.command('show'))
    .description('one device: state, health, inference, outcomes, security events')
    .argument('<device>', 'id or name')
    .addHelpText('after', '\nExample:\n  $ linnet device show cam-1\n')
    .action(async (id: string, _options: unknown, command: Command) => {
      const detail = await (await connect(command)).request('GET', at(id), DeviceDetail);
      out.result(detail, () => deviceScreen(detail));
    });
}

function approveAndRevoke(device: Command, out: Output): void {
  connectionOptions(device.command('approve'))
    .description('enrol a pending device')
    .argument('<device>', 'id or name')
    .option(
      '--fingerprint <hex>',
      "of its key, from the device's log; needed with a name",
      fingerprintOption,
    )
    .option('--group <group>', 'put it into this group as well', groupOption)
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet device approve cam-7 --fingerprint 5f3a0c2e9b1d7a64 --group fleet\n',
    )
    .action(async (id: string, options: ApproveOptions, command: Command) => {
      const client = await connect(command);
      let row = await client.request('POST', `${at(id)}/approve`, Device, fingerprintIn(options));
      if (options.group !== undefined)
        row = await client.request('PATCH', at(row.id), Device, { group: options.group });
      out.result(row, () => `${row.name} (${row.id}) is ${row.status}, in group ${row.group}`);
    });
  connectionOptions(device.command('revoke'))
    .description('revoke a device for good: its key is never accepted again')
    .argument('<device>', 'id or name')
    .addHelpText('after', '\nExample:\n  $ linnet device revoke cam-7\n')
    .action(async (id: string, _options: unknown, command: Command) => {
      const row = await (await connect(command)).request('POST', `${at(id)}/revoke`, Device, {});
      out.result(row, () => `${row.name} (${row.id}) is ${row.status}`);
    });
}

interface ApproveOptions {
  readonly fingerprint?: string;
  readonly group?: string;
}

const fingerprintIn = ({ fingerprint }: ApproveOptions): { fingerprint?: string } =>
  fingerprint === undefined ? {} : { fingerprint };

function replace(device: Command, out: Output): void {
  connectionOptions(device.command('replace'))
    .description('move name, group and labels to another device, and revoke the old one')
    .argument('<old>', 'id or name')
    .argument('<new>', 'id or name; a pending one is approved by this')
    .option(
      '--fingerprint <hex>',
      "of the new device's key; needed when it is pending, by name",
      fingerprintOption,
    )
    .addHelpText('after', '\nExample:\n  $ linnet device replace gate-1 dev-5f3a0c2e9b1d7a64c8e2\n')
    .action(async (old: string, by: string, options: ApproveOptions, command: Command) => {
      const client = await connect(command);
      const body = { by, ...fingerprintIn(options) };
      const row = await client.request('POST', `${at(old)}/replace`, Device, body);
      out.result(
        row,
        () => `${row.name} is ${row.id} now, in group ${row.group}; ${old} is revoked`,
      );
    });
}

function claim(device: Command, out: Output): void {
  connectionOptions(device.command('claim'))
    .description('a claim token that enrols devices without approval; it is shown once')
    .requiredOption('--group <group>', 'the group that its devices join', groupOption)
    .option('--uses <count>', 'how many devices it enrols', numberOf('--uses', uses), 1)
    .option(
      '--minutes <count>',
      'how long it is valid',
      numberOf('--minutes', minutes),
      limits.claimLifeDefaultMinutes,
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet device claim --group canary --uses 2 > claim.token\n',
    )
    .action(async (options: { group: string; uses: number; minutes: number }, command: Command) => {
      const made = await (
        await connect(command)
      ).request('POST', '/claims', Claim, {
        group: options.group,
        uses: options.uses,
        minutes: options.minutes,
      });
      out.progress(
        `enrols ${counted(made.uses, 'device')} into group ${made.group} until ${made.expiresAt}`,
      );
      out.result(made, () => made.claim);
    });
}

function registerGroup(program: Command, out: Output): void {
  const group = program
    .command('group')
    .description('groups of devices')
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet group set canary cam-1 cam-2\n  $ linnet group list\n',
    );
  connectionOptions(group.command('list'))
    .description('groups with the number of their devices')
    .addHelpText('after', '\nExample:\n  $ linnet group list\n')
    .action(async (_options: unknown, command: Command) => {
      const groups = await (await connect(command)).list('/groups', GroupPage);
      out.result(groups, () =>
        groups.length === 0
          ? 'no groups'
          : table([['GROUP', 'DEVICES'], ...groups.map((row) => [row.name, String(row.devices)])]),
      );
    });
  connectionOptions(group.command('set'))
    .description('put devices into a group')
    .argument('<group>', 'its name', formOf('group', GroupName))
    .argument('<devices...>', 'ids or names')
    .addHelpText('after', '\nExample:\n  $ linnet group set canary cam-1 cam-2\n')
    .action(async (name: string, devices: string[], _options: unknown, command: Command) => {
      const client = await connect(command);
      const moved: Device[] = [];
      for (const id of devices)
        moved.push(await client.request('PATCH', at(id), Device, { group: name }));
      out.result(moved, () =>
        moved.map((row) => `${row.name} (${row.id}) is in group ${row.group}`).join('\n'),
      );
    });
}

/** `12.5` as 125. */
export function percentAsPermille(text: string): number {
  const permille = Number(text) * 10;
  if (!/^\d{1,3}(\.\d)?$/.test(text) || permille < 1 || permille > 1000)
    throw new Fault('usage', `${text} is not a percentage such as 15 or 12.5`);
  return Math.round(permille);
}
