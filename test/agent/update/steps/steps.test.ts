// Single steps of the update machine, each on a context of a few answers: what a step returns, and
// what it does not catch. Whole updates on a simulated disk are in the tests beside this folder.
// Over 400 lines because the steps share their context.
import { describe, expect, it } from 'vitest';
import {
  freshRecord,
  type Assignment,
  type UpdateRecord,
} from '../../../../agent/update/record.js';
import { assigned } from '../../../../agent/update/steps/assigned.js';
import { downloaded, verified } from '../../../../agent/update/steps/install.js';
import { idle, stranded } from '../../../../agent/update/steps/rest.js';
import { shadowing } from '../../../../agent/update/steps/shadow.js';
import type { StepContext, StepResult } from '../../../../agent/update/steps/step.js';
import { isSuperseded } from '../../../../agent/update/steps/superseded.js';
import { rehearsed } from '../../../../agent/update/steps/swap.js';
import { rollBack, swapped } from '../../../../agent/update/steps/trial.js';
import { Fault } from '../../../../shared/base/fault-codes.js';
import { limits } from '../../../../shared/base/limits.js';
import type { UpdateState } from '../../../../shared/protocol/states.js';
import { assignmentFor, simRelease, type SimRelease } from '../../../sim/release.js';

const [v1, v2] = [simRelease('1.0.0'), simRelease('1.1.0')];
const ref = ({ manifest, digest }: SimRelease) => ({
  component: manifest.component,
  version: manifest.version,
  digest,
});
const opened = (release: SimRelease) => ({ ...ref(release), manifest: release.manifest });
const REST = { waitMs: limits.idlePauseMs };
const damage = (): never => {
  throw new Fault('file_digest', 'other bytes');
};
const bug = (): never => {
  throw new TypeError('a bug');
};

type Fields = { readonly [K in keyof UpdateRecord]?: UpdateRecord[K] };

/** A context with these answers; what a step asks besides fails the test. */
const contextOf = <S extends UpdateState>(record: Fields, over: object = {}): StepContext<S> =>
  ({
    record: { ...freshRecord('digits', 'sim'), ...record },
    latest: undefined,
    mayRetry: true,
    maySwap: () => true,
    opensAt: () => null,
    ...over,
  }) as unknown as StepContext<S>;

describe('idle', () => {
  const ran = { assignmentId: 5, slots: { a: ref(v1), b: null }, floor: '1.0.0', first: false };
  const lost = { ...ran, active: null };
  const step = (record: Fields, latest: Assignment | null, over: object = {}) =>
    idle(contextOf<'idle'>(record, { latest, ...over }));
  const isAccepted = async (...given: Parameters<typeof step>): Promise<boolean> => {
    const result = await step(...given);
    return 'event' in result && result.event === 'assigned';
  };

  it.each<[string, boolean, Fields, Assignment, object]>([
    ['new', true, { ...ran, active: 'a' }, assignmentFor(v2, 6), {}],
    ['older', false, { ...ran, active: 'a' }, assignmentFor(v2, 4, { rollback: true }), {}],
    ['older_of_a_lost_device', false, lost, assignmentFor(v2, 4), {}],
    ['failed', false, { ...ran, active: 'a' }, assignmentFor(v2, 5), {}],
    [
      'failed_rollback',
      true,
      { ...ran, active: 'a' },
      assignmentFor(v2, 5, { rollback: true }),
      {},
    ],
    [
      'rollback_that_runs',
      false,
      { ...ran, active: 'a' },
      assignmentFor(v1, 5, { rollback: true }),
      {},
    ],
    ['failed_of_a_lost_device', true, lost, assignmentFor(v2, 5), {}],
    [
      'failed_shadow_of_a_lost_device',
      false,
      lost,
      assignmentFor(v2, 5, { activation: 'shadow' }),
      {},
    ],
    [
      'failed_of_a_device_that_served_nothing',
      false,
      { ...lost, floor: null },
      assignmentFor(v2, 5),
      {},
    ],
    ['failed_too_lately', false, lost, assignmentFor(v2, 5), { mayRetry: false }],
  ])('accepts_what_is_%s_%s', async (_, accepts, record, latest, over) => {
    expect(await isAccepted(record, latest, over)).toBe(accepts);
  });

  it('answers_what_runs_already_at_once', async () => {
    const record = { ...ran, active: 'a' } as const;
    const change = async (options: Parameters<typeof assignmentFor>[2]) =>
      (await step(record, assignmentFor(v1, 6, options))).change;
    const outcome = { code: null, release: ref(v1), assignmentId: 6 };
    expect(await change({})).toEqual({
      assignmentId: 6,
      shadowed: false,
      floor: '1.0.0',
      outcome: { ...outcome, result: 'confirmed', detail: 'this release was running already' },
    });
    const back = await step(
      { ...record, floor: '2.0.0' },
      assignmentFor(v1, 6, { rollback: true }),
    );
    expect(back.change).toMatchObject({ floor: '1.0.0', outcome: { result: 'reverted' } });
    expect(await change({ activation: 'shadow' })).toEqual({
      assignmentId: 6,
      shadowed: true,
      outcome: { ...outcome, result: 'shadowed', detail: 'this release is serving already' },
    });
  });

  it('stops_serving_when_its_only_release_is_withdrawn', async () => {
    const first = { ...ran, active: 'a', first: true } as const;
    expect(await step(first, null)).toEqual({
      ...REST,
      change: { active: null, slots: { a: null, b: null } },
    });
    for (const keeps of [
      { active: null },
      { first: false },
      { shadowed: true },
      { assignmentId: 0 },
    ])
      expect(await step({ ...first, ...keeps }, null)).toEqual(REST);
  });
});

describe('stranded', () => {
  it('accepts_any_assignment_of_something_to_serve', async () => {
    const step = (latest: Assignment | null | undefined) =>
      stranded(contextOf<'stranded'>({ assignmentId: 9 }, { latest, opensAt: () => 1 }));
    expect(await step(assignmentFor(v2, 3))).toMatchObject({ event: 'assigned' });
    for (const none of [undefined, null, assignmentFor(v2, 10, { activation: 'shadow' })])
      expect(await step(none)).toEqual(REST);
  });
});

describe('an assignment under way', () => {
  it.each([
    ['swap', 'swap', false],
    ['hold', 'hold', false],
    ['hold', 'swap', false],
    ['swap', 'hold', true],
    ['shadow', 'swap', true],
    ['shadow', 'shadow', false],
    ['hold', 'shadow', true],
  ] as const)('as_%s_is_superseded_by_%s_%s', (activation, now, expected) => {
    const assignment = assignmentFor(v2, 5, { activation });
    const latest = assignmentFor(v2, 5, { activation: now });
    expect(isSuperseded(contextOf({ state: 'staged', assignment }, { latest }))).toBe(expected);
    expect(isSuperseded(contextOf({ state: 'staged', assignment }, { latest: null }))).toBe(true);
    expect(isSuperseded(contextOf({ state: 'staged', assignment }))).toBe(false);
  });
});

/** Files of a device: envelopes by folder, and what the step did. */
function files(envelopes: Readonly<Record<string, SimRelease | (() => never)>>) {
  const done: string[] = [];
  const note = (what: string) => () => Promise.resolve(void done.push(what));
  const byName = new Map(Object.entries(envelopes));
  const open = (bytes: unknown) => {
    const found = byName.get(bytes as string);
    return typeof found === 'function' ? found() : opened(found ?? v2);
  };
  return {
    done,
    open,
    free: Number.MAX_SAFE_INTEGER,
    local: [] as unknown,
    slots: {
      prepare: note('prepare'),
      tidy: note('tidy'),
      incoming: () => 'incoming',
      slot: (name: string) => name,
      acceptance: () => 'acceptance',
      partial: () => 'partial',
      envelope: (folder: string) => Promise.resolve(byName.has(folder) ? folder : null),
      verifyFiles: note('verify'),
      layOut: note('lay out'),
    },
    fetchEnvelope: () => (done.push('fetch'), Promise.resolve('fetched')),
  };
}

describe('assigned', () => {
  const assignment = assignmentFor(v2, 5);
  const step = async (
    envelopes: Parameters<typeof files>[0],
    {
      slots = { a: null, b: null },
      missing = 0,
      ...over
    }: Fields & {
      missing?: number;
      free?: number;
    } = {},
  ) => {
    const there = files(envelopes);
    let local: unknown;
    const download = {
      missingBytes: (_: unknown, releases: unknown) => (
        (local = releases),
        Promise.resolve(missing)
      ),
      keepEnvelope: () => Promise.resolve(void there.done.push('keep')),
      beside: () => Promise.resolve(void there.done.push('beside')),
      files: () => Promise.resolve(void there.done.push('files')),
    };
    const free = over.free ?? there.free;
    const disk = { freeBytes: () => Promise.resolve(free) };
    const context = contextOf<'assigned'>(
      { slots, assignment, state: 'assigned', ...over },
      { ...there, download, disk },
    );
    const result = await assigned(context);
    return { result, done: there.done.slice(2), local };
  };

  it.each<[string, Parameters<typeof files>[0], Fields, string[]]>([
    ['kept', { incoming: v2 }, {}, ['files']],
    ['kept_of_another_release', { incoming: v1 }, {}, ['fetch', 'keep', 'files']],
    ['damaged', { incoming: damage }, {}, ['fetch', 'keep', 'files']],
    ['in_a_slot', { b: v2 }, { slots: { a: null, b: ref(v2) } }, ['keep', 'files']],
    ['of_another_slot', { a: v1 }, { slots: { a: ref(v1), b: null } }, ['fetch', 'keep', 'files']],
    ['lost_in_its_slot', {}, { slots: { a: ref(v2), b: null } }, ['fetch', 'keep', 'files']],
  ])('fetches_an_envelope_unless_it_is_there_%s', async (_, envelopes, record, done) => {
    expect(await step(envelopes, record)).toMatchObject({ result: { event: 'downloaded' }, done });
  });

  it('fetches_no_file_that_a_slot_holds', async () => {
    const slots = { a: ref(v1), b: null };
    const held = (envelopes: Parameters<typeof files>[0], over = slots) =>
      step({ incoming: v2, ...envelopes }, { slots: over }).then(({ local }) => local);
    expect(await held({ a: v1 })).toEqual([{ folder: 'a', files: v1.manifest.files }]);
    expect(await held({ a: v1 }, { a: null, b: null } as never)).toEqual([]);
    expect(await held({})).toEqual([]);
    expect(await held({ a: damage })).toEqual([]);
    await expect(held({ a: bug })).rejects.toThrow('a bug');
    await expect(step({ incoming: bug })).rejects.toThrow('a bug');
  });

  it('needs_space_for_the_files_and_for_the_acceptance_set', async () => {
    const acceptance = { sha256: 'a'.repeat(64), length: 70 };
    const given = { assignment: assignmentFor(v2, 5, { acceptance }), missing: 100 };
    const free = limits.freeSpaceReserveBytes + 170;
    expect((await step({ incoming: v2 }, { ...given, free })).done).toEqual(['beside', 'files']);
    await expect(step({ incoming: v2 }, { ...given, free: free - 1 })).rejects.toThrow(
      'contract_disk',
    );
  });
});

describe('downloaded', () => {
  const step = (
    record: Fields,
    verifyFiles: () => unknown = () => undefined,
    over: Parameters<typeof assignmentFor>[2] = {},
  ) => {
    const there = files({ incoming: v2 });
    const admitted: string[] = [];
    const context = contextOf<'downloaded'>(
      { state: 'downloaded', assignment: assignmentFor(v2, 5, over), ...record },
      {
        ...there,
        slots: { ...there.slots, verifyFiles: async () => verifyFiles() },
        acceptance: { verified: () => Promise.resolve(null) },
        disk: { remove: () => Promise.resolve(void admitted.push('removed')) },
        handler: {
          admit: () => Promise.resolve(void admitted.push('admitted')),
          admitShadow: (_: unknown, current: unknown) => admitted.push(`beside ${String(current)}`),
        },
        releases: { installed: () => Promise.resolve('what serves') },
      },
    );
    return downloaded(context).then((result) => ({ result, admitted }));
  };
  const slots = { a: ref(v1), b: ref(v1) };

  it('no_longer_names_what_the_spare_slot_held_unless_it_is_this_release', async () => {
    const after = async (b: UpdateRecord['slots']['b']) =>
      (await step({ active: 'a', slots: { ...slots, b } })).result;
    const event = (b: UpdateRecord['slots']['b']) => ({
      event: 'verified',
      change: { slots: { a: ref(v1), b } },
    });
    expect(await after(ref(v1))).toEqual(event(null));
    expect(await after(ref(v2))).toEqual(event(ref(v2)));
    expect(await after(null)).toEqual(event(null));
  });

  it('asks_whether_a_shadow_can_run_beside_what_serves', async () => {
    expect((await step({})).admitted).toEqual(['admitted']);
    expect((await step({}, undefined, { activation: 'shadow' })).admitted).toEqual([
      'admitted',
      'beside what serves',
    ]);
  });

  it('downloads_damaged_bytes_again_until_the_last_try', async () => {
    for (const code of ['file_digest', 'file_length'] as const) {
      const bad = () => Promise.reject(new Fault(code, 'other bytes'));
      const most = limits.fetchTriesMaxCount;
      expect(await step({ damaged: most - 2 }, bad)).toEqual({
        result: {
          event: 'damaged',
          change: { damaged: most - 1 },
          reports: [{ kind: 'security', code, detail: 'other bytes; downloading it again' }],
        },
        admitted: ['removed'],
      });
      await expect(step({ damaged: most - 1 }, bad)).rejects.toThrow(code);
    }
    const failed = () => Promise.reject(new Fault('disk_failed', 'EIO'));
    await expect(step({}, failed)).rejects.toThrow('disk_failed');
  });

  it('or_verified_release_that_lost_its_envelope_is_damaged', async () => {
    const there = files({});
    const record = { state: 'verified', assignment: assignmentFor(v2, 5) } as const;
    await expect(verified(contextOf<'verified'>(record, there))).rejects.toThrow(
      'manifest_undecodable',
    );
  });
});

describe('a shadow', () => {
  const step = (handler: object, candidate: unknown = 'candidate') =>
    shadowing(
      contextOf<'shadowing'>(
        { state: 'shadowing', active: 'a', assignment: assignmentFor(v2, 5) },
        {
          releases: {
            installed: (_: unknown, slot: string) =>
              Promise.resolve(slot === 'b' ? candidate : 'old'),
          },
          handler: { serves: true, startShadow: () => Promise.resolve(), ...handler },
        },
      ),
    );
  const saw = (verdict: string, evidence: unknown) => ({
    observeShadow: () =>
      Promise.resolve({ verdict, code: null, evidence, reasons: ['one', 'two'] }),
  });

  it('reports_what_it_measures_and_ends_with_a_verdict', async () => {
    const wait = { waitMs: limits.trialPauseMs };
    expect(await step(saw('measuring', 'seen'))).toEqual({
      ...wait,
      reports: [{ kind: 'trial', evidence: 'seen', stage: 'measuring' }],
    });
    expect(await step(saw('measuring', null))).toEqual({ ...wait, reports: [] });
    expect(await step(saw('pass', 'seen'))).toMatchObject({
      event: 'shadowed',
      change: { outcome: { result: 'shadowed', code: null, detail: 'one; two' } },
      reports: [{ kind: 'trial', evidence: 'seen', stage: 'decided' }],
    });
  });

  it('whose_release_no_longer_verifies_is_a_fault', async () => {
    await expect(step({}, null)).rejects.toThrow('file_digest');
    expect(await step({ serves: false }, null)).toEqual(REST);
  });
});

describe('a hold', () => {
  const step = async (record: Fields, latest?: Assignment) => {
    let checks = 0;
    const verify = () => Promise.resolve((checks++, 'candidate'));
    const assignment = assignmentFor(v2, 5, { activation: 'hold' });
    const result = await rehearsed(
      contextOf<'rehearsed'>(
        { state: 'rehearsed', slots: { a: ref(v1), b: ref(v2) }, assignment, ...record },
        { latest, opensAt: () => 86_400_000, releases: { verify } },
      ),
    );
    return { result, checks };
  };
  const go = assignmentFor(v2, 5);

  it('waits_for_the_word_and_then_for_the_update_hours', async () => {
    expect(await step({ active: 'a' })).toEqual({ result: REST, checks: 0 });
    const deferred = { trouble: { code: 'deferred' } };
    for (const record of [{ active: 'a', floor: '1.0.0' } as const, { active: null, floor: null }])
      expect(await step(record, go)).toMatchObject({ result: deferred, checks: 0 });
    // A device that lost what it served does not wait.
    expect(await step({ active: null, floor: '1.0.0' }, go)).toMatchObject({
      result: { event: 'swapped', change: { active: 'a' } },
      checks: 1,
    });
  });
});

describe('a trial', () => {
  const record = {
    state: 'swapped',
    active: 'b',
    slots: { a: ref(v1), b: ref(v2) },
    assignment: assignmentFor(v2, 5),
  } as const;
  const step = (over: {
    current?: unknown;
    activate?: () => unknown;
    handler?: object;
    verifies?: boolean;
  }): Promise<StepResult> =>
    swapped(
      contextOf<'swapped'>(record, {
        releases: {
          installed: (_: unknown, slot: string) =>
            Promise.resolve(slot === 'b' ? (over.current ?? null) : 'old'),
          verify: () => Promise.resolve(over.verifies === false ? null : 'old'),
        },
        activate: async () => over.activate?.(),
        handler: over.handler,
        coldStarts: { of: () => null },
      }),
    );
  const saw = (verdict: string, evidence: unknown) => ({
    observe: () => Promise.resolve({ verdict, code: null, evidence, reasons: ['seen'] }),
  });

  it('of_a_release_that_no_longer_verifies_is_rolled_back', async () => {
    expect(await step({})).toMatchObject({
      event: 'rolled_back',
      change: {
        active: 'a',
        slots: { a: ref(v1), b: null },
        outcome: { result: 'rolled_back', code: 'file_digest' },
      },
    });
    expect(await step({ verifies: false })).toMatchObject({ change: { active: null } });
  });

  it('that_is_open_is_observed_again_soon', async () => {
    const wait = { waitMs: limits.trialPauseMs };
    for (const [verdict, stage] of [
      ['measuring', 'measuring'],
      ['unproven', 'open'],
    ] as const) {
      expect(await step({ current: 'new', handler: saw(verdict, null) })).toEqual({
        ...wait,
        reports: [],
      });
      expect(await step({ current: 'new', handler: saw(verdict, 'seen') })).toEqual({
        ...wait,
        reports: [{ kind: 'trial', evidence: 'seen', stage }],
      });
    }
  });

  it('does_not_take_a_bug_for_a_bad_release', async () => {
    await expect(step({ current: 'new', activate: bug })).rejects.toThrow('a bug');
    const handler = { ...saw('pass', null), coldStart: async () => bug() };
    await expect(step({ current: 'new', handler })).rejects.toThrow('a bug');
  });

  it('that_ends_where_nothing_serves_leaves_the_slots', async () => {
    const end = { result: 'rolled_back', code: null, detail: 'withdrawn' } as const;
    const context = contextOf<'swapped'>(
      { ...record, active: null },
      { releases: { verify: () => Promise.resolve(null) } },
    );
    expect(await rollBack(context, end)).toMatchObject({
      change: { active: null, slots: record.slots },
    });
  });
});
