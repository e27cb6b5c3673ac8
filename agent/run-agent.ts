// Runs the device agent until a signal stops it, and the doctor. Logs are JSON lines on stderr
// (pino); the ready line is printed once every socket is open. The umask is set first, so that no
// file of the agent is readable by another user.
import type { Command } from 'commander';
import { Fault } from '../shared/base/fault-codes.js';
import { realClock, realRandom } from '../shared/platform/clock.js';
import { reportFindings } from '../shared/platform/doctor-report.js';
import { stderrLog } from '../shared/platform/logger.js';
import { ServiceManager } from '../shared/platform/service-manager.js';
import { reloadOnHangup } from '../shared/platform/reload.js';
import type { AgentSettings } from './config.js';
import { agentFindings, requireInstallation, type DoctorProbes } from './doctor.js';
import { deviceProbes, settingsOf } from './doctor-probes.js';
import { startAgent } from './main.js';
import { PACKAGED_CONFIG } from './packaged-config.js';

/** What the command needs of the command line's output (firmware-tools/cli/output.ts fits). */
export interface Out {
  result(value: unknown, human: () => string): void;
  progress(text: string): void;
}

const PRIVATE_UMASK = 0o077;

interface ServeOptions {
  readonly config?: string;
  readonly printConfig?: true;
}

export async function serve(out: Out, { config, printConfig }: ServeOptions): Promise<void> {
  if (config === undefined) throw new Fault('usage', 'pass --config FILE');
  const read = (): AgentSettings => settingsOf(config);
  const settings = read();
  if (printConfig === true) out.result(settings, () => JSON.stringify(settings, null, 2));
  else await runAgent({ settings, read, out, probes: deviceProbes(config, realClock) });
}

/** Sets the exit code when something is bad. */
export async function doctor(out: Out, _options: unknown, command: Command): Promise<void> {
  // The option is also the agent's; commander gives it to the command that sees it first.
  const { config = PACKAGED_CONFIG } = command.optsWithGlobals<{ config?: string }>();
  reportFindings(await agentFindings(deviceProbes(config, realClock)), out);
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
