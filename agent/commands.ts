// `linnet agent`: runs the device agent until a signal stops it. Logs are JSON lines on stderr
// (pino); the ready line is printed once every socket is open. The umask is set first, so that no
// file of the agent is readable by another user.
import type { Command } from 'commander';
import { realClock, realRandom } from '../shared/platform/clock.js';
import { stderrLog } from '../shared/platform/logger.js';
import { reloadOnHangup } from '../shared/platform/reload.js';
import { readSettingFile } from '../shared/platform/setting-files.js';
import { agentSettings, type AgentSettings } from './config.js';
import { startAgent } from './main.js';

/** What the command needs of the command line's output (firmware-tools/cli/output.ts fits). */
interface Out {
  result(value: unknown, human: () => string): void;
  progress(text: string): void;
}

const PRIVATE_UMASK = 0o077;

export function registerAgentCommands(program: Command, out: Out): void {
  program
    .command('agent')
    .description(
      'run the device agent: serves models locally, takes signed updates, reports telemetry',
    )
    .requiredOption('--config <file>', 'TOML file; LINNET_AGENT__A__B=x overrides key a.b')
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
    .action(async (options: { config: string; printConfig?: true }) => {
      const read = (): AgentSettings =>
        agentSettings(
          readSettingFile('the config file', options.config).toString('utf8'),
          process.env,
        );
      const settings = read();
      if (options.printConfig === true)
        out.result(settings, () => JSON.stringify(settings, null, 2));
      else await runAgent(settings, read, out);
    });
}

/**
 * Runs until SIGTERM or SIGINT; a second signal ends the process at once. Rejects on a bug, which
 * ends the process with exit code 1. SIGHUP reloads the configuration.
 */
async function runAgent(
  settings: AgentSettings,
  read: () => AgentSettings,
  out: Out,
): Promise<void> {
  process.umask(PRIVATE_UMASK);
  const log = stderrLog(settings.log_level);
  reloadOnHangup({ settings, read, log, signals: process });
  const agent = await startAgent(settings, { clock: realClock, random: realRandom, log });
  out.progress(`linnet agent ${agent.device} (${settings.name}) serves on ${agent.api.join(', ')}`);
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
  try {
    await Promise.race([stopped, agent.running]);
  } finally {
    await agent.close();
  }
}
