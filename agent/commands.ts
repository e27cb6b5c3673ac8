// `linnet agent`: runs the device agent until a signal stops it; `doctor` looks at the device. What
// they do is in run-agent.ts, loaded at need: --version and --help load this file only.
import type { Command } from 'commander';
import { lazily } from '../shared/base/lazily.js';
import { PACKAGED_CONFIG } from './packaged-config.js';
import type { Out } from './run-agent.js';

const actions = () => import('./run-agent.js');

export function registerAgentCommands(program: Command, out: Out): void {
  agentCommand(program.command('agent'), out);
}

/** Makes `command` the agent's; the device package has a program with this one command. */
export function agentCommand(command: Command, out: Out): void {
  command
    .description(
      'run the device agent: serves models locally, takes signed updates, reports telemetry',
    )
    .option('--config <file>', 'TOML file; LINNET_AGENT__A__B=x overrides key a.b')
    .option('--print-config', 'print the settings that would be used, and stop')
    .addHelpText(
      'after',
      `
Example agent.toml:
  name = "gate-1"
  hardware = "linux-any"
  components = ["digits"]
  data_dir = "/var/lib/linnet"
  [server]
  url = "http://fleet.example:7300"
  [trust]
  image_root = "/etc/linnet/image-root.json"
  director_root = "/etc/linnet/director-root.json"

A claim token (linnet device claim) is read from LINNET_CLAIM or server.claim_file at the first
start.`,
    )
    .action(lazily(out, async () => (await actions()).serve));
  command
    .command('doctor')
    .description('look for what is missing on this device, and say what to do; changes nothing')
    .option('--config <file>', `TOML file; default: ${PACKAGED_CONFIG}`)
    .addHelpText(
      'after',
      '\nExit code 0: nothing is bad; 6: something is.\n' +
        '\nExample:\n  $ linnet agent doctor --config agent.toml\n',
    )
    .action(lazily(out, async () => (await actions()).doctor));
}
