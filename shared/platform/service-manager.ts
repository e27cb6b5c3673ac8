// Tells systemd how the daemon is (sd_notify): ready, alive, stopping. Node.js has no Unix datagram
// sockets, so the message is sent by systemd's own program; a unit needs NotifyAccess=all for that.
// Where no service manager asked to be told (NOTIFY_SOCKET), nothing is done.
import { spawn } from 'node:child_process';
import { reason } from '../base/fault-codes.js';
import type { Cancel, Clock, Log } from '../base/interfaces.js';

type Message = 'READY=1' | 'WATCHDOG=1' | 'STOPPING=1';

export interface ServiceManagerOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  readonly clock: Clock;
  readonly log: Log;
  /** In place of systemd-notify, in tests. */
  readonly send?: (message: Message) => Promise<void>;
}

export class ServiceManager {
  readonly #options: ServiceManagerOptions;
  readonly #send: (message: Message) => Promise<void>;
  #cancel: Cancel = () => {};

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
    this.#send = options.send ?? systemdNotify;
  }

  /** From now on it is also told that the event loop turns, as often as it wants to know. */
  async ready(): Promise<void> {
    await this.#tell('READY=1');
    const { env, pid } = this.#options;
    const ofThis = env['WATCHDOG_PID'] === undefined || env['WATCHDOG_PID'] === String(pid);
    const limitMs = Number(env['WATCHDOG_USEC'] ?? 0) / 1000;
    if (ofThis && limitMs > 0) this.#watch(limitMs / 3);
  }

  async stopping(): Promise<void> {
    this.#cancel();
    await this.#tell('STOPPING=1');
  }

  #watch(everyMs: number): void {
    this.#cancel = this.#options.clock.after(everyMs, () => {
      this.#watch(everyMs);
      void this.#tell('WATCHDOG=1');
    });
  }

  async #tell(message: Message): Promise<void> {
    const { env, log } = this.#options;
    if (env['NOTIFY_SOCKET'] === undefined) return;
    try {
      await this.#send(message);
    } catch (error) {
      log.error({ message, err: reason(error) }, 'systemd could not be told');
    }
  }
}

function systemdNotify(message: Message): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('systemd-notify', [message], { stdio: 'ignore' });
    child.on('error', reject);
    child.on('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`systemd-notify ended by exit code ${code}`)),
    );
  });
}
