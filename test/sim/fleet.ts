// A fleet in memory for the rollout room: a store that keeps its promises (revisions, one active
// rollout a component, one transaction a commit) and can be told to break down, and devices that
// act on assignments as the agent does, some of them badly. Time is virtual: one step is one
// second. Over 400 lines because store and devices keep the same promises to each other.
import assert from 'node:assert/strict';
import { silentLog, type Clock, type Random } from '../../shared/base/interfaces.js';
import { by } from '../support/audit-actions.js';
import type { RolloutPolicy, Selector } from '../../shared/protocol/operator-api.js';
import type { MemberState } from '../../shared/protocol/states.js';
import type { Outcome, TrialBody, UpdateBody } from '../../shared/protocol/telemetry.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { defaultTrialPolicy, judgeTrial } from '../../shared/statistics/trial-verdict.js';
import { trialEvidence } from '../support/trial-evidence.js';
import { Conductor } from '../../server/rollout/conductor.js';
import { lastTake } from '../../server/rollout/pace.js';
import { plan } from '../../server/rollout/plan.js';
import { Reception } from '../../server/rollout/reception.js';
import { matches } from '../../server/rollout/selector.js';
import { OperatorService } from '../../server/rollout/service.js';
import { SituationReader } from '../../server/rollout/situation-reader.js';
import { activationOf, seriesOf } from '../../server/rollout/strategies.js';
import { ACTIVE_STATES } from '../../server/rollout/transitions.js';
import { UNDECIDED } from '../../server/rollout/verdict.js';
import type {
  ArmMeasures,
  Assignment,
  DeviceFacts,
  EligibleDevice,
  HistoryRow,
  LookedAt,
  MemberCount,
  MemberFilter,
  MemberKey,
  MemberLook,
  MemberRow,
  NumberedTake,
  PageRequest,
  PublishedRelease,
  RolloutChange,
  RolloutFilter,
  RolloutKey,
  RolloutRow,
  RolloutStore,
  RolloutSummaryRow,
  SecurityReport,
  Take,
  TurnFilter,
} from '../../server/interfaces.js';

export const COMPONENT = 'digits';
export const releaseOf = (version: string): ReleaseRef => ({
  component: COMPONENT,
  version,
  digest: Buffer.from(version.padEnd(32)).toString('hex'),
});
export const deviceId = (n: number): string => `dev-${n.toString(16).padStart(20, '0')}`;

export class VirtualClock implements Clock {
  ms = Date.UTC(2026, 0, 1);
  #timers: { at: number; fn: () => void }[] = [];
  now = (): number => this.ms;
  monotonic = (): number => this.ms;
  after(ms: number, fn: () => void): () => void {
    const timer = { at: this.ms + ms, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }
  get timers(): number {
    return this.#timers.length;
  }
  advance(ms: number): void {
    this.ms += ms;
    const due = this.#timers.filter((timer) => timer.at <= this.ms);
    this.#timers = this.#timers.filter((timer) => timer.at > this.ms);
    for (const timer of due) timer.fn();
  }
}

export const NOTHING_MEASURED: ArmMeasures = {
  failed: null,
  refused: null,
  p50: null,
  p99: null,
  conditions: null,
  security: null,
};

/** What its forward assignments are to say. */
const wanted = (row: RolloutRow): Pick<Assignment, 'activation' | 'trial'> => ({
  activation: activationOf(row),
  trial: row.policy.trial,
});
const keyOf = ({ wave, rank, device }: MemberRow): MemberKey => [wave, rank, device];
const compareKeys = (a: MemberKey, b: MemberKey): number =>
  a[0] - b[0] || a[1] - b[1] || (a[2] < b[2] ? -1 : Number(a[2] > b[2]));

interface Look extends MemberLook {
  /** As they were when it became due, or was last found unchanged. */
  readonly member: MemberRow;
  readonly report: DeviceFacts | undefined;
  readonly isRevoked: boolean;
  readonly text: string;
  readonly at: number;
}

export class MemoryRolloutStore implements RolloutStore {
  rows = new Map<string, RolloutRow>();
  memberRows = new Map<string, Map<string, MemberRow>>();
  histories = new Map<string, HistoryRow[]>();
  takeRows = new Map<string, (Take & { readonly rollout: string })[]>();
  assignments = new Map<string, Assignment>();
  devices = new Map<string, EligibleDevice>();
  labels = new Map<string, Record<string, string>>();
  /** What a device reports of its present release, whatever the hours. */
  measured: (device: string) => ArmMeasures = () => NOTHING_MEASURED;
  reports = new Map<string, DeviceFacts>();
  revoked = new Set<string>();
  releases = new Map<string, PublishedRelease>();
  commits = 0;
  readonly #looks = new Map<string, Look>();
  /**
   * Called before (`wrote` false) and after each commit; may throw: a store that broke down, its
   * answer lost or not.
   */
  trouble: (wrote: boolean) => void = () => {};

  async active(): Promise<RolloutRow[]> {
    const undecided = (id: string): boolean =>
      this.#members(id).some(
        ({ state, proven }) => UNDECIDED.includes(state) || (state === 'confirmed' && !proven),
      );
    return [...this.rows.values()].filter(
      (row) =>
        ACTIVE_STATES.includes(row.state) || (row.state === 'completed' && undecided(row.id)),
    );
  }
  #members(id: string): MemberRow[] {
    return [...(this.memberRows.get(id)?.values() ?? [])];
  }
  async membersOf(rollout: string, devices: readonly string[]): Promise<MemberRow[]> {
    const rows = this.memberRows.get(rollout);
    return devices
      .flatMap((device) => rows?.get(device) ?? [])
      .sort((a, b) => compareKeys(keyOf(a), keyOf(b)));
  }
  async dueRollouts(now: number): Promise<string[]> {
    const isDue = async (id: string) => (await this.due(id, now, 1)).length > 0;
    const due: string[] = [];
    for (const id of this.rows.keys()) if (await isDue(id)) due.push(id);
    return due;
  }
  async due(rollout: string, now: number, limit: number): Promise<MemberLook[]> {
    const due: MemberLook[] = [];
    for (const member of this.memberRows.get(rollout)?.values() ?? []) {
      if (due.length === limit) break;
      const look = this.#lookAt(member);
      if (look.at <= now) due.push({ device: member.device, mark: look.mark });
    }
    return due;
  }
  /** As the triggers of the database: due again when the member or its device's report changed. */
  #lookAt(member: MemberRow): Look {
    const { rollout, device } = member;
    const key = `${rollout} ${device}`;
    const report = this.reports.get(device);
    const isRevoked = this.revoked.has(device);
    const known = this.#looks.get(key);
    if (known?.member === member && known.report === report && known.isRevoked === isRevoked)
      return known;
    const text = JSON.stringify([report?.update, report?.trial]);
    const isNew =
      known === undefined
        ? member.state !== 'waiting' || (report?.update ?? null) !== null
        : known.member !== member ||
          known.text !== text ||
          known.isRevoked !== isRevoked ||
          (known.report?.lastSeenAt !== report?.lastSeenAt &&
            ['silent', 'lost', 'reverting'].includes(member.state));
    const at = isNew ? 0 : (known?.at ?? Infinity);
    const mark = (known?.mark ?? 0) + (isNew ? 1 : 0);
    const look = { device, member, report, isRevoked, text, at, mark };
    this.#looks.set(key, look);
    return look;
  }
  async looked(rollout: string, looks: readonly LookedAt[]): Promise<void> {
    for (const { device, mark, at } of looks) {
      const member = this.memberRows.get(rollout)?.get(device);
      if (member === undefined) continue;
      const look = this.#lookAt(member);
      if (look.mark === mark)
        this.#looks.set(`${rollout} ${device}`, { ...look, at: at ?? Infinity });
    }
  }
  async forgetLooks(): Promise<void> {}
  async takeSigns(series: string): Promise<{ hasTakes: boolean; failed: number }> {
    const takes = await this.takes(series);
    return { hasTakes: takes.length > 0, failed: takes.filter(({ failed }) => failed).length };
  }
  async takesSince(rollout: string, since: number): Promise<number> {
    return this.#members(rollout).filter(
      ({ assignedAt, state }) => (assignedAt ?? 0) > since && state !== 'waiting',
    ).length;
  }
  async inTurn(
    id: string,
    { wave, hardware }: TurnFilter,
    page: PageRequest<MemberKey>,
  ): Promise<MemberRow[]> {
    const waiting = await this.memberPage(id, { state: 'waiting' }, { ...page, limit: Infinity });
    return waiting
      .filter((one) => one.wave <= wave && hardware.includes(one.hardware))
      .slice(0, page.limit);
  }
  async assigned(
    rollout: string,
    states: readonly MemberState[],
    limit: number,
  ): Promise<MemberRow[]> {
    return (await this.members(rollout))
      .filter(
        ({ state, assignmentId, device }) =>
          states.includes(state) && assignmentId !== null && !this.revoked.has(device),
      )
      .slice(0, limit);
  }
  async takePage(series: string, after: number, limit: number): Promise<NumberedTake[]> {
    const takes = await this.takes(series);
    return takes.map((one, index) => ({ ...one, seq: index + 1 })).slice(after, after + limit);
  }
  async member(rollout: string, device: string): Promise<MemberRow | null> {
    return this.memberRows.get(rollout)?.get(device) ?? null;
  }
  async memberCounts(rollout: string): Promise<MemberCount[]> {
    const counts = new Map<string, MemberCount>();
    for (const { wave, hardware, state, proven } of this.memberRows.get(rollout)?.values() ?? []) {
      const key = `${wave} ${hardware} ${state} ${proven}`;
      const count = (counts.get(key)?.count ?? 0) + 1;
      counts.set(key, { wave, hardware, state, proven, count });
    }
    return [...counts.values()];
  }
  async undecidedElsewhere(rollout: string, devices: readonly string[]): Promise<Set<string>> {
    const others = [...this.memberRows].filter(([id]) => id !== rollout);
    const isUndecided = (device: string): boolean =>
      others.some(([, members]) => UNDECIDED.includes(members.get(device)?.state ?? 'waiting'));
    return new Set(devices.filter(isUndecided));
  }
  async offersTo(device: string): Promise<string[]> {
    if (this.revoked.has(device)) return [];
    const rows = [...this.rows.values()];
    const stateIn = (row: RolloutRow) => this.memberRows.get(row.id)?.get(device)?.state;
    const open = rows.filter((row) => {
      const wave = this.memberRows.get(row.id)?.get(device)?.wave ?? Number.POSITIVE_INFINITY;
      return row.state === 'rolling' && stateIn(row) === 'waiting' && wave <= row.wave;
    });
    const isBusy = rows.some(({ state }) => ACTIVE_STATES.includes(state));
    const last = rows
      .filter((row) => row.state === 'completed' && this.#selects(row.selector, device))
      .at(-1);
    const update = this.reports.get(device)?.update ?? null;
    const state = last === undefined ? undefined : (stateIn(last) ?? 'waiting');
    const isStanding =
      last !== undefined &&
      !isBusy &&
      (state === 'waiting' ||
        (state === 'confirmed' &&
          update !== null &&
          update.running?.digest !== last.release.digest));
    return [...open.map(({ id }) => id), ...(isStanding ? [last.id] : [])];
  }
  #selects(selector: Selector, id: string): boolean {
    const { group = '', hardware = '' } = this.devices.get(id) ?? {};
    return matches(selector, { group, hardware, labels: this.labels.get(id) ?? {} });
  }
  async measures(_component: string, device: string): Promise<ArmMeasures> {
    return this.measured(device);
  }
  async lastTake(rollout: string, nth: number): Promise<number | null> {
    return lastTake(this.#members(rollout), nth);
  }
  async standingBefore({ id, selector, createdAt }: RolloutRow): Promise<ReleaseRef | null> {
    const selectors = [selector, {}].map((one) => JSON.stringify(one));
    const before = [...this.rows.values()].filter(
      (row) =>
        row.id !== id &&
        row.state === 'completed' &&
        row.createdAt <= createdAt &&
        selectors.includes(JSON.stringify(row.selector)),
    );
    return before.at(-1)?.release ?? null;
  }
  async takes(series: string): Promise<Take[]> {
    const rows = this.takeRows.get(series) ?? [];
    return rows.map(({ device, hardware, failed }) => ({ device, hardware, failed }));
  }
  async newestCompleted(): Promise<RolloutRow[]> {
    const newest = new Map<string, RolloutRow>();
    for (const row of this.rows.values()) {
      const key = JSON.stringify([row.release.component, row.selector]);
      if (row.state === 'completed' && row.createdAt >= (newest.get(key)?.createdAt ?? 0))
        newest.set(key, row);
    }
    return [...newest.values()];
  }
  async createdSince(since: number): Promise<number> {
    return [...this.rows.values()].filter((row) => row.createdAt >= since).length;
  }
  async rollout(id: string): Promise<RolloutRow | null> {
    return this.rows.get(id) ?? null;
  }
  async members(id: string): Promise<MemberRow[]> {
    return this.#members(id).sort((a, b) => compareKeys(keyOf(a), keyOf(b)));
  }
  async memberPage(
    id: string,
    { wave, state, failed }: MemberFilter,
    { limit, after }: PageRequest<MemberKey>,
  ): Promise<MemberRow[]> {
    const rows = (await this.members(id)).filter(
      (row) =>
        (wave === undefined || row.wave === wave) &&
        (state === undefined || row.state === state) &&
        (failed === undefined || row.failed === failed) &&
        (after === null || compareKeys(keyOf(row), after) > 0),
    );
    return rows.slice(0, limit);
  }
  async facts(_component: string, devices: readonly string[]): Promise<Map<string, DeviceFacts>> {
    return new Map(
      devices.flatMap((device) => {
        const facts = this.reports.get(device);
        const assignment = this.assignments.get(device);
        const standing =
          assignment === undefined
            ? null
            : { release: assignment.release, rollback: assignment.rollback };
        return facts === undefined
          ? []
          : [
              [
                device,
                { ...facts, standing, status: this.revoked.has(device) ? 'revoked' : 'enrolled' },
              ] as const,
            ];
      }),
    );
  }
  async commit(change: RolloutChange, now: number): Promise<boolean> {
    this.trouble(false);
    const wrote = this.#write(change, now);
    this.trouble(true);
    return wrote;
  }
  #write(change: RolloutChange, now: number): boolean {
    const { rollout, members, assignments } = change;
    const before = this.rows.get(rollout.id);
    assert(before !== undefined);
    if (before.revision !== rollout.revision) return false;
    const rival = [...this.rows.values()].some(
      (row) =>
        row.id !== rollout.id &&
        ACTIVE_STATES.includes(row.state) &&
        row.release.component === rollout.release.component,
    );
    if (rival && ACTIVE_STATES.includes(rollout.state)) return false;
    const rows = this.memberRows.get(rollout.id);
    for (const member of members) {
      const assignment = assignments.find((other) => other.device === member.device);
      if (assignment === undefined) {
        rows?.set(member.device, member);
        continue;
      }
      const assignmentId = (this.assignments.get(member.device)?.assignmentId ?? 0) + 1;
      this.assignments.set(member.device, { ...assignment, assignmentId, trace: rollout.trace });
      rows?.set(member.device, { ...member, assignmentId, assignedAt: now });
    }
    const owned = new Set(members.map((member) => member.device));
    assert(
      assignments.every((assignment) => owned.has(assignment.device)),
      'an assignment has its member',
    );
    const { state, wave, reasons } = rollout;
    const changed =
      before.state !== state || before.wave !== wave || before.reasons.join() !== reasons.join();
    if (changed) this.histories.get(rollout.id)?.push({ at: now, state, wave, reasons });
    this.#writeTakes(change);
    for (const device of change.updated ?? []) {
      const assignment = this.assignments.get(device);
      assert(assignment !== undefined && this.#lags(rollout, assignment));
      this.assignments.set(device, { ...assignment, ...wanted(rollout) });
    }
    this.rows.set(rollout.id, { ...rollout, revision: rollout.revision + 1 });
    this.commits++;
    return true;
  }
  #lags(row: RolloutRow, { rollout, rollback, release, activation, trial }: Assignment): boolean {
    const isForward = rollout === row.id && !rollback && release !== null;
    return isForward && JSON.stringify(wanted(row)) !== JSON.stringify({ activation, trial });
  }
  async lagging(row: RolloutRow, { limit, after }: PageRequest<string>): Promise<MemberRow[]> {
    return [...this.assignments.values()]
      .filter((one) => this.#lags(row, one) && (after === null || one.device > after))
      .map(({ device }) => this.memberRows.get(row.id)?.get(device))
      .filter((member) => member !== undefined)
      .sort((a, b) => (a.device < b.device ? -1 : 1))
      .slice(0, limit);
  }
  #writeTakes({ rollout, members, takes = [], untaken = [] }: RolloutChange): void {
    const series = seriesOf(rollout);
    const known = this.takeRows.get(series) ?? [];
    const added = takes
      .filter((device) => !known.some((one) => one.device === device))
      .map((device) => {
        const hardware = members.find((one) => one.device === device)?.hardware ?? '';
        return { device, hardware, failed: false, rollout: rollout.id };
      });
    const failed = new Set(members.filter((one) => one.failed).map(({ device }) => device));
    this.takeRows.set(
      series,
      [...known, ...added]
        .map((one) => (failed.has(one.device) ? { ...one, failed: true } : one))
        .filter((one) => one.failed || one.rollout !== rollout.id || !untaken.includes(one.device)),
    );
  }
  async insertRollout(row: RolloutRow, members: readonly MemberRow[]): Promise<void> {
    this.rows.set(row.id, row);
    this.memberRows.set(row.id, new Map(members.map((member) => [member.device, member])));
    this.histories.set(row.id, [
      { at: row.createdAt, state: row.state, wave: row.wave, reasons: row.reasons },
    ]);
  }
  async scanned(): Promise<null> {
    return null;
  }

  async page(
    { limit, after }: PageRequest<RolloutKey>,
    { component, state }: RolloutFilter = {},
  ): Promise<RolloutSummaryRow[]> {
    const key = (row: RolloutRow): string => `${row.createdAt} ${row.id}`;
    return [...this.rows.values()]
      .sort((a, b) => (key(a) < key(b) ? 1 : -1))
      .filter((row) => (component ?? row.release.component) === row.release.component)
      .filter((row) => (state ?? row.state) === row.state)
      .filter((row) => after === null || key(row) < `${after[0]} ${after[1]}`)
      .slice(0, limit)
      .map((row) => ({ ...row, devices: this.memberRows.get(row.id)?.size ?? 0 }));
  }
  async history(id: string): Promise<HistoryRow[]> {
    return this.histories.get(id) ?? [];
  }
  async eligible(
    _component: string,
    hardware: readonly string[],
    selector: Selector,
    device?: string,
  ): Promise<EligibleDevice[]> {
    const fits = ({ id, hardware: kind }: EligibleDevice) =>
      !this.revoked.has(id) &&
      hardware.includes(kind) &&
      this.#selects(selector, id) &&
      (device === undefined || device === id);
    return [...this.devices.values()].filter(fits);
  }
  async release(_component: string, version: string): Promise<PublishedRelease | null> {
    return this.releases.get(version) ?? null;
  }
}

/**
 * What a device makes of a release: `differing` answers differently on 15 %; `liar` confirms
 * whatever it measured; `dead` never speaks again once it has the order.
 */
export type Nature = 'good' | 'bad' | 'differing' | 'crashing' | 'liar' | 'dead';

export class SimDevice {
  #seconds = 0;
  #assignmentSeen = 0;
  running: ReleaseRef | null;
  previous: ReleaseRef | null = null;
  updatingTo: ReleaseRef | null = null;
  state: UpdateBody['state'] = 'idle';
  outcome: Outcome | null = null;
  trial: TrialBody | null = null;
  silent = false;
  /** Of its agent: a restart changes it. */
  instance = 'i1';

  readonly #store: MemoryRolloutStore;
  readonly #nature: (release: ReleaseRef) => Nature;
  readonly #contact: (device: string) => Promise<void>;

  constructor(
    readonly id: string,
    readonly spot: EligibleDevice,
    running: ReleaseRef | null,
    store: MemoryRolloutStore,
    nature: (release: ReleaseRef) => Nature,
    contact: (device: string) => Promise<void>,
  ) {
    this.#store = store;
    this.#nature = nature;
    this.#contact = contact;
    this.running = running;
  }

  async tick(now: number): Promise<void> {
    if (!this.silent) await this.#live(now);
  }

  /** One second: ask, look at the assignment, take one step, report. */
  async #live(now: number): Promise<void> {
    await this.#contact(this.id);
    const assignment = this.#store.assignments.get(this.id);
    if (assignment !== undefined && assignment.assignmentId !== this.#assignmentSeen)
      this.#take(assignment);
    else if (assignment !== undefined) this.#step(assignment);
    if (!this.silent) this.report(now);
  }

  refuse(outcome: Outcome): void {
    this.#assignmentSeen = outcome.assignmentId;
    this.state = 'idle';
    this.outcome = outcome;
  }

  report(now: number): void {
    const update: UpdateBody = {
      component: COMPONENT,
      state: this.state,
      running: this.running,
      previous: this.previous,
      updatingTo: this.state === 'idle' ? null : this.updatingTo,
      assignmentId: this.#assignmentSeen,
      progress: null,
      outcome: this.outcome,
      trouble: null,
      conditions: [],
      directorVersion: 0,
    };
    this.#store.reports.set(this.id, {
      ...this.spot,
      status: 'enrolled',
      lastSeenAt: now,
      instance: this.instance,
      update,
      trial: this.trial,
      standing: null,
    });
  }

  #take(assignment: Assignment): void {
    // A withdrawn order is not in the director's documents: its number is never seen.
    if (assignment.release !== null) this.#assignmentSeen = assignment.assignmentId;
    this.updatingTo = assignment.release; // What is under way: nothing, once it rests.
    if (this.state === 'swapped') [this.running, this.previous] = [this.previous, null];
    this.state = 'idle';
    this.outcome = null;
    // Withdrawn: serving stops.
    if (assignment.release === null) [this.running, this.previous] = [null, null];
    if (assignment.release === null || assignment.release.digest === this.running?.digest) return;
    if (assignment.rollback) {
      this.running = assignment.release;
      return;
    }
    this.state = 'assigned';
    this.silent = this.#nature(assignment.release) === 'dead';
  }

  #step(assignment: Assignment): void {
    const { activation } = assignment;
    if (this.state === 'assigned' || this.state === 'rehearsed') {
      if (activation === 'swap') this.#swap();
      else this.state = activation === 'hold' ? 'rehearsed' : 'shadowing';
      this.#seconds = 0;
    } else if (this.state === 'swapped' || this.state === 'shadowing') this.#measure(assignment);
  }

  #swap(): void {
    [this.previous, this.running, this.state] = [this.running, this.updatingTo, 'swapped'];
  }

  #measure(assignment: Assignment): void {
    const release = assignment.release;
    assert(release !== null);
    this.#seconds++;
    const nature = this.#nature(release);
    const pairs = this.#seconds * 20;
    const wrong = nature === 'bad' || nature === 'liar';
    const share = wrong ? 0.4 : nature === 'differing' ? 0.15 : 0.02;
    const isShadow = this.state === 'shadowing';
    const replaced = isShadow ? this.running : this.previous;
    const compared = replaced !== null;
    const evidence = trialEvidence({
      seconds: this.#seconds,
      served: pairs,
      modelFaults: nature === 'crashing' ? this.#seconds : 0,
      pairs: compared ? pairs : 0,
      differing: compared ? Math.round(pairs * share) : 0,
      replaces: compared,
      comparable: compared,
    });
    this.trial = {
      release,
      previous: replaced,
      assignmentId: assignment.assignmentId,
      evidence,
    };
    const verdict = judgeTrial(evidence, assignment.trial);
    const done = (result: Outcome['result'], code: string | null): void => {
      this.state = 'idle';
      this.outcome = {
        result,
        code,
        detail: verdict.reasons.join('; '),
        release,
        assignmentId: assignment.assignmentId,
      };
    };
    const isDecided = verdict.verdict === 'pass' || verdict.verdict === 'fail';
    if (isShadow) {
      if (isDecided) done('shadowed', verdict.code);
    } else if (nature === 'liar' ? this.#seconds > 2 : verdict.verdict === 'pass')
      done('confirmed', null);
    else if (nature !== 'liar' && verdict.verdict === 'fail') {
      [this.running, this.previous] = [this.previous, null];
      done('rolled_back', verdict.code);
    } else if (nature === 'differing' && verdict.verdict === 'differs_more_than_declared') {
      [this.running, this.previous] = [this.previous, null];
      done('differs', verdict.code);
    }
  }
}

export const policyOf = (change: Partial<RolloutPolicy> = {}): RolloutPolicy => ({
  waves: [
    { name: 'canary', group: 'canary', soakSeconds: 0, approval: false },
    { name: 'half', percent: 50, soakSeconds: 0, approval: false },
    { name: 'all', percent: 100, soakSeconds: 0, approval: false },
  ],
  trial: { ...defaultTrialPolicy, minSeconds: 3, maxSeconds: 60 },
  acceptableFailurePermille: 20,
  alarmingFailurePermille: 100,
  falseAlarmPermille: 50,
  silentAfterSeconds: 30,
  deviceDeadlineSeconds: 120,
  autoRevert: true,
  ...change,
});

export interface SimFleetOptions {
  readonly canaries?: number;
  readonly fleet?: number;
  readonly running?: string | null;
  readonly nature?: (device: number, release: ReleaseRef) => Nature;
  readonly hardware?: (device: number) => string;
}

/**
 * Devices 0 .. canaries-1 are the group `canary`, the rest `fleet`; releases 1.0.0, 1.1.0 and 1.2.0
 * are published.
 */
export class SimFleet {
  readonly clock = new VirtualClock();
  readonly store = new MemoryRolloutStore();
  readonly devices: SimDevice[];
  readonly hints: string[] = [];
  /** Signed, of the component. */
  floor: string | null = null;
  readonly events: SecurityReport[] = [];
  readonly security = { report: (event: SecurityReport) => void this.events.push(event) };
  readonly reception: Reception;
  readonly operators: OperatorService;
  readonly conductor: Conductor;

  /**
   * Every plan is made twice and every commit tried twice, unless a test uses its own conductor.
   */
  constructor(options: SimFleetOptions = {}) {
    const {
      canaries = 2,
      fleet = 4,
      running = '1.0.0',
      nature = () => 'good',
      hardware = () => 'pi4',
    } = options;
    for (const version of ['1.0.0', '1.1.0', '1.2.0']) {
      this.store.releases.set(version, {
        ref: releaseOf(version),
        hardware: ['pi4', 'jetson'],
        declared: [],
      });
    }
    this.devices = Array.from({ length: canaries + fleet }, (_, n) => {
      const spot = {
        id: deviceId(n),
        name: `d${n}`,
        group: n < canaries ? 'canary' : 'fleet',
        hardware: hardware(n),
        site: `site-${n % 3}`,
        lastSeenAt: this.clock.now(),
      };
      this.store.devices.set(spot.id, spot);
      const before = running === null ? null : releaseOf(running);
      const device = new SimDevice(
        spot.id,
        spot,
        before,
        this.store,
        (release) => nature(n, release),
        (id) => this.operators.contact(id),
      );
      device.report(this.clock.now());
      return device;
    });
    this.reception = new Reception({ clock: this.clock });
    const store = new RepeatingStore(this.store, this.reception, () => this.floor);
    const situations = this.#situations(store, this.reception);
    this.conductor = this.#conductor(store, situations, this.reception);
    let count = 0;
    const random: Random = {
      bytes: (length) => new Uint8Array(length).fill(++count),
      fraction: () => 0.5,
    };
    this.operators = new OperatorService({
      store,
      situations,
      clock: this.clock,
      random,
      log: silentLog,
      security: this.security,
      onCommand: () => this.conductor.wake(),
    });
  }

  /**
   * As a second server on the same store, or one that has restarted: with a reception of its own.
   */
  newConductor(): Conductor {
    const reception = new Reception({ clock: this.clock });
    return this.#conductor(this.store, this.#situations(this.store, reception), reception);
  }

  #situations(store: RolloutStore, reception: Reception): SituationReader {
    const floorOf = () => this.floor;
    return new SituationReader({ store, reception, clock: this.clock, floorOf });
  }

  #conductor(store: RolloutStore, situations: SituationReader, reception: Reception): Conductor {
    return new Conductor({
      store,
      situations,
      reception,
      clock: this.clock,
      log: silentLog,
      security: this.security,
      hint: (device) => this.hints.push(device),
    });
  }

  async begin(version: string, policy = policyOf()): Promise<string> {
    const { id } = await this.operators.create(
      { component: COMPONENT, version, policy },
      by('ann'),
    );
    await this.operators.command(id, 'start', by('ann'));
    return id;
  }

  /** Steps of one second until `fact`, or a failure after `seconds`. */
  async until(
    fact: () => boolean,
    conductors: readonly Conductor[] = [this.conductor],
    seconds = 1000,
  ): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      for (const conductor of conductors) await conductor.pass();
      if (fact()) return;
      this.clock.advance(1000);
      for (const device of this.devices) await device.tick(this.clock.now());
    }
    const rows = [...this.store.rows.values()].map((row) => [row.state, row.wave, row.reasons]);
    assert.fail(`it did not come true in ${seconds} s: ${JSON.stringify(rows)}`);
  }

  async seconds(count: number): Promise<void> {
    let left = count;
    await this.until(() => left-- <= 0);
  }

  row(id: string): RolloutRow {
    const row = this.store.rows.get(id);
    assert(row !== undefined);
    return row;
  }

  member(id: string, n: number): MemberRow {
    const member = this.store.memberRows.get(id)?.get(deviceId(n));
    assert(member !== undefined);
    return member;
  }

  /** The operator cuts the device off: it neither hears nor is heard again. */
  revoke(n: number): void {
    this.store.revoked.add(deviceId(n));
    this.devices[n]!.silent = true;
  }

  states(id: string): string {
    return this.devices.map((_, n) => this.member(id, n).state).join(' ');
  }

  versions(): string {
    return this.devices.map((device) => device.running?.version ?? '-').join(' ');
  }
}

/**
 * The same store, but every step runs twice: planned again it is the same plan, committed again it
 * is refused.
 */
class RepeatingStore implements RolloutStore {
  readonly #store: MemoryRolloutStore;
  readonly #reception: Reception;
  readonly #floor: () => string | null;

  constructor(store: MemoryRolloutStore, reception: Reception, floor: () => string | null) {
    this.#store = store;
    this.#reception = reception;
    this.#floor = floor;
  }

  active = () => this.#store.active();
  rollout = (id: string) => this.#store.rollout(id);
  members = (id: string) => this.#store.members(id);
  memberPage = (id: string, of: MemberFilter, page: PageRequest<MemberKey>) =>
    this.#store.memberPage(id, of, page);
  facts = (component: string, devices: readonly string[]) => this.#store.facts(component, devices);
  insertRollout = (row: RolloutRow, members: readonly MemberRow[]) =>
    this.#store.insertRollout(row, members);
  page: RolloutStore['page'] = (page, filter) => this.#store.page(page, filter);
  scanned: RolloutStore['scanned'] = async () => null;
  history = (id: string) => this.#store.history(id);
  eligible: RolloutStore['eligible'] = (component, hardware, selector, device) =>
    this.#store.eligible(component, hardware, selector, device);
  offersTo = (device: string) => this.#store.offersTo(device);
  member: RolloutStore['member'] = (rollout, device) => this.#store.member(rollout, device);
  memberCounts = (rollout: string) => this.#store.memberCounts(rollout);
  undecidedElsewhere: RolloutStore['undecidedElsewhere'] = (rollout, devices) =>
    this.#store.undecidedElsewhere(rollout, devices);
  measures: RolloutStore['measures'] = (component, device) =>
    this.#store.measures(component, device);
  lastTake = (rollout: string, nth: number) => this.#store.lastTake(rollout, nth);
  takes = (series: string) => this.#store.takes(series);
  takePage: RolloutStore['takePage'] = (series, after, limit) =>
    this.#store.takePage(series, after, limit);
  lagging: RolloutStore['lagging'] = (row, page) => this.#store.lagging(row, page);
  takeSigns = (series: string) => this.#store.takeSigns(series);
  takesSince: RolloutStore['takesSince'] = (rollout, since) =>
    this.#store.takesSince(rollout, since);
  inTurn: RolloutStore['inTurn'] = (id, of, page) => this.#store.inTurn(id, of, page);
  assigned: RolloutStore['assigned'] = (rollout, states, limit) =>
    this.#store.assigned(rollout, states, limit);
  membersOf: RolloutStore['membersOf'] = (rollout, devices) =>
    this.#store.membersOf(rollout, devices);
  dueRollouts = (now: number) => this.#store.dueRollouts(now);
  due: RolloutStore['due'] = (rollout, now, limit) => this.#store.due(rollout, now, limit);
  looked: RolloutStore['looked'] = (rollout, looks) => this.#store.looked(rollout, looks);
  forgetLooks = () => this.#store.forgetLooks();
  standingBefore = (rollout: RolloutRow) => this.#store.standingBefore(rollout);
  newestCompleted = () => this.#store.newestCompleted();
  createdSince = (since: number) => this.#store.createdSince(since);
  release = (component: string, version: string) => this.#store.release(component, version);

  async commit(change: RolloutChange, now: number): Promise<boolean> {
    const { rollout } = change;
    const row = this.#store.rows.get(rollout.id);
    const members = await this.members(rollout.id);
    const facts = await this.facts(
      rollout.release.component,
      members.map((member) => member.device),
    );
    const published = new Set(
      [...this.#store.releases.values()].map((release) => release.ref.digest),
    );
    // A conductor's step (not an operator's command) planned again from the same facts is the same
    // step.
    if (row !== undefined && row.revision === rollout.revision) {
      const again = plan({
        rollout: row,
        members,
        facts,
        takes: await this.#store.takes(seriesOf(rollout)),
        blocks: [],
        published,
        before: row.undo && this.#floor() !== null ? await this.#store.standingBefore(row) : null,
        receptionSince: this.#reception.since,
        now,
      });
      // What a contact writes of its own device is part of it.
      const own = again?.members.filter(({ device }) => device === change.members[0]?.device);
      const isOperators = change.audit !== undefined;
      // Assignments that lag behind are not in the situation.
      const isPlanned = change.takes === undefined && change.updated === undefined;
      if (change.members.length > 0 && isPlanned && !isOperators)
        assert.deepEqual(
          change,
          change.members.length === 1 && again !== null && change.untaken === undefined
            ? { rollout: again.rollout, members: own, assignments: change.assignments }
            : again,
        );
    }
    const first = await this.#store.commit(change, now);
    const frozen = JSON.stringify([...this.#store.assignments]);
    assert.equal(
      await this.#store.commit(change, now),
      false,
      'a step committed twice is committed once',
    );
    assert.equal(JSON.stringify([...this.#store.assignments]), frozen);
    return first;
  }
}
