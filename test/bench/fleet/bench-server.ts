// The fleet server of the benchmark as its parent sees it: a folder with a repository, a process
// that can be killed and started again on the same data and ports, and what that process costs.
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FleetClient } from '../../../firmware-tools/fleet/fleet-client.js';
import { initRepository } from '../../../firmware-tools/release/repository.js';
import { serverSettings } from '../../../server/config.js';
import { initServer } from '../../../server/main.js';
import { Store } from '../../../server/store/store.js';
import { realClock as clock, realRandom as random } from '../../../shared/platform/clock.js';
import { audienceIn } from '../../support/fleet-server.js';
import { freePort } from '../../support/postgres-server.js';
import { openBackend, type Backend, type BackendName } from './backends.js';
import { Child } from './child-calls.js';
import { importDevices } from './identities.js';
import type { Target } from './light-device.js';
import type { ServerUsage } from './server-child.js';

const CHILD = fileURLToPath(new URL('server-child.js', import.meta.url));

export interface FleetSize {
  readonly connecting: number;
  readonly rows: number;
  readonly window: number;
}

export class BenchServer {
  #child: Child | null = null;

  private constructor(
    readonly folder: string,
    readonly backend: Backend,
    readonly admin: FleetClient,
    readonly adminToken: string,
    readonly target: Target,
    readonly profile: boolean,
  ) {}

  /** A fleet with its devices in the database; the server is not started yet. */
  static async prepare(name: BackendName, size: FleetSize, profile: boolean): Promise<BenchServer> {
    const folder = mkdtempSync(join(tmpdir(), 'linnet-bench-'));
    await initRepository({ out: join(folder, 'repo'), passphrase: null, clock, random });
    const backend = await openBackend(name, folder);
    const httpPort = await freePort();
    const text =
      `data_dir = "${folder}/data"\nrepository = "${folder}/repo/server"\n` +
      `${backend.settings}[http]\nport = ${httpPort}\n`;
    writeFileSync(join(folder, 'server.toml'), text);
    const adminToken = await initServer(serverSettings(text, {}));
    const store = await Store.open(backend.database);
    await importDevices(store, size);
    await store.close();
    const admin = new FleetClient({ server: `http://127.0.0.1:${httpPort}`, token: adminToken });
    const audience = await audienceIn(join(folder, 'repo', 'server'));
    const target = { httpPort, mqttPort: backend.mqttPort, audience };
    return new BenchServer(folder, backend, admin, adminToken, target, profile);
  }

  /** Resolves when it is ready. */
  async start(): Promise<void> {
    const log = openSync(join(this.folder, 'server.log'), 'a');
    const profiling = this.profile ? ['--cpu-prof', `--cpu-prof-dir=${this.folder}/profiles`] : [];
    this.#child = new Child(CHILD, [join(this.folder, 'server.toml')], {
      execArgv: ['--expose-gc', ...profiling],
      stdio: ['ignore', log, log, 'ipc'],
    });
    await this.#running.call('started');
  }

  async kill(): Promise<void> {
    await this.#running.kill();
    this.#child = null;
  }

  /** Starts the measurement of stalls. */
  async measure(): Promise<ServerUsage> {
    const before = await this.usage();
    await this.#running.call('measure');
    return before;
  }

  usage(collect = false): Promise<ServerUsage> {
    return this.#running.call('usage', { collect });
  }

  /** What is in its database, seen from a second connection. */
  async withStore<T>(work: (store: Store) => Promise<T>): Promise<T> {
    const store = await Store.open(this.backend.database);
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  }

  async close(): Promise<void> {
    if (this.#child !== null) {
      await this.#child.call('close');
      await this.#child.end();
    }
    await this.backend.close();
    if (!this.profile) rmSync(this.folder, { recursive: true, force: true });
  }

  get #running(): Child {
    if (this.#child === null) throw new Error('the server was not started');
    return this.#child;
  }
}
