// The `linnet-server` program of the server package: the command `linnet server` alone, with its
// subcommands at the top. The signing tools stay with the people who hold the keys.
import { Command } from 'commander';
import { runCommandLine, runProcess, withHead } from './runner.js';

await runProcess((args, streams) =>
  runCommandLine(withHead(new Command('linnet-server')), {
    args,
    streams,
    register: async (program, out) =>
      (await import('../../server/commands.js')).serverCommand(program, out),
  }),
);
