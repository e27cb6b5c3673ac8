// Devices that are no agents: they enrol, ask for their assignment, and report over real MQTT what
// an agent would report. A step at a time, when the test says so.
import type { Assignment } from '../../server/interfaces.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import type { TelemetryRecord, UpdateBody } from '../../shared/protocol/telemetry.js';
import {
  batchOf,
  deviceGet,
  enrolled,
  idleUpdate,
  mqttOf,
  type MqttSession,
  type TestDevice,
  type TestFleet,
} from './fleet-server.js';
import { until } from './journey-devices.js';
import { trialEvidence } from './trial-evidence.js';

/** What it ran before this server knew it. */
const BEFORE: ReleaseRef = { component: 'digits', version: '0.9.0', digest: '9'.repeat(64) };

export class ReportingDevice {
  readonly device: TestDevice;
  readonly #fleet: () => TestFleet;
  #session: MqttSession | null = null;
  #seq = 0;
  #seen = 0;
  #running: ReleaseRef | null = BEFORE;
  #previous: ReleaseRef | null = null;
  /** It holds a release and waits for the go. */
  #holds = false;
  /** Releases that it rolls back from. */
  readonly bad = new Set<string>();
  /** Releases whose answers differ more than declared, and not so much that they have failed. */
  readonly different = new Set<string>();

  constructor(device: TestDevice, fleet: () => TestFleet) {
    this.device = device;
    this.#fleet = fleet;
  }

  async connect(): Promise<void> {
    await this.#session?.client.endAsync(true);
    this.#session = await mqttOf(this.#fleet(), this.device);
  }

  /** Asks what to run, takes it, and reports. */
  async step(): Promise<void> {
    const fleet = this.#fleet();
    await deviceGet(fleet, this.device, '/device/v1/director/timestamp.json');
    const { assignments } = await fleet.store.assignments.assignments(this.device.id);
    const [assignment] = assignments;
    if (assignment === undefined && this.#seen > 0) {
      // Withdrawn: nothing serves any more.
      [this.#running, this.#previous] = [null, null];
    }
    const isGo = this.#holds && assignment?.activation === 'swap';
    if (assignment !== undefined && (assignment.assignmentId !== this.#seen || isGo))
      await this.#take(assignment);
    else await this.report();
  }

  async report(change: Partial<UpdateBody> = {}): Promise<void> {
    await this.send([{ kind: 'update', body: this.#update(change) }]);
  }

  async send(records: readonly Pick<TelemetryRecord, 'kind' | 'body'>[]): Promise<void> {
    const session = this.#session;
    if (session === null) throw new Error('connect first');
    const batch = batchOf(
      records.map((record) => {
        this.#seq += 1;
        return { seq: this.#seq, at: Date.now(), ...record } as TelemetryRecord;
      }),
    );
    await session.send(JSON.stringify(batch));
    await until('the batch is acknowledged', () =>
      session.acks.some((ack) => ack.batch === batch.batch),
    );
  }

  async close(): Promise<void> {
    await this.#session?.client.endAsync(true);
  }

  #update(change: Partial<UpdateBody>): UpdateBody {
    return idleUpdate({
      running: this.#running,
      previous: this.#previous,
      assignmentId: this.#seen,
      ...change,
    });
  }

  async #take({ release, rollback, assignmentId, activation }: Assignment): Promise<void> {
    this.#seen = assignmentId;
    this.#holds = activation === 'hold';
    if (release === null || release.digest === this.#running?.digest) return this.report();
    if (rollback) {
      [this.#running, this.#previous] = [release, null];
      return this.report();
    }
    if (this.#holds) return this.report({ state: 'rehearsed', updatingTo: release });
    const isBad = this.bad.has(release.version);
    const isDifferent = this.different.has(release.version);
    const previous = this.#running;
    const evidence = trialEvidence({
      ...{ seconds: 100, pairs: previous === null ? 0 : 1000, served: 1000 },
      ...{ differing: isBad ? 400 : isDifferent ? 180 : 0, modelFaults: isBad ? 50 : 0 },
      ...{ replaces: previous !== null, comparable: previous !== null },
    });
    const isShadow = activation === 'shadow';
    if (!isBad && !isDifferent && !isShadow) [this.#running, this.#previous] = [release, previous];
    const outcome = isShadow
      ? ({ result: 'shadowed', code: null, detail: 'compared' } as const)
      : isBad
        ? ({ result: 'rolled_back', code: 'answers_differ', detail: 'answers differ' } as const)
        : isDifferent
          ? ({ result: 'differs', code: 'answers_differ', detail: '18 % differ' } as const)
          : ({ result: 'confirmed', code: null, detail: 'as good as before' } as const);
    return this.send([
      { kind: 'trial', body: { release, previous, assignmentId, evidence } },
      { kind: 'update', body: this.#update({ outcome: { ...outcome, release, assignmentId } }) },
    ]);
  }
}

/** Enrolled, connected, and reported once. */
export async function reportingDevices(
  fleet: () => TestFleet,
  names: readonly (readonly [name: string, group: string])[],
): Promise<ReportingDevice[]> {
  const devices: ReportingDevice[] = [];
  for (const [name, group] of names) {
    const device = new ReportingDevice(await enrolled(fleet(), name, group), fleet);
    await device.connect();
    await device.report();
    devices.push(device);
  }
  return devices;
}
