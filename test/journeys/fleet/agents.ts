// The devices of the fleet journey from outside: their folders and configuration, the processes
// that run their agents (agents-child.ts), and what is true on their disks.
import { fork, type ChildProcess } from 'node:child_process';
import { createWriteStream, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeRecord, type UpdateRecord } from '../../../agent/update/record.js';
import { loadDigits } from '../../../firmware-tools/demo/digits/data.js';
import { makeClaim, type TestFleet } from '../../support/fleet-server.js';
import { agentConfig, FLEET_AGENTS } from '../../support/journey-devices.js';

export interface DeviceSpec {
  readonly name: string;
  /** Path of its configuration. */
  readonly config: string;
  /** A real model process, where other devices have their model in the process of the agents. */
  readonly hasModelProcess: boolean;
  /** Index of the input that its application begins with. */
  readonly firstInput: number;
  /** Requests a second of its application while it is busy. */
  readonly busyPerSecond: number;
}

export type Question =
  | { readonly what: 'start'; readonly specs: readonly DeviceSpec[] }
  | { readonly what: 'stop' | 'serving'; readonly names: readonly string[] }
  /** Applications of these devices are busy, the others are not. */
  | { readonly what: 'busy'; readonly names: readonly string[] }
  | { readonly what: 'counts' };
export type Ask = Question & { readonly id: number };

export interface Answer {
  readonly id: number;
  readonly failed?: string;
  readonly value: unknown;
}

/** What an application saw. */
export interface AppCounts {
  readonly sent: number;
  readonly lost: number;
  readonly byRelease: Readonly<Record<string, { readonly served: number; readonly right: number }>>;
  readonly complaints: readonly string[];
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

const POLL_SECONDS = 5;
const MEMORY_FOLDER = '/dev/shm';
const DEVICES_NEED_BYTES = 1024 ** 3;
/** Test digits that applications send. */
export const INPUTS = 500;
/** Of the log, in a message about a process that ended. */
const LOG_TAIL_CHARS = 2000;

/** One process with some of the agents. */
class AgentsProcess {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  #id = 0;

  private constructor(child: ChildProcess, log: string) {
    this.#child = child;
    child.on('message', ({ id, failed, value }: Answer) => {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (failed === undefined) pending?.resolve(value);
      else pending?.reject(new Error(failed));
    });
    child.once('exit', (code, signal) => {
      const tail = readFileSync(log, 'utf8').slice(-LOG_TAIL_CHARS);
      const error = new Error(`a process of agents ended (${signal ?? code}): ${tail}`);
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
    });
  }

  static async open(log: string, inputs: string): Promise<AgentsProcess> {
    writeFileSync(log, '');
    const child = fork(FLEET_AGENTS, [inputs], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    child.stderr?.pipe(createWriteStream(log, { flags: 'a' }));
    const opened = new AgentsProcess(child, log);
    await new Promise((resolve, reject) => opened.#pending.set(0, { resolve, reject }));
    return opened;
  }

  ask(question: Question): Promise<unknown> {
    this.#id += 1;
    const id = this.#id;
    const answer = new Promise<unknown>((resolve, reject) =>
      this.#pending.set(id, { resolve, reject }),
    );
    this.#child.send({ ...question, id } satisfies Ask);
    return answer;
  }

  /** Resolves when it has ended. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}

/** All agents, spread over a few processes; each stays in the process that it started in. */
export class Agents {
  readonly #folder: string;
  readonly #processes: readonly AgentsProcess[];
  readonly #homes = new Map<string, AgentsProcess>();

  private constructor(folder: string, processes: readonly AgentsProcess[]) {
    this.#folder = folder;
    this.#processes = processes;
    process.once('exit', this.#atExit);
  }

  /** This process ends early, by a signal: the folders may be in memory, and must not stay. */
  readonly #atExit = (): void => {
    for (const home of this.#processes) void home.kill();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  };

  /** Starts the processes; no agent runs yet. */
  static async open(processes: number): Promise<Agents> {
    const folder = await mkdtemp(join(await devicesRoot(), 'linnet-devices-'));
    const inputs = join(folder, 'inputs');
    writeFileSync(inputs, encodeInputs());
    const logs = Array.from({ length: processes }, (_, at) => join(folder, `agents${at}.log`));
    return new Agents(
      folder,
      await Promise.all(logs.map((log) => AgentsProcess.open(log, inputs))),
    );
  }

  /** Makes the folders of devices that the fleet does not know yet. */
  async make(
    fleet: TestFleet,
    names: readonly string[],
    specOf: (index: number) => Omit<DeviceSpec, 'name' | 'config'>,
  ): Promise<DeviceSpec[]> {
    const claimFile = join(this.#folder, 'claim');
    writeFileSync(claimFile, await makeClaim(fleet, 'fleet', names.length));
    return names.map((name, index) => {
      const dataDir = this.#dataDir(name);
      const config = `${dataDir}.toml`;
      const options = { port: 0, pollSeconds: POLL_SECONDS, claimFile, dataDir };
      writeFileSync(config, agentConfig(fleet, name, options));
      return { name, config, ...specOf(index) };
    });
  }

  #dataDir(name: string): string {
    return join(this.#folder, name);
  }

  /** The bytes of a device's update record. */
  recordBytes(name: string): Buffer {
    return readFileSync(join(this.#dataDir(name), 'components/digits/record.json'));
  }

  recordOf(name: string): UpdateRecord {
    const record = decodeRecord(new Uint8Array(this.recordBytes(name)));
    if ('unreadable' in record) throw new Error(`${name}: ${record.unreadable}`);
    return record;
  }

  async start(specs: readonly DeviceSpec[]): Promise<void> {
    for (const { name } of specs) {
      const next = this.#processes[this.#homes.size % this.#processes.length] as AgentsProcess;
      if (!this.#homes.has(name)) this.#homes.set(name, next);
    }
    await this.#each((home) => ({
      what: 'start',
      specs: specs.filter(({ name }) => this.#homes.get(name) === home),
    }));
  }

  async stop(names: readonly string[]): Promise<void> {
    await this.#each((home) => ({ what: 'stop', names: this.#in(home, names) }));
  }

  /** The versions that these devices serve; null where one serves nothing. */
  async serving(names: readonly string[]): Promise<Map<string, string | null>> {
    const found = new Map<string, string | null>();
    for (const home of this.#processes) {
      const own = this.#in(home, names);
      const versions = (await home.ask({ what: 'serving', names: own })) as (string | null)[];
      for (const [at, name] of own.entries()) found.set(name, versions[at] ?? null);
    }
    return found;
  }

  /** Applications of these devices are busy, as those of others that run are not. */
  async busy(names: readonly string[]): Promise<void> {
    await this.#each(() => ({ what: 'busy', names }));
  }

  async counts(): Promise<AppCounts[]> {
    return (await this.#each(() => ({ what: 'counts' }))).flat() as AppCounts[];
  }

  /** Agents that still run are killed. */
  async close(): Promise<void> {
    await Promise.all(this.#processes.map((home) => home.kill()));
    await rm(this.#folder, { recursive: true, force: true });
    process.off('exit', this.#atExit);
  }

  #in(home: AgentsProcess, names: readonly string[]): string[] {
    return names.filter((name) => this.#homes.get(name) === home);
  }

  #each(question: (home: AgentsProcess) => Question): Promise<unknown[]> {
    return Promise.all(this.#processes.map((home) => home.ask(question(home))));
  }
}

/**
 * Where the devices' folders are. Fifty devices have fifty disks; on one disk they would wait for
 * each other's fsync. In memory where there is room, with every call to the file system as ever.
 */
async function devicesRoot(): Promise<string> {
  try {
    const { bavail, bsize } = await statfs(MEMORY_FOLDER);
    if (bavail * bsize >= DEVICES_NEED_BYTES) return MEMORY_FOLDER;
  } catch {
    // There is no such folder on this system.
  }
  return tmpdir();
}

/** Test digits, one after the other: pixels, then the label. */
function encodeInputs(): Buffer {
  const { images, labels } = loadDigits().test;
  return Buffer.concat(
    images
      .slice(0, INPUTS)
      .flatMap((image, at) => [new Uint8Array(image.buffer), labels.subarray(at, at + 1)]),
  );
}
