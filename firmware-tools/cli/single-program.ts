// A program that has one command of `linnet` only, for the packages.
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { systemCode } from '../../shared/base/fault-codes.js';
import { EXIT, makeOutput, printError, type Output } from './output.js';

/** Runs the command line of this process; sets its exit code. */
export async function runProgram(
  name: string,
  register: (program: Command, out: Output) => Promise<void>,
): Promise<void> {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error) => {
      // The reader closed the pipe: nobody reads the rest.
      if (systemCode(error) === 'EPIPE') process.exit();
      throw error;
    });
  const args = process.argv.slice(2);
  const json = args.includes('--json');
  const streams = {
    out: (text: string) => process.stdout.write(text),
    err: (text: string) => process.stderr.write(text),
  };
  const program = new Command(name)
    .version(version())
    .option('--json', 'print one JSON value instead of text')
    .exitOverride();
  try {
    await register(program, makeOutput(json, streams));
    for (const inner of program.commands) inner.copyInheritedSettings(program);
    await program.parseAsync(
      args.filter((arg) => arg !== '--json'),
      { from: 'user' },
    );
  } catch (error) {
    // Commander has printed its own message.
    if (error instanceof CommanderError)
      process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage;
    else process.exitCode = printError(error, json, streams);
  }
}

/** Of the package.json two folders above the bundle. */
function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
