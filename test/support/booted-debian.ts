// A Debian system that is booted: systemd is its first process, in namespaces of its own, with a
// loopback and no other network (systemd-nspawn). It ends with the process that booted it. What is
// below /run and /tmp of it is in its memory and not in its folder.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isInstalled } from '../../firmware-tools/package/tools.js';
import { missingForDebian, SEARCH_PATH, type DebianRoot } from './debian-root.js';
import { until } from './journey-devices.js';

const PROGRAMS = ['systemd-nspawn', 'nsenter', 'setpriv'];
const LIMIT_MS = 300_000;
const OPTIONS = [
  '--quiet',
  '--boot',
  // The host may have another systemd, or none: nothing is asked of it.
  '--register=no',
  '--keep-unit',
  '--private-network',
  '--link-journal=no',
  '--console=pipe',
];

/** What this machine lacks; null: it may be able to boot a Debian system. */
export const missingForBoot = (): string | null =>
  missingForDebian() ??
  PROGRAMS.find((each) => !isInstalled(each)) ??
  (process.arch === 'x64' ? null : 'a processor of the kind x64');

export class BootedDebian {
  private constructor(
    readonly root: DebianRoot,
    readonly child: ChildProcess,
    readonly logFile: string,
  ) {}

  /** Rejects, with what the boot wrote, where this machine lets no systemd run. */
  static async boot(root: DebianRoot): Promise<BootedDebian> {
    const name = basename(root.folder);
    writeFileSync(root.path('etc/hostname'), `${name}\n`);
    writeFileSync(root.path('etc/hosts'), `127.0.0.1 localhost ${name}\n`);
    const logFile = join(dirname(root.folder), `${name}.boot.log`);
    const log = openSync(logFile, 'a');
    const args = ['--pdeathsig', 'TERM', 'systemd-nspawn', `--directory=${root.folder}`];
    const child = spawn('setpriv', [...args, ...OPTIONS], {
      stdio: ['ignore', log, log],
      env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
    });
    const booted = new BootedDebian(root, child, logFile);
    try {
      await until('systemd has started everything', () => booted.#isUp(), LIMIT_MS);
    } catch (error) {
      await booted.end();
      throw new Error(`no systemd runs here: ${readFileSync(logFile, 'utf8')}`, { cause: error });
    }
    return booted;
  }

  path(inside: string): string {
    return this.root.path(inside);
  }

  /** Runs a shell script as root in /root, stopping at the first command that fails. */
  run(script: string): string {
    const { status, signal, stdout, stderr } = this.#inside(script);
    if (status === 0) return stdout;
    throw new Error(`${script}\nfailed (exit ${signal ?? status})\n${stdout}${stderr}`);
  }

  /** Everything that runs there is stopped in order; `boot` starts the system again. */
  async powerOff(): Promise<void> {
    this.#inside('systemctl poweroff');
    await until('the system is off', () => this.#isOff(), LIMIT_MS);
  }

  /** At once. What runs there would outlive a systemd-nspawn that is killed. */
  async end(): Promise<void> {
    this.child.kill('SIGTERM');
    await until('systemd-nspawn ends', () => this.#isOff(), LIMIT_MS);
  }

  #isOff(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  #isUp(): boolean {
    if (this.#isOff()) throw new Error('systemd-nspawn ended');
    return /^(?:running|degraded)\n$/.test(this.#inside('systemctl is-system-running').stdout);
  }

  #inside(script: string): { status: number | null; signal: string | null } & Output {
    const { pid } = this.child;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    const [first = ''] = children.split(' ');
    const settings = [`PATH=${SEARCH_PATH}`, 'HOME=/root', 'LC_ALL=C'];
    return spawnSync(
      'nsenter',
      [
        ...['--target', first, '--all', '--root', '--wd'],
        ...['/usr/bin/env', '-i', ...settings, 'DEBIAN_FRONTEND=noninteractive'],
        ...['bash', '--norc', '-euo', 'pipefail', '-c', `cd\n${script}`],
      ],
      { encoding: 'utf8', killSignal: 'SIGKILL' },
    );
  }
}

interface Output {
  readonly stdout: string;
  readonly stderr: string;
}
