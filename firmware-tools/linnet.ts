#!/usr/bin/env node
// The `linnet` command: a thin dispatcher. Each subcommand loads exactly one sibling (agent, server or a part of the
// release desk), so that a device is packaged without the server and the other way round. `--json` and `--help` work at
// every level; exit codes are those of cli/output.ts.
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { EXIT, makeOutput, printError, type Output, type Streams } from './cli/output.js';

type Register = (program: Command, out: Output) => void;
interface Entry {
  readonly about: string;
  readonly load: () => Promise<Register>;
}

const desk = {
  model: {
    about: 'inspect and quantize ONNX models',
    load: async () => (await import('./model/commands.js')).registerModelCommands,
  },
  keys: { about: 'make and show signing keys', load: async () => (await import('./keys/commands.js')).registerKeyCommands },
  repo: {
    about: 'make a new image and director repository',
    load: async () => (await import('./repo/commands.js')).registerRepoCommands,
  },
  bundle: {
    about: 'build, inspect and verify release bundles',
    load: async () => (await import('./bundle/commands.js')).registerBundleCommands,
  },
  publish: {
    about: 'sign a release into the image repository and upload it',
    load: async () => (await import('./publish.js')).registerPublishCommand,
  },
  device: {
    about: 'list, show, claim, approve and revoke devices',
    load: async () => (await import('./fleet/commands.js')).registerFleetCommands,
  },
  group: {
    about: 'list groups, put devices into them',
    load: async () => (await import('./fleet/commands.js')).registerFleetCommands,
  },
  rollout: {
    about: 'create, start, watch, pause, resume and abort rollouts',
    load: async () => (await import('./fleet/commands.js')).registerFleetCommands,
  },
  token: {
    about: 'make, list and revoke operator tokens',
    load: async () => (await import('./fleet/commands.js')).registerFleetCommands,
  },
  audit: {
    about: 'read and verify the audit log',
    load: async () => (await import('./fleet/commands.js')).registerFleetCommands,
  },
} satisfies Record<string, Entry>;

const COMMANDS: Readonly<Record<string, Entry>> = {
  server: { about: 'run the fleet server', load: async () => (await import('../server/commands.js')).registerServerCommands },
  agent: { about: 'run the device agent', load: async () => (await import('../agent/commands.js')).registerAgentCommands },
  ...desk,
};

const version = (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version;

const EPILOGUE = `
--json prints one JSON value on stdout (for machines). Exit codes: 0 done, 1 bug, 2 usage, 3 refused,
4 the world failed (try again), 5 bounds reached, 6 it ran and the answer is bad news (a reverted rollout).`;

/** Runs one command line; `args` without node and script. Returns the exit code. */
export async function linnet(args: readonly string[], streams: Streams): Promise<number> {
  const end = args.indexOf('--');
  const isJson = (arg: string, at: number): boolean => arg === '--json' && (end === -1 || at < end);
  const json = args.some(isJson);
  const rest = args.filter((arg, at) => !isJson(arg, at));
  const program = new Command('linnet')
    .version(version)
    .description('Edge AI runtime, secure over-the-air updates, and the fleet behind them.')
    .addHelpText('after', EPILOGUE);
  program
    .option('--json', 'print one JSON value instead of text (anywhere on the line)')
    .configureOutput({ writeOut: streams.out, writeErr: streams.err })
    .exitOverride();
  try {
    const entry = COMMANDS[rest[0] ?? ''];
    if (entry === undefined) for (const [name, { about }] of Object.entries(COMMANDS)) program.command(name).description(about);
    else (await entry.load())(program, makeOutput(json, streams));
    inherit(program);
    await program.parseAsync([...rest], { from: 'user' });
    return process.exitCode === undefined ? EXIT.done : Number(process.exitCode);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 || error.code === 'commander.help' ? EXIT.done : EXIT.usage;
    return printError(error, json, streams);
  }
}

/** Commander passes exitOverride and outputs on only to commands added after; these were added by their rooms. */
function inherit(command: Command): void {
  for (const inner of command.commands) {
    inner.copyInheritedSettings(command);
    inherit(inner);
  }
}

process.exitCode = await linnet(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
