// What operators call about rollouts: create a draft, give a command, read. A command is an event
// of the same table as the conductor's steps, and is committed in the same way: of two writers that
// read the same revision, one loses and reads again. The audit entries of a change are committed
// with it. Authentication is done by the callers; what a command does is in operator-commands.ts.
import { hex } from '../../shared/base/bytes.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Clock, Log, Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { DAY_MS } from '../../shared/base/units.js';
import { policyComplaints } from '../../shared/protocol/policy-complaints.js';
import { limitPercent } from '../../shared/statistics/share-text.js';
import type {
  CommandRequest,
  RolloutCommand,
  RolloutDetail,
  RolloutPreview,
  RolloutRequest,
} from '../../shared/protocol/operator-api.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import type {
  AuditAction,
  PageRequest,
  RolloutFilter,
  RolloutKey,
  RolloutRow,
  RolloutService,
  RolloutStore,
  MemberFilter,
  MemberKey,
  MemberRow,
  RolloutSummaryRow,
  SecurityEventSink,
  StandingRelease,
} from '../interfaces.js';
import { acceptDifference, commanded } from './operator-commands.js';
import { standingReleases } from './standing.js';
import { ACTIVE_STATES } from './transitions.js';
import { viewOf } from './rollout-view.js';
import { KeptViews } from './kept-views.js';
import { emptyArms, placeInArms, withArms } from './arms.js';
import { Contacts } from './contacts.js';
import { waitingMember } from './members.js';
import {
  beyondText,
  expectedDifferences,
  type ExpectedDifferences,
} from './expected-differences.js';
import { newerThan, previewOf, promiseText } from './preview.js';
import type { Situation } from './situation.js';
import type { SituationReader } from './situation-reader.js';
import { selectorText } from '../../shared/protocol/selector-text.js';
import { canShare } from './selector.js';
import { emptyWaves, type Place } from './waves.js';

export interface OperatorServiceOptions {
  readonly store: RolloutStore;
  readonly situations: SituationReader;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly security: Pick<SecurityEventSink, 'report'>;
  /** A command was committed: the conductor should not wait for its next pass. */
  readonly onCommand: () => void;
}

export class OperatorService implements RolloutService {
  readonly #options: OperatorServiceOptions;
  readonly #contacts: Contacts;
  readonly #views: KeptViews;

  constructor(options: OperatorServiceOptions) {
    this.#options = options;
    this.#views = new KeptViews(options.clock);
    this.#contacts = new Contacts(options);
  }

  /**
   * A draft with its members in their waves. Faults: message_undecodable (policy), not_found
   * (release), conflict (no devices, too many, or devices that must refuse the release),
   * difference_not_accepted.
   */
  async create(request: RolloutRequest, audit: AuditAction): Promise<RolloutDetail> {
    const { store, clock } = this.#options;
    const { row, places, expected } = await this.#draft(request, audit.actor);
    const accepted = acceptedText(expected, request);
    const members = places.map((place) => waitingMember(row.id, place, clock.now()));
    const promised = promiseText(members, row.policy);
    const reasons = [
      `created by ${audit.actor}`,
      promised,
      ...expected.declared,
      ...(accepted === null ? [] : [`${audit.actor} accepts: ${accepted}`]),
    ];
    await store.insertRollout({ ...row, reasons }, members, [
      audit,
      created(audit, row.id, row.release),
      ...(accepted === null ? [] : [differenceAccepted(audit, row.id, accepted)]),
    ]);
    return this.#viewAfter(row.id);
  }

  async preview(request: RolloutRequest): Promise<RolloutPreview> {
    const { store, clock } = this.#options;
    const { row, places, expected } = await this.#draft(request, 'preview');
    const rolloutsPerYear = await store.createdSince(clock.now() - 365 * DAY_MS);
    const preview = previewOf(row, places, { rolloutsPerYear, now: clock.now() });
    const refusal =
      expected.beyond.length === 0
        ? []
        : [`to be accepted (--accept-difference): ${beyondText(expected, row.policy.trial)}`];
    return { ...preview, warnings: [...expected.declared, ...refusal, ...preview.warnings] };
  }

  contact(device: string): Promise<void> {
    return this.#contacts.contact(device);
  }

  async #draft(
    { component, version, policy: asked, selector = {} }: RolloutRequest,
    createdBy: string,
  ): Promise<{ row: RolloutRow; places: Place[]; expected: ExpectedDifferences }> {
    const { store, clock, random } = this.#options;
    const complaints = policyComplaints(asked);
    if (complaints.length > 0)
      throw new Fault('message_undecodable', `rollout policy: ${complaints.join('; ')}`);
    const release = await store.release(component, version);
    if (release === null)
      throw new Fault('not_found', `release ${component} ${version} is not published`);
    const devices = await store.eligible(component, release.hardware, selector);
    const id = `ro-${hex(random.bytes(limits.rolloutIdBytes))}`;
    const policy = withArms(asked);
    const places = placeInArms(id, devices, policy);
    const empty = [...emptyWaves(places, policy.waves), ...emptyArms(policy, places)];
    if (empty.length > 0) throw new Fault('conflict', empty.join('; '));
    const selected = selectorText(selector);
    const which = selected === null ? '' : ` and matches ${selected}`;
    requireDevices(places, `${component} on ${release.hardware.join(', ')}${which}`);
    const ids = places.map(({ device }) => device.id);
    const facts = await store.facts(component, ids);
    const refusing = newerThan(version, places, facts);
    if (refusing !== null) throw new Fault('conflict', refusing);
    const now = clock.now();
    const row: RolloutRow = {
      id,
      release: release.ref,
      state: 'draft',
      wave: 0,
      reasons: [],
      policy,
      selector,
      createdAt: now,
      createdBy,
      since: now,
      approved: false,
      answeredAt: null,
      asked: false,
      undo: false,
      silence: null,
      pool: null,
      goAt: null,
      arms: null,
      trace: null,
      revision: 0,
    };
    return { row, places, expected: expectedDifferences(release, policy.trial, places, facts) };
  }

  /** Faults: not_found; conflict, with the present state and the commands that it takes. */
  async command(
    id: string,
    command: RolloutCommand,
    audit: AuditAction,
    { reason, acceptDifferencePermille }: CommandRequest = {},
  ): Promise<RolloutDetail> {
    const { store, clock, onCommand } = this.#options;
    for (let tries = 0; tries < limits.commandTriesMaxCount; tries++) {
      const situation = await this.#commandable(id, acceptDifferencePermille !== undefined);
      if (command === 'start' || command === 'undo')
        await this.#requireNoOtherActive(situation.rollout);
      if (command === 'undo') await this.#requireLast(situation.rollout);
      const after = commanded(situation, command, audit.actor, reason);
      const rollout = ASSIGNS_NOTHING.has(command) ? after : { ...after, trace: audit.trace };
      const accepted =
        acceptDifferencePermille === undefined
          ? { rollout, members: [], assignments: [] }
          : acceptDifference(situation, command, rollout, acceptDifferencePermille);
      const change = { ...accepted, audit: acceptedAudit(audit, id, acceptDifferencePermille) };
      if (await store.commit(change, clock.now())) {
        onCommand();
        return this.#viewAfter(id);
      }
    }
    throw new Fault(
      'conflict',
      `rollout ${id} changes faster than ${command} can be applied; try again`,
    );
  }

  /** Of the members only those that a command may change: the differing ones. */
  async #commandable(id: string, withDiffering: boolean): Promise<Situation> {
    const { store, situations } = this.#options;
    const rollout = await this.#rollout(id);
    const page = { limit: limits.rolloutDevicesMaxCount, after: null };
    const members = withDiffering ? await store.memberPage(id, { state: 'differs' }, page) : [];
    return situations.ofMembers(rollout, members);
  }

  async view(id: string): Promise<RolloutDetail> {
    const rollout = await this.#rollout(id);
    return this.#views.of(rollout, () => this.#viewOf(id));
  }

  /** After a change: never one that was made before it. */
  async #viewAfter(id: string): Promise<RolloutDetail> {
    const rollout = await this.#rollout(id);
    return this.#views.anew(rollout, () => this.#viewOf(id));
  }

  async #viewOf(id: string): Promise<RolloutDetail> {
    const { store, situations } = this.#options;
    return viewOf(await situations.read(id), await store.history(id));
  }

  async #rollout(id: string): Promise<RolloutRow> {
    const rollout = await this.#options.store.rollout(id);
    if (rollout !== null) return rollout;
    throw new Fault(
      'not_found',
      `there is no rollout ${id}; \`linnet rollout list\` lists the rollouts`,
    );
  }

  async members(id: string, of: MemberFilter, page: PageRequest<MemberKey>): Promise<MemberRow[]> {
    await this.#rollout(id);
    return this.#options.store.memberPage(id, of, page);
  }

  page(page: PageRequest<RolloutKey>, filter: RolloutFilter): Promise<RolloutSummaryRow[]> {
    return this.#options.store.page(page, filter);
  }

  scanned(filter: RolloutFilter, after: RolloutKey | null): Promise<RolloutKey | null> {
    return this.#options.store.scanned(filter, after);
  }

  async standing(): Promise<StandingRelease[]> {
    const { store } = this.#options;
    const [completed, open] = [await store.newestCompleted(), await store.active()];
    return standingReleases(
      completed,
      open.filter(({ state }) => ACTIVE_STATES.includes(state)),
    );
  }

  /** Devices that a later release replaced would be sent past it. */
  async #requireLast(undone: RolloutRow): Promise<void> {
    const { id, createdAt } = undone;
    const { component } = undone.release;
    const { store } = this.#options;
    const first = await store.page(
      { limit: limits.listPageMaxCount, after: null },
      { component, state: 'completed' },
    );
    const later = first.find(
      (row) =>
        row.id !== id && row.createdAt >= createdAt && canShare(row.selector, undone.selector),
    );
    if (later === undefined) return;
    throw new Fault(
      'conflict',
      `rollout ${later.id} of ${component} ${later.release.version} came after it: undo that first`,
    );
  }

  /** The store would refuse a second one as well; this names the first one. */
  async #requireNoOtherActive({ id, release: { component } }: RolloutRow): Promise<void> {
    const active = await this.#options.store.active();
    // Late devices of a completed rollout do not keep the next release from starting.
    const other = active.find(
      (row) =>
        row.id !== id && row.release.component === component && ACTIVE_STATES.includes(row.state),
    );
    if (other === undefined) return;
    throw new Fault(
      'conflict',
      `rollout ${other.id} of ${component} ${other.release.version} is ${other.state}: a ` +
        'component can have one active rollout; wait until it ends, or abort it',
    );
  }
}

/** What devices are assigned later follows from another request. */
const ASSIGNS_NOTHING: ReadonlySet<RolloutCommand> = new Set(['pause', 'drop']);

function requireDevices(places: readonly Place[], what: string): void {
  const most = limits.rolloutDevicesMaxCount;
  if (places.length === 0) throw new Fault('conflict', `no enrolled device carries ${what}`);
  if (places.length > most)
    throw new Fault(
      'conflict',
      `${places.length} devices; a rollout takes at most ${most}: choose fewer by its selector`,
    );
}

/** What the request takes; null when nothing has to be taken. Fault difference_not_accepted. */
function acceptedText(
  expected: ExpectedDifferences,
  { policy, acceptDifference }: RolloutRequest,
): string | null {
  if (expected.beyond.length === 0) return null;
  const text = beyondText(expected, policy.trial);
  if (acceptDifference !== true) throw new Fault('difference_not_accepted', text);
  return text;
}

const differenceAccepted = (
  { actor, trace }: AuditAction,
  subject: string,
  detail: string,
): AuditAction => ({ actor, action: 'rollout.difference_accepted', subject, detail, trace });

function acceptedAudit(audit: AuditAction, id: string, permille?: number): AuditAction[] {
  if (permille === undefined) return [audit];
  const text = `a mean difference of up to ${limitPercent(permille / 1000)}`;
  return [audit, differenceAccepted(audit, id, text)];
}

/** The request names the release; this entry also names the rollout and the release's digest. */
function created({ actor, trace }: AuditAction, id: string, release: ReleaseRef): AuditAction {
  const { component, version, digest } = release;
  return {
    actor,
    action: 'rollout.created',
    subject: id,
    detail: `${component}@${version} ${digest}`,
    trace,
  };
}
