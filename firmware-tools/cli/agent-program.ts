// The `linnet-agent` program of the device package: the command `linnet agent` alone, with its
// subcommands at the top. A device has neither the server nor the signing tools.
import { runProgram } from './single-program.js';

await runProgram('linnet-agent', async (program, out) =>
  (await import('../../agent/commands.js')).agentCommand(program, out),
);
