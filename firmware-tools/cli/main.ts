#!/usr/bin/env node
// The `linnet` command: a thin dispatcher. Each subcommand loads one module only (of the agent, of
// the server or of the firmware tools), so that a device is packaged without the server and the
// server without the tools. `--json` and `--help` work at every level; exit codes are those of
// cli/output.ts.
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';
import { EXIT, EXIT_MEANING, makeOutput, printError, type Output, type Streams } from './output.js';
import { printable } from './printable.js';

type Register = (program: Command, out: Output) => void;
interface Entry {
  readonly about: string;
  readonly load: () => Promise<Register>;
}

const tools = {
  model: {
    about: 'inspect and quantize ONNX models',
    load: async () => (await import('./commands/model.js')).registerModelCommands,
  },
  keys: {
    about: 'make and show signing keys',
    load: async () => (await import('./commands/keys.js')).registerKeyCommands,
  },
  repo: {
    about: 'make a new image and director repository',
    load: async () => (await import('./commands/repository.js')).registerRepoCommands,
  },
  bundle: {
    about: 'build, inspect and verify release bundles',
    load: async () => (await import('./commands/bundle.js')).registerBundleCommands,
  },
  acceptance: {
    about: 'labelled inputs that releases must pass',
    load: async () => (await import('./commands/acceptance.js')).registerAcceptanceCommands,
  },
  publish: {
    about: 'sign a release into the image repository and upload it',
    load: async () => (await import('./commands/publish.js')).registerPublishCommand,
  },
  device: {
    about: 'list, show, label, claim, approve, replace and revoke devices; their history',
    load: async () => (await import('./commands/fleet.js')).registerFleetCommands,
  },
  group: {
    about: 'list groups, put devices into them',
    load: async () => (await import('./commands/fleet.js')).registerFleetCommands,
  },
  release: {
    about: 'list published releases, show what they hold and what they were made from',
    load: async () => (await import('./commands/fleet.js')).registerFleetCommands,
  },
  rollout: {
    about: 'create, start, watch, pause, resume and abort rollouts',
    load: async () => (await import('./commands/fleet.js')).registerFleetCommands,
  },
  telemetry: {
    about: 'read and follow what devices report',
    load: async () => (await import('./commands/fleet.js')).registerFleetCommands,
  },
  login: {
    about: 'keep server, CA and token of a fleet, so that commands need no options',
    load: async () => (await import('./commands/login.js')).registerLoginCommands,
  },
  logout: {
    about: 'forget the token of a profile',
    load: async () => (await import('./commands/login.js')).registerLoginCommands,
  },
  profile: {
    about: 'list profiles, choose the one that commands use',
    load: async () => (await import('./commands/login.js')).registerLoginCommands,
  },
  token: {
    about: 'make, list and revoke operator tokens',
    load: async () => (await import('./commands/fleet.js')).registerFleetCommands,
  },
  completion: {
    about: 'print a completion script for bash, zsh or fish',
    load: async () => {
      const { registerCompletionCommand } = await import('./commands/completion.js');
      return (program, out) => registerCompletionCommand(program, out, commandTree);
    },
  },
  audit: {
    about: 'read, export and verify the audit log',
    load: async () => (await import('./commands/fleet.js')).registerFleetCommands,
  },
  security: {
    about: 'list and follow security events',
    load: async () => (await import('./commands/fleet.js')).registerFleetCommands,
  },
} satisfies Record<string, Entry>;

const COMMANDS: Readonly<Record<string, Entry>> = {
  server: {
    about: 'run the fleet server',
    load: async () => (await import('../../server/commands.js')).registerServerCommands,
  },
  agent: {
    about: 'run the device agent',
    load: async () => (await import('../../agent/commands.js')).registerAgentCommands,
  },
  ...tools,
};

const version = versionOf(dirname(fileURLToPath(import.meta.url)));

/** The version in the package.json above: two folders up from dist/, one from the sources. */
function versionOf(folder: string): string {
  const file = join(folder, 'package.json');
  if (!existsSync(file)) return versionOf(dirname(folder));
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

const EPILOGUE = `
--json prints one JSON value on stdout (for machines). Exit codes:
${(Object.keys(EXIT) as (keyof typeof EXIT)[])
  .map((name) => `  ${EXIT[name]}  ${EXIT_MEANING[name]}`)
  .join('\n')}`;

/** Every command, each of its modules loaded. For completion scripts, documents and tests. */
export async function commandTree(): Promise<Command> {
  const program = withHead(new Command('linnet'));
  const out = makeOutput(false, { out: () => {}, err: () => {} });
  const registered = new Set<Register>();
  for (const { load } of Object.values(COMMANDS)) {
    const register = await load();
    if (!registered.has(register)) register(program, out);
    registered.add(register);
  }
  return program;
}

const withHead = (program: Command): Command =>
  program
    .version(version)
    .description('Edge AI runtime, secure over-the-air updates, and the fleet behind them.')
    .option('--json', 'print one JSON value instead of text (anywhere on the line)')
    .addHelpText('after', EPILOGUE);

/** Runs one command line; `args` without node and script. Returns the exit code. */
export async function linnet(args: readonly string[], streams: Streams): Promise<number> {
  const end = args.indexOf('--');
  const isJson = (arg: string, at: number): boolean => arg === '--json' && (end === -1 || at < end);
  const json = args.some(isJson);
  const rest = helpLast(args.filter((arg, at) => !isJson(arg, at)));
  const program = withHead(new Command('linnet'));
  program
    // With --json what commander would write to stderr becomes an error on stdout, below.
    .configureOutput({
      writeOut: streams.out,
      writeErr: json ? () => {} : (text) => streams.err(printable(text)),
    })
    .exitOverride();
  try {
    const entry = Object.hasOwn(COMMANDS, rest[0] ?? '') ? COMMANDS[rest[0] ?? ''] : undefined;
    if (entry === undefined)
      for (const [name, { about }] of Object.entries(COMMANDS))
        program.command(name).description(about);
    else (await entry.load())(program, makeOutput(json, streams));
    inherit(program);
    await program.parseAsync([...rest], { from: 'user' });
    return process.exitCode === undefined ? EXIT.done : Number(process.exitCode);
  } catch (error) {
    if (!(error instanceof CommanderError)) return printError(error, json, streams);
    if (error.exitCode === 0) return EXIT.done;
    // Commander has printed its own message (or, for a missing subcommand, the help) on stderr.
    return json
      ? printError(new Fault('usage', commanderText(error, rest)), json, streams)
      : EXIT.usage;
  }
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

function commanderText(error: CommanderError, args: readonly string[]): string {
  // Its message for a command line without its subcommand is '(outputHelp)'.
  if (error.code === 'commander.help') return `${['linnet', ...args].join(' ')} needs a subcommand`;
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

/** Whether this file is the program that runs, however it was called (npx calls it by a link). */
function isProgram(): boolean {
  const script = process.argv[1];
  return script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url);
}

if (isProgram()) {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error) => {
      // The reader closed the pipe (`linnet ... | head`): nobody reads the rest.
      if (systemCode(error) === 'EPIPE') process.exit();
      throw error;
    });
  process.exitCode = await linnet(process.argv.slice(2), {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    terminal: async () => (await import('./terminal.js')).terminalOf(process.stdout),
  });
}
