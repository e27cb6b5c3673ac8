#!/usr/bin/env node
// The `linnet` command: a thin dispatcher. Each subcommand loads one module only (of the agent, of
// the server or of the firmware tools), so that a device is packaged without the server and the
// server without the tools. Modules in commands/ say what commands are called and take; what a
// command does is in actions/, under the same name, and is loaded when it runs, so that --help and
// completion load neither schemas nor runtimes. How a command line is run is in runner.ts.
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { makeOutput, type Streams } from './output.js';
import { runCommandLine, runProcess, withHead, type Register } from './runner.js';

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
  standing: {
    about: 'list what devices take that enrol or return',
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

/** Every command, each of its modules loaded. For completion scripts, documents and tests. */
export async function commandTree(): Promise<Command> {
  const program = newProgram();
  const out = makeOutput(false, { out: () => {}, err: () => {} });
  const registered = new Set<Register>();
  for (const { load } of Object.values(COMMANDS)) {
    const register = await load();
    if (!registered.has(register)) register(program, out);
    registered.add(register);
  }
  return program;
}

const newProgram = (): Command =>
  withHead(
    new Command('linnet').description(
      'Edge AI runtime, secure over-the-air updates, and the fleet behind them.',
    ),
  );

/** Runs one command line; `args` without node and script. Returns the exit code. */
export const linnet = (args: readonly string[], streams: Streams): Promise<number> =>
  runCommandLine(newProgram(), {
    args,
    streams,
    register: async (program, out, [first = '']) => {
      const entry = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined;
      if (entry === undefined)
        for (const [name, { about }] of Object.entries(COMMANDS))
          program.command(name).description(about);
      else (await entry.load())(program, out);
    },
  });

/** Whether this file is the program that runs, however it was called (npx calls it by a link). */
function isProgram(): boolean {
  const script = process.argv[1];
  return script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url);
}

if (isProgram())
  await runProcess((args, streams) =>
    linnet(args, {
      ...streams,
      terminal: async () => (await import('./terminal.js')).terminalOf(process.stdout),
    }),
  );
