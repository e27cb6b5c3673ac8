// The `linnet-agent` program of the device package: the command `linnet agent` alone, with its
// subcommands at the top. A device has neither the server nor the signing tools.
import { Command } from 'commander';
import { runCommandLine, runProcess, withHead } from './runner.js';

await runProcess((args, streams) =>
  runCommandLine(withHead(new Command('linnet-agent')), {
    args,
    streams,
    register: async (program, out) =>
      (await import('../../agent/commands.js')).agentCommand(program, out),
  }),
);
