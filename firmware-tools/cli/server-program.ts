// The `linnet-server` program of the server package: the command `linnet server` alone, with its
// subcommands at the top. The signing tools stay with the people who hold the keys.
import { runProgram } from './single-program.js';

await runProgram('linnet-server', async (program, out) =>
  (await import('../../server/commands.js')).serverCommand(program, out),
);
