// The interfaces between the parts of the agent, and to the platform. agent/main.ts connects them:
// update/, inference/ and telemetry/ never import one another. agent/platform/ implements Disk,
// Fetcher and Link.
import type { AcceptanceSet } from '../shared/release/acceptance-set.js';
import type { Manifest, Release } from '../shared/release/manifest.js';
import type { ManifestHead } from '../shared/release/manifest-head.js';
import type { BodyOf, Condition, Kind } from '../shared/protocol/telemetry.js';
import type { FaultCode } from '../shared/base/fault-codes.js';
import type { TrialEvidence } from '../shared/statistics/trial-verdict.js';

/**
 * The file system as durable state needs it. Paths are absolute. A method does all of its work or
 * throws a Fault: `disk_full` (ENOSPC, EDQUOT) or `disk_failed`. A missing file is null. What is
 * not a regular file is `disk_failed` and never blocks.
 */
export interface Disk {
  read(path: string, maxBytes: number): Promise<Uint8Array | null>;
  /**
   * Whole or not at all, and durable on return: temp file beside it, fsync, rename, fsync of the
   * folder. A folder in the way is set aside.
   */
  replace(path: string, bytes: Uint8Array): Promise<void>;
  makeFolder(path: string): Promise<void>;
  list(folder: string): Promise<string[]>;
  remove(path: string): Promise<void>;
  /**
   * Renames whatever is at `path` (a file, a folder, anything) to `path`.damaged, replacing what an
   * earlier call left there; durable on return.
   */
  setAside(path: string): Promise<void>;
  /** Hard link, replacing what stands at `to`; durable after `syncFolder`. */
  link(from: string, to: string): Promise<void>;
  syncFolder(path: string): Promise<void>;
  size(path: string): Promise<number | null>;
  freeBytes(path: string): Promise<number>;
  /**
   * Appends to a partial file from `offset` on (a shorter file is refused, a longer one cut) and
   * fsyncs at the end. Returns the bytes written.
   */
  append(path: string, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<number>;
  /** The whole file, in chunks. */
  stream(path: string): AsyncIterable<Uint8Array>;
  /** SHA-256 of the whole file, streaming; null when missing. */
  sha256(path: string): Promise<{ sha256: string; length: number } | null>;
}

/**
 * Bytes from a server or mirror. `path` starts with a slash. Faults: `server_unreachable`,
 * `fetch_interrupted` (flaked), `not_found`, `auth_missing`, `auth_denied` (refused),
 * `metadata_too_large` when more than `maxBytes` come.
 */
export interface Fetcher {
  /** A whole small document; null for 404. */
  get(path: string, maxBytes: number): Promise<Uint8Array | null>;
  /** A stream of the file from `offset` on. */
  open(path: string, offset: number): Promise<AsyncIterable<Uint8Array>>;
  post(path: string, body: unknown, maxBytes: number): Promise<unknown>;
}

/**
 * The MQTT link. `publish` resolves at the broker's PUBACK, which does not mean that the server has
 * stored the message: the server's acknowledgement is a message of its own.
 */
export interface Link {
  publish(topic: string, payload: Uint8Array): Promise<void>;
  /** Every message on this device's down topics, and each (re)connection as `connected`. */
  onMessage(listener: (topic: string, payload: Uint8Array) => void): void;
  onConnected(listener: () => void): void;
  readonly connected: boolean;
  close(): Promise<void>;
}

/** Appends one record, durably. Never throws: a loss is counted inside. */
export interface Reporter {
  report<K extends Kind>(kind: K, body: BodyOf<K>): void;
}

/** A release in a slot, verified from disk. */
export interface Installed<M extends ManifestHead = Manifest> {
  readonly release: Release<M>;
  /** Absolute; holds the files of the release under their names. */
  readonly folder: string;
}

export interface ProbeReport {
  readonly passed: boolean;
  readonly code: FaultCode | null;
  readonly reasons: string;
  readonly p99LatencyMs: number;
  readonly peakMemoryMiB: number;
  readonly worstDifference: number;
}

/** What the inference engine knows of a trial; `replaces` is known to the update machine only. */
export type Measured = Omit<TrialEvidence, 'replaces'>;

/** `none`: why nothing was rehearsed, as the rest of a sentence. */
export type Rehearsed = { readonly none: string } | { readonly evidence: TrialEvidence };

/**
 * A second start of what serves. `none`: why there was none, as the rest of a sentence; `later`:
 * not now, because its process is down.
 */
export type ColdStart = { readonly tookMs: number } | { readonly none: string } | 'later';

/** How the release that serves does, after its trial as well as in it. */
export interface Standing {
  readonly conditions: readonly Condition[];
  /** Why the release crash-loops; null when it does not. */
  readonly crashLoop: string | null;
}

/** What the handler for models needs from the inference engine of one component. */
export interface ModelRuntime {
  /**
   * Starts a separate process for `candidate`, runs the golden probes in it, then the acceptance
   * set, and ends it. Does not affect what serves. Faults: host_start (flaked).
   */
  probe(candidate: Installed, acceptance: AcceptanceSet | null): Promise<ProbeReport>;
  /**
   * Lets `current`, which serves, and then `candidate` answer recent live inputs of this device,
   * each in a process of its own. Does not affect what serves. The same releases again give the
   * same evidence. Faults: rehearsal_crashes (refused), those of a model process that does not
   * start.
   */
  rehearse(candidate: Installed, current: Installed): Promise<Rehearsed>;
  /**
   * Serves `current`: requests go to it once its process is warm; the old process drains and
   * exits. With `shadow`, the release that it replaces keeps running and answers a sample of the
   * same live inputs for comparison. The same arguments again change nothing. Throws a Fault when
   * `current` does not load; what served before then keeps serving.
   */
  serve(current: Installed, shadow: Installed | null): Promise<void>;
  /**
   * Runs `candidate` beside what serves, which must be something: it answers copies of a sample of
   * the live requests after these were answered. Null: it runs no longer; another `serve` ends it
   * too. The same again changes nothing. Throws a Fault when it does not start; what serves is not
   * affected by that, nor by a candidate that dies.
   */
  shadow(candidate: Installed | null): Promise<void>;
  /**
   * How the candidate of `shadow` answers, as new, against what serves, as old; null without one.
   */
  shadowEvidence(): Measured | null;
  /**
   * Starts what serves once more, cold: ends the shadow of `serve`, so that no more than two
   * processes run; loads and warms the release in a second process; moves requests there between
   * two of them; ends the first process. No request waits for it, and evidence() goes on.
   * `lacking`: asked once the shadow has ended, why there is no room; null: there is. Throws a
   * Fault when the second process does not start; the first one then serves on.
   */
  restart(lacking: () => Promise<string | null>): Promise<ColdStart>;
  /** Serves nothing any more: admitted requests finish, then the processes end. */
  stop(): Promise<void>;
  /** Evidence since `serve` was last called with another release; null when nothing is served. */
  evidence(): Measured | null;
  /** Of the release that serves. */
  standing(): Standing;
}

/** What this device has free. */
export interface Resources {
  memoryAvailableBytes(): Promise<number>;
}
