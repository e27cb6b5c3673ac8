// `linnet device|group|rollout|token|audit`: what an operator does to a fleet, from a terminal. Every command is one or two
// requests of the operator API; what may be done is decided by the server. Devices are named by id or name.
import type { Command } from 'commander';
import type { Output } from '../cli/output.js';
import { registerAccessCommands } from './access-commands.js';
import { registerDeviceCommands } from './device-commands.js';
import { registerRolloutCommands } from './rollout-commands.js';

export function registerFleetCommands(program: Command, out: Output): void {
  registerDeviceCommands(program, out);
  registerRolloutCommands(program, out);
  registerAccessCommands(program, out);
}
