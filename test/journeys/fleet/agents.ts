// The devices of the fleet journey from outside: their folders and configuration, the one process
// that runs their agents (agents-child.ts), and what is true on their disks.
import { fork, type ChildProcess } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeRecord, type UpdateRecord } from '../../../agent/update/record.js';
import { makeClaim, type TestFleet } from '../../support/fleet-server.js';
import { agentConfig, FLEET_AGENTS } from '../../support/journey-devices.js';

export interface DeviceSpec {
  readonly name: string;
  /** Path of its configuration. */
  readonly config: string;
  /** A real model process, where other devices have their model in the process of the agents. */
  readonly hasModelProcess: boolean;
  /** Index of the test digit that its application begins with, and how many it sends a second. */
  readonly firstInput: number;
  readonly perSecond: number;
}

export type Question =
  | { readonly what: 'start'; readonly specs: readonly DeviceSpec[] }
  | { readonly what: 'stop' | 'serving'; readonly names: readonly string[] }
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
/** Of the log, in a message about a process that ended. */
const LOG_TAIL_CHARS = 2000;

export class Agents {
  readonly #child: ChildProcess;
  readonly #log: string;
  readonly #pending = new Map<number, Pending>();
  #id = 0;

  private constructor(child: ChildProcess, log: string) {
    this.#child = child;
    this.#log = log;
    child.on('message', ({ id, failed, value }: Answer) => {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (failed === undefined) pending?.resolve(value);
      else pending?.reject(new Error(failed));
    });
    child.once('exit', (code, signal) => {
      const tail = readFileSync(this.#log, 'utf8').slice(-LOG_TAIL_CHARS);
      const error = new Error(`the process of the agents ended (${signal ?? code}): ${tail}`);
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
    });
  }

  /** Starts the process; no agent runs yet. */
  static async open(fleet: TestFleet): Promise<Agents> {
    const log = join(fleet.folder, 'agents.log');
    writeFileSync(log, '');
    const child = fork(FLEET_AGENTS, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    child.stderr?.pipe(createWriteStream(log, { flags: 'a' }));
    const agents = new Agents(child, log);
    await new Promise((resolve, reject) => agents.#pending.set(0, { resolve, reject }));
    return agents;
  }

  /** Makes the folder of a device that the fleet does not know yet. */
  static async make(
    fleet: TestFleet,
    names: readonly string[],
    specOf: (index: number) => Omit<DeviceSpec, 'name' | 'config'>,
  ): Promise<DeviceSpec[]> {
    const claimFile = join(fleet.folder, 'claim');
    writeFileSync(claimFile, await makeClaim(fleet, 'fleet', names.length));
    return names.map((name, index) => {
      const folder = join(fleet.folder, 'devices', name);
      mkdirSync(folder, { recursive: true });
      const config = join(folder, 'agent.toml');
      const pollSeconds = POLL_SECONDS;
      writeFileSync(config, agentConfig(fleet, name, { port: 0, pollSeconds, claimFile }));
      return { name, config, ...specOf(index) };
    });
  }

  async start(specs: readonly DeviceSpec[]): Promise<void> {
    await this.#ask({ what: 'start', specs });
  }

  async stop(names: readonly string[]): Promise<void> {
    await this.#ask({ what: 'stop', names });
  }

  /** The versions that these devices serve; null where one serves nothing. */
  async serving(names: readonly string[]): Promise<(string | null)[]> {
    return (await this.#ask({ what: 'serving', names })) as (string | null)[];
  }

  async counts(): Promise<AppCounts[]> {
    return (await this.#ask({ what: 'counts' })) as AppCounts[];
  }

  /** Agents that still run are killed. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }

  #ask(question: Question): Promise<unknown> {
    this.#id += 1;
    const id = this.#id;
    const answer = new Promise<unknown>((resolve, reject) =>
      this.#pending.set(id, { resolve, reject }),
    );
    this.#child.send({ ...question, id } satisfies Ask);
    return answer;
  }
}

/** The bytes of a device's update record. */
export const recordBytes = (fleet: TestFleet, name: string): Buffer =>
  readFileSync(join(fleet.folder, 'devices', name, 'data/components/digits/record.json'));

export function recordOf(fleet: TestFleet, name: string): UpdateRecord {
  const record = decodeRecord(new Uint8Array(recordBytes(fleet, name)));
  if ('unreadable' in record) throw new Error(`${name}: ${record.unreadable}`);
  return record;
}
