// `linnet device|group|rollout|token|audit`: what an operator does to a fleet, from a terminal.
// Every command is one or two requests of the operator API; what may be done is decided by the
// server. Devices are named by id or name.
import type { Command } from 'commander';
import type { Output } from '../output.js';
import { registerAccessCommands } from './access.js';
import { registerSecurityCommands } from './security.js';
import { registerDeviceCommands } from './devices.js';
import { registerRolloutCommands } from './rollouts.js';

export function registerFleetCommands(program: Command, out: Output): void {
  registerDeviceCommands(program, out);
  registerRolloutCommands(program, out);
  registerAccessCommands(program, out);
  registerSecurityCommands(program, out);
}
