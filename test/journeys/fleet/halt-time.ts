// How long the server takes from the report that decides a halt to the commit of it, from its own
// log: the ingest tells which records it stored and how long after their arrival, the conductor
// each state that it has committed. The deciding report is found afterwards by the server's own
// pure functions: the reports that made devices count as failed, in the order of their arrival, up
// to the first with which the exact halt test fires.
import type { DeviceFacts, MemberRow, RolloutRow } from '../../../server/interfaces.js';
import { haltReport } from '../../../server/rollout/halt.js';
import { observe } from '../../../server/rollout/verdict.js';
import type { Store } from '../../../server/store/store.js';
import type { Log } from '../../../shared/base/interfaces.js';
import type { TrialBody, UpdateBody } from '../../../shared/protocol/telemetry.js';

interface Arrival {
  readonly device: string;
  /** Of the last record of the batch. */
  readonly seq: number;
  readonly at: number;
}

/** The server's log: keeps when things happened (monotonic, ms), and complaints as text. */
export class ServerLog implements Log {
  readonly complaints: string[] = [];
  readonly #arrivals: Arrival[] = [];
  readonly #states = new Map<string, number>();

  child(): Log {
    return this;
  }

  debug(fields: object, message: string): void {
    if (message !== 'stored a telemetry batch') return;
    const { device, seq, afterMs } = fields as { device: string; seq: number; afterMs: number };
    this.#arrivals.push({ device, seq, at: performance.now() - afterMs });
  }

  info(fields: object): void {
    const { rollout, state, device } = fields as Partial<Record<string, string>>;
    if (rollout !== undefined && state !== undefined && device === undefined)
      this.#states.set(`${rollout} ${state}`, performance.now());
  }

  warn(fields: object, message: string): void {
    this.complaints.push(`${message} ${JSON.stringify(fields)}`);
  }

  error(fields: object, message: string): void {
    this.warn(fields, message);
  }

  /** When a record arrived: with the first batch of its device that reaches so far. */
  arrivalOf(device: string, seq: number): number {
    const found = this.#arrivals.find((one) => one.device === device && one.seq >= seq);
    if (found === undefined) throw new Error(`the log tells nothing of record ${seq} of ${device}`);
    return found.at;
  }

  committedAt(rollout: string, state: RolloutRow['state']): number {
    const at = this.#states.get(`${rollout} ${state}`);
    if (at === undefined) throw new Error(`the log tells no ${state} of rollout ${rollout}`);
    return at;
  }
}

export interface HaltTime {
  /** From the arrival of the deciding report to the commit. */
  readonly ms: number;
  /** Which device sent it, and what the server made of it. */
  readonly device: string;
  readonly reasons: string;
  /** Failures with which the test fired. */
  readonly failures: number;
}

interface BadNews {
  readonly device: string;
  readonly name: string;
  readonly reasons: string;
  readonly at: number;
}

export async function haltTime(store: Store, log: ServerLog, id: string): Promise<HaltTime> {
  const rollout = await store.rollouts.rollout(id);
  if (rollout === null) throw new Error(`there is no rollout ${id}`);
  const members = await store.rollouts.members(id);
  const takes = await store.rollouts.takes(rollout.release.digest);
  const news: BadNews[] = [];
  for (const member of members) {
    const found = member.failed ? await firstBadNews(store, log, member, rollout) : null;
    if (found !== null) news.push(found);
  }
  news.sort((one, other) => one.at - other.at);
  const failed = new Set<string>();
  for (const { device, name, reasons, at } of news) {
    failed.add(device);
    const report = haltReport({
      rollout,
      members,
      takes: takes.map((take) => ({ ...take, failed: failed.has(take.device) })),
      facts: new Map(),
      blocks: [],
      published: new Set(),
      before: null,
      now: rollout.since,
      receptionSince: rollout.since,
    });
    if (!report.halt) continue;
    const ms = log.committedAt(id, 'reverting') - at;
    return { ms, device: name, reasons, failures: failed.size };
  }
  throw new Error(`no report decided the halt of rollout ${id}: ${rollout.reasons.join('; ')}`);
}

const RECORDS_AT_MOST = 10_000;

/** The first record of a device from which the server says that it has failed. */
async function firstBadNews(
  store: Store,
  log: ServerLog,
  member: MemberRow,
  rollout: RolloutRow,
): Promise<BadNews | null> {
  const { digest } = rollout.release;
  const now = rollout.since;
  const records = await store.telemetry.records(member.device, RECORDS_AT_MOST, null);
  let update: UpdateBody | null = null;
  let trial: TrialBody | null = null;
  for (const { kind, body, seq } of records.reverse()) {
    if (kind === 'update') update = body as UpdateBody;
    else if (kind === 'trial') trial = body as TrialBody;
    else continue;
    const assignmentId = idOf(update, trial, digest);
    if (assignmentId === null) continue;
    // As the member was then: it is back on the other release by now.
    const then: MemberRow = { ...member, state: 'trial', proven: false, assignmentId };
    const facts: DeviceFacts = {
      id: member.device,
      name: member.name,
      group: member.group,
      hardware: member.hardware,
      status: 'enrolled',
      lastSeenAt: now,
      instance: null,
      update,
      trial,
      standing: null,
    };
    const { state, reasons } = observe(then, facts, rollout, { now, receptionSince: now });
    if (state !== 'failed') continue;
    const at = log.arrivalOf(member.device, seq);
    return { device: member.device, name: member.name, reasons, at };
  }
  return null;
}

/** The id under which the device was assigned the release, as its own reports name it. */
function idOf(update: UpdateBody | null, trial: TrialBody | null, digest: string): number | null {
  if (trial?.release.digest === digest) return trial.assignmentId;
  if (update?.outcome?.release.digest === digest) return update.outcome.assignmentId;
  return update?.updatingTo?.digest === digest ? update.assignmentId : null;
}
