// `linnet agent`: runs the device agent until a signal stops it; `doctor` looks at the device. What
// they do is in run-agent.ts, loaded at need: --version and --help load this file only.
import type { Command } from 'commander';
import { Fault } from '../shared/base/fault-codes.js';
import type { Out } from './run-agent.js';

/** Where the device package has it. */
const CONFIG = '/etc/linnet/agent.toml';

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
    .action(async ({ config, printConfig }: { config?: string; printConfig?: true }) => {
      if (config === undefined) throw new Fault('usage', 'pass --config FILE');
      const { agentCommandRun } = await import('./run-agent.js');
      await agentCommandRun(config, { printOnly: printConfig === true, out });
    });
  command
    .command('doctor')
    .description('look for what is missing on this device, and say what to do; changes nothing')
    .option('--config <file>', `TOML file; default: ${CONFIG}`)
    .addHelpText(
      'after',
      '\nExit code 0: nothing is bad; 6: something is.\n' +
        '\nExample:\n  $ linnet agent doctor --config agent.toml\n',
    )
    .action(async (_options: unknown, doctor: Command) => {
      // The option is also the agent's; commander gives it to the command that sees it first.
      const { config = CONFIG } = doctor.optsWithGlobals<{ config?: string }>();
      await (await import('./run-agent.js')).doctorRun(config, out);
    });
}
