// `linnet device label|events|history` and `linnet telemetry`: what an operator notes about a
// device, and what the device reported.
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { limits } from '../../../shared/base/limits.js';
import { connectionOptions, pageOptions, wholeNumber } from '../options.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/device-records.js');

export function registerDeviceRecords(device: Command, out: Output): void {
  label(device, out);
  events(device, out);
  history(device, out);
}

function label(device: Command, out: Output): void {
  connectionOptions(device.command('label'))
    .description('show, set (key=value) and remove (key-) labels of a device')
    .argument('<device>', 'id or name')
    .argument('[changes...]', 'key=value or key-')
    .addHelpText('after', '\nExample:\n  $ linnet device label cam-1 site=north rack-\n')
    .action(lazily(out, async () => (await actions()).label));
}

function events(device: Command, out: Output): void {
  pageOptions(connectionOptions(device.command('events')))
    .description('security events of a device, the newest first')
    .argument('<device>', 'id or name')
    .addHelpText('after', '\nExample:\n  $ linnet device events cam-1\n')
    .action(lazily(out, async () => (await actions()).events));
}

function history(device: Command, out: Output): void {
  connectionOptions(device.command('history'))
    .description('how the components of a device changed, the newest first')
    .argument('<device>', 'id or name')
    .option('--limit <count>', 'how many changes', wholeNumber, limits.cliRowsDefaultCount)
    .addHelpText('after', '\nExample:\n  $ linnet device history cam-1\n')
    .action(lazily(out, async () => (await actions()).history));
}

export function registerTelemetryCommands(program: Command, out: Output): void {
  const telemetry = program
    .command('telemetry')
    .description('what devices report')
    .addHelpText('after', '\nExample:\n  $ linnet telemetry tail cam-1 --follow\n');
  pageOptions(connectionOptions(telemetry.command('tail')))
    .description('the last records of a device, the newest last; with --follow those to come, too')
    .argument('<device>', 'id or name')
    .option('--follow', 'print each record when it comes; with --json one JSON object a line')
    .addHelpText('after', '\nExample:\n  $ linnet telemetry tail cam-1 --limit 20 --follow\n')
    .action(lazily(out, async () => (await actions()).tail));
  pageOptions(connectionOptions(telemetry.command('hours')))
    .description('what a device reported hour by hour, the newest first')
    .argument('<device>', 'id or name')
    .addHelpText('after', '\nExample:\n  $ linnet telemetry hours cam-1 --limit 24\n')
    .action(lazily(out, async () => (await actions()).hours));
}
