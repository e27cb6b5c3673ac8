// Runs one command line: of `linnet`, and of the programs of the packages, which have one of its
// commands each. `--json` works anywhere on the line, `help` as `--help`; exit codes are those of
// output.ts. What a program has is its own affair (`register`).
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CommanderError, type Argument, type Command, type Option } from 'commander';
import { Fault, isFault, systemCode } from '../../shared/base/fault-codes.js';
import { EXIT, EXIT_MEANING, makeOutput, printError, type Output, type Streams } from './output.js';
import { diskFault } from '../../shared/platform/errno-faults.js';
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
      // Printed below: commander names one missing option, and not where help is.
      outputError: () => {},
    })
    .exitOverride();
  try {
    await register(program, makeOutput(json, streams), rest);
    inherit(program);
    const hasHelp = isFound(program, rest);
    await program.parseAsync(
      rest.filter((arg) => hasHelp || !['--help', '-h'].includes(arg)),
      { from: 'user' },
    );
    return process.exitCode === undefined ? EXIT.done : Number(process.exitCode);
  } catch (error) {
    if (!(error instanceof CommanderError)) return printError(error, json, streams);
    if (error.exitCode === 0) return EXIT.done;
    const text = commanderText(error, program, rest);
    if (json) return printError(new Fault('usage', text), json, streams);
    // For a missing subcommand commander has printed the help.
    if (error.code !== 'commander.help')
      streams.err(printable(`error: ${text}\nsee: ${pathOf(commandIn(program, rest))} --help\n`));
    return EXIT.usage;
  }
}

/** The innermost command that a line names. */
function commandIn(program: Command, args: readonly string[]): Command {
  let found = program;
  for (const arg of args) {
    const inner = found.commands.find((command) => command.name() === arg);
    if (inner === undefined) break;
    found = inner;
  }
  return found;
}

/** `linnet rollout start`. */
const pathOf = (command: Command): string =>
  command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;

/** Whether every command that a line names is there; commander shows help before it looks. */
function isFound(program: Command, args: readonly string[]): boolean {
  const command = commandIn(program, args);
  const next = args[pathOf(command).split(' ').length - 1];
  const isName = next !== undefined && !next.startsWith('-');
  return !isName || command.commands.length === 0 || command.registeredArguments.length > 0;
}

const writeStderr = (text: string): void => void process.stderr.write(text);

/** Runs the command line of this process by `run`, and sets its exit code. */
export async function runProcess(
  run: (args: readonly string[], streams: Streams) => Promise<number>,
): Promise<void> {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error) => {
      // The reader closed the pipe (`linnet ... | head`): nobody reads the rest.
      if (systemCode(error) === 'EPIPE') process.exit();
      if (stream === process.stderr) process.exit(EXIT.flaked);
      const fault = diskFault(error, 'write the output');
      process.exit(printError(fault, false, { out: () => {}, err: writeStderr }));
    });
  process.exitCode = await run(process.argv.slice(2), {
    out: (text) => process.stdout.write(text),
    err: writeStderr,
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

function commanderText(error: CommanderError, program: Command, args: readonly string[]): string {
  // Its message for a command line without its subcommand is '(outputHelp)'.
  if (error.code === 'commander.help')
    return `${[program.name(), ...args].join(' ')} needs a subcommand`;
  const command = commandIn(program, args);
  const missing = missingIn(command);
  if (/^commander\.missing(Argument|MandatoryOptionValue)$/.test(error.code) && missing.length > 1)
    return `these are missing: ${missing.join(', ')}`;
  return error.message.replace(/^error: /, '');
}

/** The arguments and options that a command needs and did not get. */
const missingIn = (command: Command): string[] => [
  ...command.registeredArguments
    .slice(command.args.length)
    .filter(({ required }) => required)
    .map((argument) => `<${argument.name()}>`),
  ...command.options
    .filter(({ mandatory }) => mandatory)
    .filter((option) => command.getOptionValue(option.attributeName()) === undefined)
    .map(({ flags }) => flags.replace(/^-\w, /, '')),
];

/**
 * Commander passes exitOverride and outputs on only to commands that are added later; these were
 * added by the modules.
 */
function inherit(command: Command): void {
  for (const inner of command.commands) {
    inner.copyInheritedSettings(command);
    for (const option of inner.options) nameIn(option);
    for (const argument of inner.registeredArguments)
      if ([...IDS, 'component@version'].includes(argument.name())) trim(argument);
    inherit(inner);
  }
}

/** What an operator pastes, with the white space around it. */
const IDS: readonly string[] = ['device', 'devices', 'old', 'new', 'rollout', 'group'];

function trim(argument: Argument): void {
  const one = (text: string): string => {
    const id = text.trim();
    if (id === '') throw new Fault('usage', `<${argument.name()}> is empty`);
    return id;
  };
  if (argument.variadic)
    argument.argParser((text: string, before: string[] | undefined) => [
      ...(before ?? []),
      one(text),
    ]);
  else argument.argParser(one);
}

/** A value that an option cannot take is refused with the name of the option. */
function nameIn(option: Option): void {
  const { parseArg } = option;
  if (parseArg === undefined) return;
  option.argParser((text: string, before: unknown) => {
    try {
      return parseArg(text, before);
    } catch (error) {
      if (!isFault(error, 'usage')) throw error;
      throw new Fault('usage', `${option.long ?? option.flags}: ${error.detail}`, { cause: error });
    }
  });
}
