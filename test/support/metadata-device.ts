// A MetadataClient on a real disk (a temporary folder) against simulated repositories, and the
// usual questions to it.
import { join } from 'node:path';
import { expect } from 'vitest';
import { NodeDisk } from '../../agent/platform/disk.js';
import type { Fetcher } from '../../agent/interfaces.js';
import { MetadataClient, type TrustedAssignment } from '../../agent/update/metadata.js';
import { Fault, type FaultCode } from '../../shared/base/fault-codes.js';
import { DEVICE, Simulation } from '../sim/tuf-repositories.js';
import { tempFolder } from './temp-folders.js';

export class SimDevice {
  readonly folder = tempFolder();
  client: MetadataClient;

  readonly #fetcher: Fetcher;

  private constructor(
    readonly repositories: Simulation,
    fetcher: Fetcher,
  ) {
    this.#fetcher = fetcher;
    this.client = this.#start();
  }

  static async provision(
    repositories: Simulation = new Simulation(),
    fetcher: Fetcher = repositories,
  ): Promise<SimDevice> {
    const device = new SimDevice(repositories, fetcher);
    await device.client.load();
    return device;
  }

  /** As after a power cut: nothing but the disk remains. */
  async reboot(): Promise<void> {
    this.client = this.#start();
    await this.client.load();
  }

  path(repository: 'image' | 'director', role: string): string {
    return join(this.folder, repository, `${role}.json`);
  }

  async versions(): Promise<string[]> {
    const assignments: TrustedAssignment[] = await this.client.refresh();
    return assignments.map(({ component, version }) => `${component} ${version}`);
  }

  #start(): MetadataClient {
    const { clock, imageRoot, directorRoot } = this.repositories;
    return new MetadataClient({
      disk: new NodeDisk(),
      fetcher: this.#fetcher,
      clock,
      folder: this.folder,
      imageRoot,
      directorRoot,
      device: DEVICE,
    });
  }
}

export async function refused(promise: Promise<unknown>, code: FaultCode): Promise<Fault> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if (!('error' in outcome))
    return expect.fail(
      `was accepted, should have been refused with ${code}: ${JSON.stringify(outcome.value)}`,
    );
  if (!(outcome.error instanceof Fault)) throw outcome.error;
  expect(outcome.error.code, outcome.error.detail).toBe(code);
  return outcome.error;
}
