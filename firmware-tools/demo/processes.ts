// The processes of the demo: commands that are run and awaited (each printed as an operator would
// type it) and daemons that stay, with their logs in files. Everything that was started is stopped
// again, also after an error, and nothing is started after that.
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { asError } from '../../shared/base/fault-codes.js';
import { EXIT, isErrorBody } from '../cli/output.js';

const LINNET = fileURLToPath(new URL('../cli/main.js', import.meta.url));
const STOP_GRACE_MS = 10_000;
const LAST_LINES = 15;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProcessesOptions {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  readonly say: (text: string) => void;
  /** Called when a daemon ends that was not stopped. */
  readonly onDeath: (detail: string) => void;
  /** The script that is run in place of `linnet` (tests). */
  readonly script?: string;
}

export class Processes {
  readonly #daemons: { name: string; child: ChildProcess; log: string }[] = [];
  readonly #commands = new Set<ChildProcess>();
  #stopping = false;

  readonly #root: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #say: (text: string) => void;
  readonly #onDeath: (detail: string) => void;
  readonly #script: string;

  constructor({ root, env, say, onDeath, script = LINNET }: ProcessesOptions) {
    this.#root = root;
    this.#env = env;
    this.#say = say;
    this.#onDeath = onDeath;
    this.#script = script;
  }

  /**
   * Runs `linnet ...` with --json and returns its value; throws with the command's own
   * output when its exit code is not expected.
   */
  async linnet<T>(args: readonly string[], expected: readonly number[] = [0]): Promise<T> {
    this.#say(
      '  $ linnet ' +
        args.map((arg) => (arg.startsWith('/') ? relative(this.#root, arg) || '.' : arg)).join(' '),
    );
    return this.quiet<T>(args, expected);
  }

  /** The same without printing the command line, for polling. */
  async quiet<T>(args: readonly string[], expected: readonly number[] = [0]): Promise<T> {
    const ran = await this.#run([...args, '--json']);
    if (!expected.includes(ran.code))
      throw new Error(
        `linnet ${args[0] ?? ''} ${args[1] ?? ''} ended with exit code ${ran.code}: ` +
          `${ran.stdout}${ran.stderr}`,
      );
    return JSON.parse(ran.stdout) as T;
  }

  /**
   * Runs a `linnet` command that prints one JSON value a line for as long as it watches; returns
   * its exit code, 0 or 6. Throws with the command's own output for any other, and with the error
   * when a line is no JSON or `onValue` throws.
   */
  async follow(args: readonly string[], onValue: (value: unknown) => void): Promise<number> {
    let rest = '';
    let refusal = '';
    const take = (line: string): void => {
      if (line.trim() === '') return;
      const value: unknown = JSON.parse(line);
      if (isErrorBody(value)) refusal = `${value.code}: ${value.error}`;
      else onValue(value);
    };
    const ran = await this.#run([...args, '--json'], (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      lines.forEach(take);
    });
    if (ran.code !== EXIT.done && ran.code !== EXIT.badNews)
      throw new Error(
        `linnet ${args.slice(0, 2).join(' ')} ended with exit code ${ran.code}: ` +
          `${refusal}${ran.stderr}`,
      );
    take(rest);
    return ran.code;
  }

  /**
   * Starts a daemon whose output goes to `<root>/<name>.log`. Its death is reported, unless it is
   * being stopped.
   */
  daemon(name: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): void {
    this.#requireNotStopping(name);
    const log = join(this.#root, `${name}.log`);
    const file = openSync(log, 'a');
    const child = spawn(process.execPath, [this.#script, ...args], {
      cwd: this.#root,
      env: { ...this.#env, ...env },
      stdio: ['ignore', file, file],
    });
    closeSync(file);
    this.#daemons.push({ name, child, log });
    child.on('exit', (code, signal) => {
      if (!this.#stopping && this.#daemons.some((one) => one.child === child))
        this.#onDeath(
          `${name} ended (${signal ?? `exit ${code ?? '?'}`}); ` +
            `last lines of ${log}:\n${lastLines(log)}`,
        );
    });
  }

  /** Switches a daemon off; it may be started again. */
  async stopDaemon(name: string): Promise<void> {
    const at = this.#daemons.findIndex((one) => one.name === name);
    const [daemon] = at < 0 ? [] : this.#daemons.splice(at, 1);
    if (daemon === undefined) throw new Error(`no daemon is called ${name}`);
    await stopped(daemon.child);
  }

  /**
   * Stops running commands and daemons, and refuses to start any more; a second call waits for the
   * same processes.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.#commands, ...this.#daemons.map(({ child }) => child)].map(stopped));
  }

  #requireNotStopping(what: string): void {
    if (this.#stopping) throw new Error(`${what} is not started: everything is being stopped`);
  }

  async #run(args: readonly string[], onText: (text: string) => void = () => {}): Promise<Ran> {
    this.#requireNotStopping(`linnet ${args.slice(0, 2).join(' ')}`);
    const child = spawn(process.execPath, [this.#script, ...args], {
      cwd: this.#root,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#commands.add(child);
    let stdout = '';
    let stderr = '';
    let broken: Error | null = null;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (broken !== null) return;
      try {
        onText(text);
      } catch (error) {
        // Thrown here it would end the demo without stopping anything; the caller that awaits the
        // command gets it instead.
        broken = asError(error);
        child.kill('SIGTERM');
      }
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => {
        this.#commands.delete(child);
        if (broken === null) resolve({ code: code ?? 1, stdout, stderr });
        else reject(broken);
      });
    });
  }
}

/** Sends SIGTERM, and SIGKILL after STOP_GRACE_MS; resolves when the process has ended. */
function stopped(child: ChildProcess): Promise<void> {
  return new Promise<void>((resolve) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
      resolve();
      return;
    }
    const kill = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
    child.once('exit', () => {
      clearTimeout(kill);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

function lastLines(log: string): string {
  return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-LAST_LINES).join('\n');
}

/** `preferred` when nothing listens there, else a port that the system picks. */
export async function freePort(preferred: number): Promise<number> {
  return (await tryPort(preferred)) ?? (await tryPort(0)) ?? 0;
}

function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        resolve(typeof address === 'object' && address !== null ? address.port : null),
      );
    });
  });
}
