// A Debian system in a folder. debootstrap makes it once, in a cache outside the project; each test
// works in a copy. Programs run in it by chroot, with a /proc of their own. No systemd runs there:
// the program of a unit is started as its unit file says, by the unit's user. One of the systems
// can be booted (booted-debian.ts); its units are started by systemd.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { isInstalled, run, type Architecture } from '../../firmware-tools/package/tools.js';
import { CPUINFO, EMULATION } from './arm64-programs.js';
import { until } from './journey-devices.js';

interface BaseSystem {
  readonly suite: string;
  /** Of the folder in the cache. */
  readonly name: string;
  readonly options: readonly string[];
  readonly arch: Architecture;
}

/** What copies are made of. The minimal ones have in addition what the documents use. */
const BASES = {
  x64: {
    suite: 'bookworm',
    name: 'debian-bookworm-amd64',
    options: ['--include=curl,iproute2'],
    arch: 'x64',
  },
  /** Unpacked only: its packages' scripts would take minutes under emulation. */
  arm64: {
    suite: 'bookworm',
    name: 'debian-bookworm-arm64',
    options: ['--foreign', '--arch=arm64'],
    arch: 'arm64',
  },
  /** With systemd, and with the Node.js that packages without one need. */
  systemd: {
    suite: 'trixie',
    name: 'debian-trixie-systemd-amd64',
    options: ['--include=curl,iproute2,systemd-sysv,dbus,sudo,adduser,nodejs'],
    arch: 'x64',
  },
} as const satisfies Readonly<Record<string, BaseSystem>>;
export const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const PROGRAMS = ['debootstrap', 'chroot', 'unshare', 'mount', 'dpkg-deb', 'xz'];

/** What this machine lacks; null: a Debian system can be made and used. */
export function missingForDebian(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'root on Linux';
  const program = PROGRAMS.find((each) => !isInstalled(each));
  if (program !== undefined) return program;
  const mount = ['--mount', '--net', 'mount', '-t', 'proc', 'proc', '/proc'];
  return spawnSync('unshare', mount).status === 0 ? null : 'the right to make mounts and networks';
}

/** Folder of the system that copies are made of. It stays from test to test. */
function baseFolder({ suite, name, options, arch }: BaseSystem): string {
  const cache = process.env['LINNET_CACHE'] ?? join(homedir(), '.cache', 'linnet');
  const base = join(cache, name);
  if (existsSync(base)) return base;
  const fresh = `${base}.${process.pid}`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  run('debootstrap', ['--variant=minbase', ...options, suite, fresh]);
  // In a container debootstrap puts links to the folders of this machine here.
  for (const folder of ['proc', 'sys']) {
    rmSync(join(fresh, folder), { recursive: true, force: true });
    mkdirSync(join(fresh, folder));
  }
  if (arch === 'arm64')
    for (const file of ['passwd', 'group'])
      copyFileSync(
        join(fresh, 'usr/share/base-passwd', `${file}.master`),
        join(fresh, 'etc', file),
      );
  for (const folder of ['var/cache/apt/archives', 'var/lib/apt/lists'])
    rmSync(join(fresh, folder), { recursive: true, force: true });
  // Two tests may have made one at once: the first one stays.
  if (existsSync(base)) rmSync(fresh, { recursive: true });
  else renameSync(fresh, base);
  return base;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** A loopback of its own and no other network; what the script started ends with it. */
  readonly alone?: boolean;
  readonly limitMs?: number;
}

export interface Service {
  readonly child: ChildProcess;
  /** What it wrote so far. */
  log(): string;
  /** By SIGTERM, as systemd does; rejects when its exit code is not 0. */
  stop(): Promise<void>;
}

interface Unit {
  readonly command: readonly string[];
  readonly user: string;
  readonly umask: string;
  readonly workingDirectory: string;
  readonly env: Readonly<Record<string, string>>;
  /** Folders that systemd makes for the unit's user: path and mode. */
  readonly folders: readonly (readonly [string, string])[];
}

export class DebianRoot {
  private constructor(
    readonly folder: string,
    readonly arch: Architecture,
  ) {}

  /** A fresh copy; `folder` must not exist. */
  static make(folder: string, base: keyof typeof BASES = 'x64'): DebianRoot {
    const { arch } = BASES[base];
    run('cp', ['-a', '--reflink=auto', baseFolder(BASES[base]), folder]);
    if (arch === 'arm64') writeFileSync(join(folder, 'root/cpuinfo'), CPUINFO);
    return new DebianRoot(folder, arch);
  }

  /** In place of dpkg, where the system is unpacked only: the files, and the user of the unit. */
  unpack(deb: string, user: string, home: string): void {
    run('dpkg-deb', ['-x', deb, this.folder]);
    appendFileSync(this.path('etc/passwd'), `${user}:x:990:990::${home}:/usr/sbin/nologin\n`);
    appendFileSync(this.path('etc/group'), `${user}:x:990:\n`);
  }

  path(inside: string): string {
    return join(this.folder, inside);
  }

  /** Runs a shell script as root in /root, stopping at the first command that fails. */
  run(script: string, { env = {}, alone = false, limitMs }: RunOptions = {}): string {
    const spaces = alone ? ['--net', '--pid', '--fork', '--kill-child'] : [];
    const inside = alone ? `ip link set lo up\n${script}` : script;
    const shell = ['bash', '--norc', '-euo', 'pipefail', '-c', `cd\n${inside}`];
    const [command, ...args] = this.#enter(spaces, [], env, shell);
    const { status, signal, stdout, stderr } = spawnSync(command, args, {
      encoding: 'utf8',
      killSignal: 'SIGKILL',
      ...(limitMs === undefined ? {} : { timeout: limitMs }),
    });
    if (status === 0) return stdout;
    throw new Error(`${script}\nfailed (exit ${signal ?? status})\n${stdout}${stderr}`);
  }

  /** Starts the program of an installed unit. */
  start(name: string): Service {
    const unit = this.#unit(name);
    const { user, umask, command, workingDirectory, env, folders } = unit;
    for (const [path, mode] of folders)
      this.run(`install -d -m ${mode} -o ${user} -g ${user} ${path}`);
    const line = `umask ${umask}; cd ${workingDirectory}; exec "$@"`;
    const file = join(dirname(this.folder), `${name}.log`);
    const log = openSync(file, 'a');
    const [program, ...args] = this.#enter([], [`--userspec=${user}:${user}`], env, [
      ...['sh', '-c', line, 'sh'],
      ...command,
    ]);
    const child = spawn(program, args, { stdio: ['ignore', log, log] });
    return {
      child,
      log: () => readFileSync(file, 'utf8'),
      stop: async () => {
        child.kill('SIGTERM');
        await until(`${name} stops`, () => child.exitCode !== null || child.signalCode !== null);
        if (child.exitCode !== 0)
          throw new Error(`${name} ended with ${child.exitCode ?? child.signalCode}`);
      },
    };
  }

  /** The programs exec each other, so that a signal to the process reaches the last one. */
  #enter(
    unshare: readonly string[],
    chroot: readonly string[],
    env: RunOptions['env'],
    command: readonly string[],
  ): [string, ...string[]] {
    const emulated = this.arch === 'arm64';
    const own = emulated ? EMULATION : {};
    const given = { PATH: SEARCH_PATH, HOME: '/root', LC_ALL: 'C', ...own, ...env };
    const settings = Object.entries(given).map(([name, value]) => `${name}=${value}`);
    const processor =
      'mount -t sysfs -o ro sysfs "$0/sys"; mount --bind "$0/root/cpuinfo" "$0/proc/cpuinfo"; ';
    const mount = `mount -t proc proc "$0/proc"; ${emulated ? processor : ''}exec chroot "$@"`;
    return [
      ...(['unshare', '--mount', ...unshare, 'sh', '-ec', mount, this.folder] as const),
      ...chroot,
      this.folder,
      ...['/usr/bin/env', '-i', ...settings],
      ...command,
    ];
  }

  #unit(name: string): Unit {
    const text = readFileSync(this.path(`usr/lib/systemd/system/${name}.service`), 'utf8');
    const all = (key: string): string[] =>
      [...text.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value);
    const one = (key: string): string => {
      const [value] = all(key);
      if (value === undefined) throw new Error(`the unit ${name} has no ${key}`);
      return value;
    };
    const needed = one('ConditionPathExists');
    if (!existsSync(this.path(needed))) throw new Error(`the unit ${name} needs ${needed}`);
    const settings = [
      ...all('Environment'),
      ...readFileSync(this.path(one('EnvironmentFile').replace(/^-/, '')), 'utf8')
        .split('\n')
        .filter((line) => /^\w+=/.test(line)),
    ];
    const pairs = settings.map((line) => /^(\w+)=(.*)$/.exec(line) ?? []);
    return {
      command: one('ExecStart').split(' '),
      user: one('User'),
      umask: one('UMask'),
      workingDirectory: one('WorkingDirectory'),
      env: Object.fromEntries(pairs.map(([, key = '', value = '']) => [key, value])),
      folders: [
        [`/var/lib/${one('StateDirectory')}`, one('StateDirectoryMode')] as const,
        ...all('RuntimeDirectory').map(
          (folder) => [`/run/${folder}`, one('RuntimeDirectoryMode')] as const,
        ),
      ],
    };
  }
}
