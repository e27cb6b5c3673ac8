// Two TUF repositories (image and director) in memory that really sign, for tests of everyone who
// trusts metadata: they keep what they serve as bytes, so a test can make them misbehave by serving
// something else, by signing with other keys, or by changing a document before it is signed. Keys
// come from a counter, so every run signs the same bytes.
import type { Fetcher } from '../../agent/interfaces.js';
import type { Clock } from '../../shared/base/interfaces.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { signDocumentNow, syncSigner, type SyncSigner } from './sync-signer.js';
import { targetPath } from '../../shared/release/release-ref.js';
import { routes, type DirectorCustom, type ImageCustom } from '../../shared/protocol/device-api.js';
import { sha256, utf8 } from '../../shared/base/bytes.js';
import { defaultTrialPolicy } from '../../shared/statistics/trial-verdict.js';
import {
  heading,
  metaOf,
  timeText,
  type Role,
  type Root,
  type Snapshot,
  type TargetFile,
  type Targets,
  type Timestamp,
} from '../../shared/trust/documents.js';

const DAY_MS = 24 * 3600_000;
export const START_MS = Date.UTC(2026, 10, 23);
export const DEVICE = { id: 'dev-00112233445566778899', hardware: 'sim-x86' };
export const OTHER_DEVICE = 'dev-99887766554433221100';

let seeds = 0;
export function newKey(): SyncSigner {
  seeds += 1;
  return syncSigner(Buffer.from(sha256(`simulator key ${seeds}`), 'hex'));
}

export class SimClock implements Clock {
  constructor(public ms: number = START_MS) {}
  now(): number {
    return this.ms;
  }
  monotonic(): number {
    return this.ms;
  }
  after(): () => void {
    throw new Error('nothing here waits');
  }
  pass(ms: number): void {
    this.ms += ms;
  }
}

export type TopRole = Exclude<Role, 'root'>;
type Change<T> = (signed: T) => void;

export class RepositorySimulator {
  readonly keys: Record<Role, SyncSigner[]> = {
    root: [newKey()],
    timestamp: [newKey()],
    snapshot: [newKey()],
    targets: [newKey()],
  };
  readonly release = newKey();
  readonly thresholds: Record<Role, number> = { root: 1, timestamp: 1, snapshot: 1, targets: 1 };
  readonly versions: Record<Role, number> = { root: 0, timestamp: 0, snapshot: 0, targets: 0 };
  readonly lifeMs: Record<Role, number> = {
    root: 365 * DAY_MS,
    timestamp: DAY_MS,
    snapshot: 7 * DAY_MS,
    targets: 90 * DAY_MS,
  };
  /** By file name; what a client gets. */
  readonly served = new Map<string, Uint8Array>();
  targets: Record<string, TargetFile> = {};

  readonly #device: string | null = null;

  constructor(
    readonly name: 'image' | 'director',
    readonly clock: Clock,
    device: string | null = null,
  ) {
    this.#device = device;
    this.signRoot();
    this.publish();
  }

  get(name: string): Uint8Array {
    const bytes = this.served.get(name);
    if (bytes === undefined) throw new Error(`the simulator does not serve ${name}`);
    return bytes;
  }

  latest(role: TopRole): string {
    return role === 'timestamp' ? 'timestamp.json' : `${this.versions[role]}.${role}.json`;
  }

  expires(role: Role): number {
    return this.clock.now() + this.lifeMs[role];
  }

  /**
   * The next root with the present keys, signed by them and by those of the one before, unless told
   * otherwise.
   */
  signRoot(
    options: {
      change?: Change<Root>;
      signers?: readonly SyncSigner[];
      before?: readonly SyncSigner[];
    } = {},
  ): Uint8Array {
    this.versions.root += 1;
    const everyone = [...Object.values(this.keys).flat(), this.release];
    const role = (name: Role): { keyids: string[]; threshold: number } => ({
      keyids: this.keys[name].map((key) => key.keyId),
      threshold: this.thresholds[name],
    });
    const root: Root = {
      ...heading('root', this.versions.root, this.expires('root')),
      consistent_snapshot: true,
      keys: Object.fromEntries(everyone.map((key) => [key.keyId, key.publicKey])),
      roles: {
        root: role('root'),
        timestamp: role('timestamp'),
        snapshot: role('snapshot'),
        targets: role('targets'),
      },
      'x-linnet-release': { keyids: [this.release.keyId], threshold: 1 },
    };
    options.change?.(root);
    const bytes = signDocumentNow(
      root,
      options.signers ?? [...(options.before ?? []), ...this.keys.root],
    );
    this.served.set(`${root.version}.root.json`, bytes);
    return bytes;
  }

  /**
   * Replaces a role's keys by new ones and publishes the root that says so, then everything anew.
   */
  rotate(...roles: Role[]): void {
    const before = this.keys.root;
    for (const role of roles) this.keys[role] = [newKey()];
    this.signRoot({ before: roles.includes('root') ? before : [] });
    this.publish();
  }

  publish(
    change: {
      targets?: Change<Targets>;
      snapshot?: Change<Snapshot>;
      timestamp?: Change<Timestamp>;
    } = {},
  ): void {
    this.signTargets(change.targets);
    this.signSnapshot(change.snapshot);
    this.signTimestamp(change.timestamp);
  }

  signTargets(change?: Change<Targets>, signers: readonly SyncSigner[] = this.keys.targets): void {
    this.versions.targets += 1;
    const targets: Targets = {
      ...heading('targets', this.versions.targets, this.expires('targets')),
      ...this.#ofDevice(),
      targets: { ...this.targets },
    };
    change?.(targets);
    this.served.set(`${this.versions.targets}.targets.json`, signDocumentNow(targets, signers));
  }

  signSnapshot(
    change?: Change<Snapshot>,
    signers: readonly SyncSigner[] = this.keys.snapshot,
  ): void {
    this.versions.snapshot += 1;
    const snapshot: Snapshot = {
      ...heading('snapshot', this.versions.snapshot, this.expires('snapshot')),
      ...this.#ofDevice(),
      meta: { 'targets.json': metaOf(this.get(this.latest('targets')), this.versions.targets) },
    };
    change?.(snapshot);
    this.served.set(`${this.versions.snapshot}.snapshot.json`, signDocumentNow(snapshot, signers));
  }

  signTimestamp(
    change?: Change<Timestamp>,
    signers: readonly SyncSigner[] = this.keys.timestamp,
  ): void {
    this.versions.timestamp += 1;
    const timestamp: Timestamp = {
      ...heading('timestamp', this.versions.timestamp, this.expires('timestamp')),
      ...this.#ofDevice(),
      'x-linnet-time': timeText(this.clock.now()),
      meta: { 'snapshot.json': metaOf(this.get(this.latest('snapshot')), this.versions.snapshot) },
    };
    change?.(timestamp);
    this.served.set('timestamp.json', signDocumentNow(timestamp, signers));
  }

  #ofDevice(): { 'x-linnet-device'?: string } {
    return this.#device === null ? {} : { 'x-linnet-device': this.#device };
  }
}

/** The whole fixture of one device: both repositories, releases, and a Fetcher over them. */
export class Simulation implements Fetcher {
  readonly clock = new SimClock();
  readonly image = new RepositorySimulator('image', this.clock);
  readonly director = new RepositorySimulator('director', this.clock, DEVICE.id);
  readonly envelopes = new Map<string, Uint8Array>();
  /** Every path asked for, in order. */
  readonly requests: string[] = [];
  #assignmentId = 0;

  readonly imageRoot = this.image.get('1.root.json');
  readonly directorRoot = this.director.get('1.root.json');

  /** Publishes a release (its envelope is opaque here) and assigns it to the device. */
  ship(
    component: string,
    version: string,
    hardware: readonly string[] = [DEVICE.hardware],
  ): string {
    const envelope = utf8(`envelope of ${component} ${version}`);
    const digest = sha256(envelope);
    const path = targetPath(component, version);
    const custom: ImageCustom = { component, version, hardware: [...hardware] };
    this.image.targets[path] = { length: envelope.length, hashes: { sha256: digest }, custom };
    this.envelopes.set(routes.imageTarget(component, version, digest), envelope);
    this.image.publish();
    this.assign(component, version);
    return path;
  }

  /** Assigns a release that the image repository has (or, in an attack, not). */
  assign(
    component: string,
    version: string,
    change: (target: TargetFile, custom: DirectorCustom) => void = () => {},
  ): void {
    const path = targetPath(component, version);
    const genuine = this.image.targets[path] ?? { length: 7, hashes: { sha256: sha256(path) } };
    const custom: DirectorCustom = {
      component,
      version,
      hardware: DEVICE.hardware,
      rollout: 'r1',
      assignmentId: ++this.#assignmentId,
      rollback: false,
      activation: 'swap',
      trial: defaultTrialPolicy,
    };
    const target: TargetFile = { length: genuine.length, hashes: { ...genuine.hashes }, custom };
    change(target, custom);
    this.director.targets = { [path]: target };
    this.director.publish();
  }

  get(path: string): Promise<Uint8Array | null> {
    this.requests.push(path);
    const envelope = this.envelopes.get(path);
    if (envelope !== undefined) return Promise.resolve(envelope);
    const name = path.slice(path.lastIndexOf('/') + 1);
    const repository =
      path === routes.director(name)
        ? this.director
        : path === routes.imageMetadata(name)
          ? this.image
          : null;
    return Promise.resolve(repository?.served.get(name) ?? null);
  }

  open(): Promise<AsyncIterable<Uint8Array>> {
    return Promise.reject(new Fault('not_found', 'the simulator has no files'));
  }

  post(): Promise<unknown> {
    return Promise.reject(new Fault('not_found', 'the simulator takes no messages'));
  }
}
