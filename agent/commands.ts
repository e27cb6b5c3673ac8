// `linnet agent`: runs the device agent until a signal stops it; `doctor` looks at the device. Logs
// are JSON lines on stderr (pino); the ready line is printed once every socket is open. The umask
// is set first, so that no file of the agent is readable by another user.
import type { Command } from 'commander';
import { realClock, realRandom } from '../shared/platform/clock.js';
import { stderrLog } from '../shared/platform/logger.js';
import { ServiceManager } from '../shared/platform/service-manager.js';
import { reloadOnHangup } from '../shared/platform/reload.js';
import { readSettingFile } from '../shared/platform/setting-files.js';
import { Fault } from '../shared/base/fault-codes.js';
import { findingsText, isHealthy } from '../shared/base/findings.js';
import { agentSettings, type AgentSettings } from './config.js';
import { agentFindings, requireInstallation, type DoctorProbes } from './doctor.js';
import { deviceProbes } from './doctor-probes.js';
import { startAgent } from './main.js';

/** What the command needs of the command line's output (firmware-tools/cli/output.ts fits). */
interface Out {
  result(value: unknown, human: () => string): void;
  progress(text: string): void;
}

const PRIVATE_UMASK = 0o077;
/** Where the device package has it. */
const CONFIG = '/etc/linnet/agent.toml';
/** Exit code of a command that ran and whose result is negative (firmware-tools/cli/output.ts). */
const NEGATIVE_RESULT = 6;

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
      const read = (): AgentSettings =>
        agentSettings(readSettingFile('the config file', config).toString('utf8'), process.env);
      const settings = read();
      if (printConfig === true) out.result(settings, () => JSON.stringify(settings, null, 2));
      else await runAgent({ settings, read, out, probes: deviceProbes(config, realClock) });
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
      const findings = await agentFindings(deviceProbes(config, realClock));
      out.result({ healthy: isHealthy(findings), findings }, () => findingsText(findings));
      if (!isHealthy(findings)) process.exitCode = NEGATIVE_RESULT;
    });
}

interface AgentRun {
  readonly settings: AgentSettings;
  readonly read: () => AgentSettings;
  readonly out: Out;
  readonly probes: DoctorProbes;
}

/**
 * Runs until SIGTERM or SIGINT; a second signal ends the process at once. Rejects on a bug, which
 * ends the process with exit code 1. SIGHUP reloads the configuration.
 */
async function runAgent({ settings, read, out, probes }: AgentRun): Promise<void> {
  process.umask(PRIVATE_UMASK);
  requireInstallation(probes);
  const log = stderrLog(settings.log_level);
  reloadOnHangup({ settings, read, log, signals: process });
  const agent = await startAgent(settings, { clock: realClock, random: realRandom, log });
  out.progress(`linnet agent ${agent.device} (${settings.name}) serves on ${agent.api.join(', ')}`);
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
  const { env, pid } = process;
  const manager = new ServiceManager({ env, pid, clock: realClock, log });
  void manager.ready();
  try {
    await Promise.race([stopped, agent.running]);
  } finally {
    await Promise.all([manager.stopping(), agent.close()]);
  }
}
