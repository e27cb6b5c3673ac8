// What the packages of an agent, of a server and of an operator's commands differ in.
import { cpSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Metafile } from 'esbuild';
import { packagesOf } from './packages-of.js';
import { project, type Architecture } from './tools.js';

export interface PackageKind {
  readonly name: string;
  /** Beside this file: units, scripts and settings. */
  readonly templates: string;
  /** Folder in dist/, the program there, and its source. */
  readonly folder: string;
  readonly program: string;
  readonly source: string;
  /**
   * Whether it starts only when every file of the package is there (entry/whole-installation.ts).
   * That takes some milliseconds of each start, for which a person would wait.
   */
  readonly looksFirst: boolean;
  /** Whether it starts model processes, whose program is beside it. */
  readonly hasModelProcess: boolean;
  /** The command of `linnet` that the program is; null: all of them. */
  readonly command: 'agent' | 'server' | null;
  readonly nodeFlags: string;
  /** Section of the manual. */
  readonly manual: 1 | 8;
  /** Template, path in the package, mode. */
  readonly files: readonly (readonly [string, string, number])[];
  /**
   * Puts what is neither bundled nor a template into the package's home. Returns the folders of the
   * npm packages of which it was made.
   */
  readonly extra: (home: string, arch: Architecture) => readonly string[];
  readonly about: readonly string[];
}

const ORT = 'node_modules/onnxruntime-node';
const ORT_COMMON = 'node_modules/onnxruntime-common';

export const DEVICE: PackageKind = {
  name: 'linnet-agent',
  templates: 'device',
  folder: 'agent',
  program: 'agent',
  source: 'firmware-tools/cli/agent-program.ts',
  looksFirst: true,
  hasModelProcess: true,
  command: 'agent',
  // New objects get little memory: measured, 12 MiB less for an idle agent.
  nodeFlags: '--max-semi-space-size=1',
  manual: 8,
  files: [
    ['linnet-agent.service', 'usr/lib/systemd/system/linnet-agent.service', 0o644],
    ['linnet-agent', 'usr/bin/linnet-agent', 0o755],
    ['tmpfiles', 'usr/lib/tmpfiles.d/linnet-agent.conf', 0o644],
    ['logrotate', 'etc/logrotate.d/linnet-agent', 0o644],
    ['openrc', 'usr/share/doc/linnet-agent/examples/openrc', 0o755],
    ['runit', 'usr/share/doc/linnet-agent/examples/runit/run', 0o755],
    ['runit-log', 'usr/share/doc/linnet-agent/examples/runit/log/run', 0o755],
    ['agent.toml', 'etc/linnet/agent.toml', 0o644],
    ['default', 'etc/default/linnet-agent', 0o644],
  ],
  extra: onnxRuntime,
  about: [
    'runs machine learning models on this device, with signed updates',
    'The agent serves models to local applications, takes signed updates from a fleet',
    'server, tries each before it serves it, and goes back when it is worse.',
  ],
};

export const SERVER: PackageKind = {
  name: 'linnet-server',
  templates: 'server',
  folder: 'server',
  program: 'server',
  source: 'firmware-tools/cli/server-program.ts',
  looksFirst: true,
  hasModelProcess: false,
  command: 'server',
  nodeFlags: '',
  manual: 8,
  files: [
    ['linnet-server.service', 'usr/lib/systemd/system/linnet-server.service', 0o644],
    ['linnet-server', 'usr/bin/linnet-server', 0o755],
    ['logrotate', 'etc/logrotate.d/linnet-server', 0o644],
    ['openrc', 'usr/share/doc/linnet-server/examples/openrc', 0o755],
    ['runit', 'usr/share/doc/linnet-server/examples/runit/run', 0o755],
    ['runit-log', 'usr/share/doc/linnet-server/examples/runit/log/run', 0o755],
    ['fleet.toml', 'etc/linnet-server/fleet.toml', 0o644],
    ['default', 'etc/default/linnet-server', 0o644],
  ],
  extra: console,
  about: [
    'manages a fleet of devices that run machine learning models',
    'The server keeps signed releases, brings them to devices in waves, and stops a',
    'rollout whose devices do worse than before.',
  ],
};

/** Every command of `linnet`: who has it needs no clone of this repository. */
export const OPERATOR: PackageKind = {
  name: 'linnet',
  templates: 'operator',
  folder: 'linnet',
  program: 'linnet',
  source: 'firmware-tools/cli/main.ts',
  looksFirst: false,
  hasModelProcess: true,
  command: null,
  nodeFlags: '',
  manual: 1,
  files: [['linnet', 'usr/bin/linnet', 0o755]],
  extra: (home, arch) => [...onnxRuntime(home, arch), ...console(home)],
  about: [
    'builds, signs, publishes and rolls out machine learning models',
    'The command of the people who operate a fleet: it quantizes models, builds and signs',
    'releases, and speaks to the fleet server. It can also run an agent and a server.',
  ],
};

/** ONNX Runtime's own loader finds its library by this folder, so it keeps its form. */
function onnxRuntime(home: string, arch: Architecture): string[] {
  const binaries = join('bin', 'napi-v6', 'linux', arch);
  for (const [folder, parts] of [
    [ORT, ['package.json', 'dist', binaries]],
    [ORT_COMMON, ['package.json', join('dist', 'cjs')]],
  ] as const)
    for (const part of parts)
      cpSync(join(project, folder, part), join(home, folder, part), {
        recursive: true,
        filter: (path) => !/\.(?:d\.ts|map)$/.test(path),
      });
  return [ORT, ORT_COMMON];
}

/**
 * The files of the console that was built into dist; the server looks for them at this place. Notes
 * of the build (their names begin with a dot) stay behind.
 */
function console(home: string): string[] {
  const site = join('dist', 'server', 'console', 'site');
  cpSync(join(project, site), join(home, site), {
    recursive: true,
    filter: (path) => !basename(path).startsWith('.'),
  });
  const made = readFileSync(join(project, site, '.made-of.json'), 'utf8');
  return packagesOf(JSON.parse(made) as Pick<Metafile, 'outputs'>);
}
