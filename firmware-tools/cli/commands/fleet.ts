// `linnet device|group|release|rollout|standing|telemetry|token|audit|security`: what an operator
// does to a fleet, from a terminal.
// Every command is one or two requests of the operator API; what may be done is decided by the
// server. Devices are named by id or name.
import type { Command } from 'commander';
import type { Output } from '../output.js';
import { registerAccessCommands } from './access.js';
import { registerSecurityCommands } from './security.js';
import { registerDeviceCommands } from './devices.js';
import { registerDeviceRecords, registerTelemetryCommands } from './device-records.js';
import { registerReleaseCommands } from './releases.js';
import { registerRolloutCommands } from './rollouts.js';
import { registerStandingCommands } from './standing.js';

export function registerFleetCommands(program: Command, out: Output): void {
  registerDeviceRecords(registerDeviceCommands(program, out), out);
  registerReleaseCommands(program, out);
  registerRolloutCommands(program, out);
  registerTelemetryCommands(program, out);
  registerAccessCommands(program, out);
  registerSecurityCommands(program, out);
  registerStandingCommands(program, out);
}
