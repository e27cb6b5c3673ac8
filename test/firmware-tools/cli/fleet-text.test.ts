// How a device's state reads: short phrases that name what is wrong.
import { describe, expect, it } from 'vitest';
import {
  attentionText,
  clockErrorText,
  rolloutScreen,
  troubleBlocks,
} from '../../../firmware-tools/cli/fleet-text.js';
import { FAULT_CODES } from '../../../shared/base/fault-codes.js';
import type { ShownRollout } from '../../../firmware-tools/fleet/shown-rollout.js';
import type { DeviceSummary } from '../../../shared/protocol/operator-api.js';

const HOUR_MS = 3600_000;

const device: DeviceSummary = {
  id: `dev-${'0'.repeat(20)}`,
  name: 'gate-1',
  hardware: 'sim',
  status: 'enrolled',
  group: 'default',
  lastSeenAt: null,
  silent: false,
  cloned: false,
  pendingReason: null,
  fingerprint: null,
  clockErrorMs: null,
  updates: [],
};
const idle = {
  state: 'idle' as const,
  running: null,
  updatingTo: null,
  trouble: null,
  conditions: [],
};
const full = { code: 'disk_full', detail: 'cannot write x: ENOSPC', since: 1 };

describe('trouble', () => {
  const of = (component: string, trouble: typeof full | null) => ({ component, ...idle, trouble });

  it('is_told_with_what_to_do_about_it_once', () => {
    const [text = '', ...more] = troubleBlocks([of('digits', full), of('faces', full)], 60_001);
    expect(more).toEqual([]);
    const [head, first, second, todo, ...rest] = text.split('\n');
    expect(head).toMatch(/^TROUBLE OF +CODE +SINCE +WHY$/);
    expect(first).toMatch(/^digits +disk_full .* cannot write x: ENOSPC$/);
    expect(second).toMatch(/^faces +disk_full /);
    expect(todo).toBe(`disk_full: ${FAULT_CODES.disk_full.todo}`);
    expect(rest).toEqual([]);
  });

  it('of_an_agent_with_other_codes_is_told_without', () => {
    const other = { ...full, code: 'of_a_later_version' };
    expect(troubleBlocks([of('digits', other)], 1)[0]?.split('\n')).toHaveLength(2);
    expect(troubleBlocks([of('digits', null)], 1)).toEqual([]);
  });
});

describe('the clock', () => {
  it('clock_that_never_was_set_is_years_behind', () => {
    expect(clockErrorText(-Date.UTC(2026, 10, 2))).toBe('56 years behind');
    expect(clockErrorText(25 * HOUR_MS)).toBe('25 hours ahead');
    expect(clockErrorText(-61_000)).toBe('61 seconds behind');
  });

  it('clock_that_is_right_or_unknown_is_not_told', () => {
    for (const errorMs of [null, 0, 59_000, -59_000]) expect(clockErrorText(errorMs)).toBeNull();
  });
});

describe('what needs attention', () => {
  it('conditions_are_told_with_their_counts', () => {
    const conditions = [{ code: 'crashes' as const, count: 3, since: 1, detail: 'crashed' }];
    const updates = [{ component: 'digits', ...idle, conditions }];
    expect(attentionText({ ...device, updates })).toBe('crashes 3x');
  });

  it('spent_claim_and_a_copied_data_folder_are_told_first', () => {
    const pendingReason = 'its claim token was used up by other devices';
    expect(attentionText({ ...device, pendingReason })).toBe(pendingReason);
    expect(attentionText({ ...device, cloned: true, clockErrorMs: 3 * HOUR_MS })).toBe(
      'cloned, clock 3 hours ahead',
    );
  });

  it('healthy_device_needs_none', () => {
    const updates = [{ component: 'digits', ...idle }];
    expect(attentionText({ ...device, updates })).toBe('-');
  });

  it('trouble_of_two_components_is_told_once_and_the_clock_beside_it', () => {
    const updates = ['digits', 'letters'].map((component) => ({
      component,
      ...idle,
      trouble: full,
    }));
    expect(attentionText({ ...device, updates, clockErrorMs: -2 * HOUR_MS })).toBe(
      'disk_full, clock 2 hours behind',
    );
  });
});

describe('a rollout on one screen', () => {
  it('devices_beyond_the_screen_are_counted_by_state', () => {
    const wave = { name: 'all', percent: 100, soakSeconds: 60, approval: false };
    const view = {
      id: 'ro-1',
      release: { component: 'digits', version: '1.1.0', digest: 'a'.repeat(64) },
      state: 'rolling',
      wave: 0,
      reasons: [],
      next: [],
      policy: { waves: [wave] },
      counts: [
        { wave: 0, state: 'confirmed', devices: 1 },
        { wave: 0, state: 'waiting', devices: 4 },
      ],
      members: [{ wave: 0, name: 'gate-1', state: 'confirmed', reasons: 'took it' }],
    } as unknown as ShownRollout;
    expect(rolloutScreen(view).split('\n').slice(2)).toEqual([
      '> wave 1 of 1  all  (100 %, 5 devices, soak 60 s)',
      '     gate-1  confirmed  took it',
      '    and 4 more (1 confirmed, 4 waiting): linnet rollout members ro-1 --wave 1',
    ]);
  });
});
