// `linnet device` and `linnet group`: the devices of the fleet and their groups.
import { Option, type Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { limits } from '../../../shared/base/limits.js';
import {
  DEVICE_ATTENTIONS,
  DEVICE_STATUSES,
  UPDATE_STATES,
} from '../../../shared/protocol/states.js';
import { connectionOptions, pageOptions, wholeNumber } from '../options.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/devices.js');

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
  moveAndReplace(device, out);
  claim(device, out);
  registerGroup(program, out);
  return device;
}

function listAndShow(device: Command, out: Output): void {
  pageOptions(connectionOptions(device.command('list')), limits.cliDevicesDefaultCount)
    .description('devices by group, with what they run')
    .option('--group <group>', 'only devices of this group')
    .addOption(
      new Option('--status <status>', 'only devices with this status').choices([
        ...DEVICE_STATUSES,
      ]),
    )
    .option('--hardware <id>', 'only this hardware')
    .option(
      '--running <component@version>',
      'only devices that run this release; component@none: on which nothing runs',
    )
    .addOption(
      new Option('--update <state>', 'only devices with an update in this state').choices([
        ...UPDATE_STATES,
      ]),
    )
    .option('--label <key=value>', 'only devices with this label; a key alone: with any value')
    .addOption(
      new Option('--attention <why>', 'only devices that may need a person').choices([
        ...DEVICE_ATTENTIONS,
      ]),
    )
    .option('--search <text>', 'only names and ids that begin so')
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet device list --group canary\n' +
        '  $ linnet device list --attention silent --label site=north\n',
    )
    .action(lazily(out, async () => (await actions()).list));
  connectionOptions(device.command('show'))
    .description('one device: state, health, inference, outcomes, security events')
    .argument('<device>', 'id or name')
    .addHelpText('after', '\nExample:\n  $ linnet device show cam-1\n')
    .action(lazily(out, async () => (await actions()).show));
}

function approveAndRevoke(device: Command, out: Output): void {
  connectionOptions(device.command('approve'))
    .description('enrol a pending device')
    .argument('<device>', 'id or name')
    .option('--fingerprint <hex>', "of its key, from the device's log; needed with a name")
    .option('--group <group>', 'put it into this group as well')
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet device approve cam-7 --fingerprint 5f3a0c2e9b1d7a64 --group fleet\n',
    )
    .action(lazily(out, async () => (await actions()).approve));
  connectionOptions(device.command('revoke'))
    .description('revoke a device for good: its key is never accepted again')
    .argument('<device>', 'id or name')
    .addHelpText('after', '\nExample:\n  $ linnet device revoke cam-7\n')
    .action(lazily(out, async () => (await actions()).revoke));
}

function moveAndReplace(device: Command, out: Output): void {
  connectionOptions(device.command('move'))
    .description('put a device into another group')
    .argument('<device>', 'id or name')
    .argument('<group>', 'its name')
    .addHelpText('after', '\nExample:\n  $ linnet device move cam-1 canary\n')
    .action(lazily(out, async () => (await actions()).move));
  connectionOptions(device.command('replace'))
    .description('move name, group and labels to another device, and revoke the old one')
    .argument('<old>', 'id or name')
    .argument('<new>', 'id or name; a pending one is approved by this')
    .option('--fingerprint <hex>', "of the new device's key; needed when it is pending, by name")
    .addHelpText('after', '\nExample:\n  $ linnet device replace gate-1 dev-5f3a0c2e9b1d7a64c8e2\n')
    .action(lazily(out, async () => (await actions()).replace));
}

function claim(device: Command, out: Output): void {
  connectionOptions(device.command('claim'))
    .description('a claim token that enrols devices without approval; it is shown once')
    .requiredOption('--group <group>', 'the group that its devices join')
    .option('--uses <count>', 'how many devices it enrols', wholeNumber, 1)
    .option(
      '--minutes <count>',
      'how long it is valid',
      wholeNumber,
      limits.claimLifeDefaultMinutes,
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet device claim --group canary --uses 2 > claim.token\n',
    )
    .action(lazily(out, async () => (await actions()).claim));
}

function registerGroup(program: Command, out: Output): void {
  const group = program
    .command('group')
    .description('groups of devices')
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet group set canary cam-1 cam-2\n  $ linnet group list\n',
    );
  pageOptions(connectionOptions(group.command('list')), limits.cliDevicesDefaultCount)
    .description('groups with the number of their devices')
    .addHelpText('after', '\nExample:\n  $ linnet group list\n')
    .action(lazily(out, async () => (await actions()).listGroups));
  connectionOptions(group.command('set'))
    .description('put devices into a group')
    .argument('<group>', 'its name')
    .argument('<devices...>', 'ids or names')
    .addHelpText('after', '\nExample:\n  $ linnet group set canary cam-1 cam-2\n')
    .action(lazily(out, async () => (await actions()).setGroup));
}
