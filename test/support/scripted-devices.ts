// Devices that do what an agent does, without a model: each asks a real server over HTTP by the
// agent's own trust workflow, takes what it is assigned at once, and reports over MQTT that it
// runs well. What a device trusts stays in its folder, also when it goes on with another server.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeDisk } from '../../agent/platform/disk.js';
import { HttpFetcher } from '../../agent/platform/fetcher.js';
import { MetadataClient, type TrustedAssignment } from '../../agent/update/metadata.js';
import { hex } from '../../shared/base/bytes.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { DEVICE_SCHEME } from '../../shared/protocol/device-api.js';
import { RolloutDetail, type RolloutPolicy } from '../../shared/protocol/operator-api.js';
import type { Outcome, TrialBody, UpdateBody } from '../../shared/protocol/telemetry.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { defaultTrialPolicy } from '../../shared/statistics/trial-verdict.js';
import {
  batchOf,
  enrolled,
  idleUpdate,
  mqttOf,
  type MqttSession,
  type TestDevice,
  type TestFleet,
} from './fleet-server.js';
import { tempFolder } from './temp-folders.js';
import { trialEvidence } from './trial-evidence.js';

const PAUSE_MS = 20;
/** Compared by each device that takes a release, one a second. */
const PAIRS = 600;

interface Connection {
  readonly metadata: MetadataClient;
  readonly session: MqttSession;
}

export class ScriptedDevice {
  readonly #folder = tempFolder();
  #server: Connection | null = null;
  #seq = 0;
  #outcome: Outcome | null = null;
  running: ReleaseRef | null = null;

  private constructor(readonly device: TestDevice) {}

  /** A device that is enrolled already. */
  static of(device: TestDevice): ScriptedDevice {
    return new ScriptedDevice(device);
  }

  static async enrol(fleet: TestFleet, name: string): Promise<ScriptedDevice> {
    const device = new ScriptedDevice(await enrolled(fleet, name));
    await device.connect(fleet);
    return device;
  }

  /** From now on it talks to this server. It says first what it runs. */
  async connect(fleet: TestFleet): Promise<void> {
    await this.disconnect();
    const root = (name: string): Promise<Uint8Array> =>
      readFile(join(fleet.folder, 'repo', 'trust', `${name}-root.json`));
    const metadata = new MetadataClient({
      disk: new NodeDisk(),
      fetcher: new HttpFetcher({
        server: fleet.server.address,
        authorization: async () => `${DEVICE_SCHEME} ${await this.device.token('http', fleet)}`,
        clock: realClock,
      }),
      clock: realClock,
      folder: this.#folder,
      imageRoot: await root('image'),
      directorRoot: await root('director'),
      device: { id: this.device.id, hardware: 'sim' },
    });
    await metadata.load();
    this.#server = { metadata, session: await mqttOf(fleet, this.device) };
    await this.#report([this.#update(this.#outcome?.assignmentId ?? 0)]);
  }

  #connected(): Connection {
    if (this.#server === null) throw new Error(`${this.device.name} is not connected`);
    return this.#server;
  }

  /** The same for a device that runs this release already, from before this process. */
  async connectAs(fleet: TestFleet, version: string): Promise<void> {
    const release = await fleet.store.rollouts.release('digits', version);
    this.running = release?.ref ?? null;
    await this.connect(fleet);
  }

  async disconnect(): Promise<void> {
    await this.#server?.session.client.endAsync();
    this.#server = null;
  }

  /** What it is assigned, which it takes by asking. Throws when it does not trust the answer. */
  async ask(): Promise<TrustedAssignment | undefined> {
    const [assignment] = await this.#connected().metadata.refresh();
    return assignment;
  }

  /** Asks, takes what is new, reports. */
  async turn(): Promise<void> {
    const assignment = await this.ask();
    const records: Report[] = [];
    if (assignment !== undefined && assignment.sha256 !== this.running?.digest) {
      const release = refOf(assignment);
      const { assignmentId } = assignment;
      const evidence = trialEvidence({
        pairs: PAIRS,
        seconds: PAIRS,
        replaces: this.running !== null,
      });
      records.push({
        kind: 'trial',
        body: { release, previous: this.running, assignmentId, evidence },
      });
      this.running = release;
      this.#outcome = {
        ...{ result: 'confirmed', code: null, detail: 'scripted', release, assignmentId },
      };
    }
    await this.#report([...records, this.#update(assignment?.assignmentId ?? 0)]);
  }

  #update(assignmentId: number): Report {
    const { running } = this;
    const body = idleUpdate({ running, outcome: this.#outcome, assignmentId });
    return { kind: 'update', body };
  }

  /** Ends when the server has stored the records. */
  async #report(reports: readonly Report[]): Promise<void> {
    const { session } = this.#connected();
    const records = reports.map((report) => {
      this.#seq += 1;
      return { seq: this.#seq, at: realClock.now(), ...report };
    });
    // Of its own also where the server knows batches of an earlier process.
    const batch = { ...batchOf(records), batch: hex(realRandom.bytes(16)) };
    await session.send(JSON.stringify(batch));
    while (!session.acks.some((ack) => ack.batch === batch.batch)) await pause();
  }
}

type Report =
  | { readonly kind: 'trial'; readonly body: TrialBody }
  | { readonly kind: 'update'; readonly body: UpdateBody };

const refOf = ({ component, version, sha256: digest }: TrustedAssignment): ReleaseRef => ({
  component,
  version,
  digest,
});

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/** All devices take turns until `fact`; each time with a pause, in which the conductor may work. */
export async function turnsUntil(
  devices: readonly ScriptedDevice[],
  fact: () => Promise<boolean> | boolean,
): Promise<void> {
  while (!(await fact())) {
    for (const device of devices) await device.turn();
    await pause();
  }
}

/** One wave; no device waits for another, and the seconds of a trial are only claimed. */
export const scriptedPolicy = (more: Partial<RolloutPolicy> = {}): RolloutPolicy => ({
  waves: [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }],
  trial: { ...defaultTrialPolicy, minSeconds: 1 },
  acceptableFailurePermille: 20,
  alarmingFailurePermille: 100,
  falseAlarmPermille: 50,
  startWindow: 20,
  kindWindow: 20,
  silentAfterSeconds: 600,
  deviceDeadlineSeconds: 600,
  autoRevert: true,
  ...more,
});

/** Its id. */
export async function startScriptedRollout(
  { admin }: TestFleet,
  version: string,
  policy = scriptedPolicy(),
): Promise<string> {
  const request = { component: 'digits', version, policy };
  const { id } = await admin.request('POST', '/rollouts', RolloutDetail, request);
  await admin.request('POST', `/rollouts/${id}/start`, RolloutDetail, {});
  return id;
}

export async function isCompleted({ admin }: TestFleet, id: string): Promise<boolean> {
  const { state, reasons } = await admin.request('GET', `/rollouts/${id}`, RolloutDetail);
  if (!['rolling', 'completed'].includes(state)) throw new Error(`${state}: ${reasons.join()}`);
  return state === 'completed';
}
