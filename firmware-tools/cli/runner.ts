// Runs one command line: of `linnet`, and of the programs of the packages, which have one of its
// commands each. `--json` works anywhere on the line, `help` as `--help`; exit codes are those of
// output.ts. What a program has is its own affair (`register`).
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CommanderError, type Command } from 'commander';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';
import { EXIT, EXIT_MEANING, makeOutput, printError, type Output, type Streams } from './output.js';
import { printable } from './printable.js';

export type Register = (program: Command, out: Output) => void;

export interface CommandLine {
  /** Without node and script. */
  readonly args: readonly string[];
  readonly streams: Streams;
  /** Adds to the program what `args`, without `--json`, need. */
  readonly register: (program: Command, out: Output, args: readonly string[]) => Promise<void>;
}

const EPILOGUE = `
--json prints one JSON value on stdout (for machines). Exit codes:
${(Object.keys(EXIT) as (keyof typeof EXIT)[])
  .map((name) => `  ${EXIT[name]}  ${EXIT_MEANING[name]}`)
  .join('\n')}`;

/** What every program has: its version, `--json` and the exit codes in its help. */
export const withHead = (program: Command): Command =>
  program
    .version(versionOf(dirname(fileURLToPath(import.meta.url))))
    .option('--json', 'print one JSON value instead of text (anywhere on the line)')
    .addHelpText('after', EPILOGUE);

/** The version in the package.json above: of the sources, of dist/, or of a package. */
function versionOf(folder: string): string {
  const file = join(folder, 'package.json');
  if (!existsSync(file)) return versionOf(dirname(folder));
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** Returns the exit code. */
export async function runCommandLine(
  program: Command,
  { args, streams, register }: CommandLine,
): Promise<number> {
  const end = args.indexOf('--');
  const isJson = (arg: string, at: number): boolean => arg === '--json' && (end === -1 || at < end);
  const json = args.some(isJson);
  const rest = helpLast(args.filter((arg, at) => !isJson(arg, at)));
  program
    // With --json what commander would write to stderr becomes an error on stdout, below.
    .configureOutput({
      writeOut: streams.out,
      writeErr: json ? () => {} : (text) => streams.err(printable(text)),
    })
    .exitOverride();
  try {
    await register(program, makeOutput(json, streams), rest);
    inherit(program);
    await program.parseAsync([...rest], { from: 'user' });
    return process.exitCode === undefined ? EXIT.done : Number(process.exitCode);
  } catch (error) {
    if (!(error instanceof CommanderError)) return printError(error, json, streams);
    if (error.exitCode === 0) return EXIT.done;
    // Commander has printed its own message (or, for a missing subcommand, the help) on stderr.
    const text = commanderText(error, [program.name(), ...rest]);
    return json ? printError(new Fault('usage', text), json, streams) : EXIT.usage;
  }
}

/** Runs the command line of this process by `run`, and sets its exit code. */
export async function runProcess(
  run: (args: readonly string[], streams: Streams) => Promise<number>,
): Promise<void> {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error) => {
      // The reader closed the pipe (`linnet ... | head`): nobody reads the rest.
      if (systemCode(error) === 'EPIPE') process.exit();
      throw error;
    });
  process.exitCode = await run(process.argv.slice(2), {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
  });
}

/**
 * `linnet help model quantize` as `linnet model quantize --help`, so that the module of the command
 * is loaded.
 */
function helpLast(args: readonly string[]): string[] {
  const [first, ...asked] = args;
  if (first !== 'help') return [...args];
  return asked.includes('--help') ? asked : [...asked, '--help'];
}

function commanderText(error: CommanderError, line: readonly string[]): string {
  // Its message for a command line without its subcommand is '(outputHelp)'.
  if (error.code === 'commander.help') return `${line.join(' ')} needs a subcommand`;
  return error.message.replace(/^error: /, '');
}

/**
 * Commander passes exitOverride and outputs on only to commands that are added later; these were
 * added by the modules.
 */
function inherit(command: Command): void {
  for (const inner of command.commands) {
    inner.copyInheritedSettings(command);
    inherit(inner);
  }
}
