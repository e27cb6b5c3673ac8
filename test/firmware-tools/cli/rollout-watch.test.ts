// `linnet rollout watch`: the tree that a terminal gets, the lines that a log gets, what ends it.
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { makeOutput } from '../../../firmware-tools/cli/output.js';
import { rolloutChanges } from '../../../firmware-tools/cli/rollout-changes.js';
import { rolloutTree } from '../../../firmware-tools/cli/rollout-tree.js';
import { watchRollout } from '../../../firmware-tools/cli/rollout-watch.js';
import type { Terminal } from '../../../firmware-tools/cli/terminal.js';
import type { ShownRollout } from '../../../firmware-tools/fleet/shown-rollout.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import type { Clock } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import type { MemberState } from '../../../shared/protocol/states.js';

const NOW = Date.UTC(2026, 10, 27, 9);
const SIZE = { columns: 60, rows: 40, colors: false };
const HOSTILE = '\u001b]52;c;ZXZpbA==\u0007 \u001b[2J \u202egnp\nsecond line';

const member = (name: string, wave: number, state: MemberState, reasons = '') => ({
  device: `dev-${name}`,
  name,
  group: 'fleet',
  wave,
  state,
  since: new Date(NOW).toISOString(),
  reasons,
});

function viewOf(given: Partial<ShownRollout> = {}): ShownRollout {
  return {
    id: 'ro-0123456789abcdef',
    release: { component: 'digits', version: '1.1.0', digest: 'a'.repeat(64) },
    state: 'rolling',
    wave: 0,
    createdAt: new Date(NOW - 60_000).toISOString(),
    createdBy: 'ann',
    reasons: ['0 of 2 took it; 2 failures halt it', 'waiting for cam-1, in its trial'],
    next: ['linnet rollout pause ro-0123456789abcdef'],
    policy: {
      waves: [
        { name: 'canary', group: 'canary', soakSeconds: 60, approval: true },
        { name: '100%', percent: 100, soakSeconds: 0, approval: false },
      ],
    },
    selector: {},
    counts: [
      { wave: 0, state: 'trial', devices: 1 },
      { wave: 1, state: 'waiting', devices: 2 },
    ],
    history: [
      { at: new Date(NOW - 50_000).toISOString(), state: 'rolling', wave: 0, reasons: ['started'] },
    ],
    members: [member('cam-1', 0, 'trial', 'since 3 s'), member('cam-2', 1, 'waiting')],
    ...given,
  } as unknown as ShownRollout;
}

describe('the tree', () => {
  it('names_waves_devices_evidence_events_and_commands', () => {
    const tree = rolloutTree(viewOf(), SIZE, NOW);
    expect(tree.split('\n')).toEqual([
      'rollout ro-0123456789abcdef  digits@1.1.0  rolling  canary,…',
      `├─ ▶ canary  ${'░'.repeat(10)}  0 of 1 device  soak 60 s, approval`,
      '│    1 trial',
      '│    ◑ cam-1 trial  since 3 s',
      `└─   100%  ${'░'.repeat(10)}  0 of 2 devices  soak 0 s`,
      '     2 waiting',
      'evidence, and what is waited for',
      '  0 of 2 took it; 2 failures halt it',
      '  waiting for cam-1, in its trial',
      'last events',
      '  50 s ago: rolling, wave 1: started',
      'next',
      '  linnet rollout pause ro-0123456789abcdef',
    ]);
  });

  it.each([20, 37, 60, 200])('no_line_is_wider_than_%i_columns', (columns) => {
    const reasons = ['word '.repeat(60), 'w'.repeat(150)];
    for (const colors of [false, true]) {
      const tree = rolloutTree(viewOf({ reasons }), { columns, rows: 60, colors }, NOW);
      for (const line of stripVTControlCharacters(tree).split('\n'))
        expect(Array.from(line).length).toBeLessThanOrEqual(columns);
    }
  });

  it('is_never_higher_than_the_terminal_and_says_what_is_left_out', () => {
    const members = Array.from({ length: 90 }, (_, index) => member(`cam-${index}`, 0, 'trial'));
    for (const rows of [10, 24, 50]) {
      const reasons = Array.from({ length: 40 }, (_, index) => `sentence ${index}`);
      const lines = rolloutTree(viewOf({ members, reasons }), { ...SIZE, rows }, NOW).split('\n');
      expect(lines.length).toBeLessThan(rows);
      expect(lines.at(-1)).toMatch(/^\d+ more lines: linnet rollout show ro-/);
    }
  });

  it('failed_devices_come_before_those_that_are_well', () => {
    const members = [
      ...Array.from({ length: 30 }, (_, index) => member(`good-${index}`, 0, 'confirmed')),
      member('bad-1', 0, 'failed', 'crashed'),
    ];
    const tree = rolloutTree(viewOf({ members }), { ...SIZE, rows: 24 }, NOW);
    expect(tree).toContain('✗ bad-1 failed  crashed');
  });

  it('without_colours_it_has_no_escape_sequence_and_with_them_the_same_text', () => {
    const plain = rolloutTree(viewOf(), SIZE, NOW);
    expect(plain).not.toContain('\u001b');
    const colored = rolloutTree(viewOf(), { ...SIZE, colors: true }, NOW);
    expect(stripVTControlCharacters(colored)).toBe(plain);
  });

  it('control_characters_of_devices_and_operators_have_no_effect', () => {
    const view = viewOf({
      createdBy: HOSTILE,
      reasons: [HOSTILE],
      next: [HOSTILE],
      members: [member(HOSTILE, 0, 'failed', HOSTILE)],
    });
    for (const text of [
      rolloutTree(view, { ...SIZE, columns: 200 }, NOW),
      rolloutChanges(null, view).join('\n'),
      rolloutChanges(viewOf({ members: [member(HOSTILE, 0, 'trial')] }), view).join('\n'),
    ]) {
      expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
      expect(text.split('\n').filter((line) => line.startsWith('second'))).toEqual([]);
      expect(text).toContain('\\u{1b}]52;c;');
    }
  });
});

describe('the lines of a log', () => {
  it('evidence_that_changes_at_every_look_is_not_a_change', () => {
    const before = viewOf();
    const after = viewOf({ reasons: ['1 of 2 took it; 2 failures halt it'] });
    expect(rolloutChanges(before, after)).toEqual([]);
  });

  it('each_device_and_each_wave_that_changes_is_one_line', () => {
    const after = viewOf({
      counts: [
        { wave: 0, state: 'confirmed', devices: 1 },
        { wave: 1, state: 'waiting', devices: 2 },
      ],
      members: [member('cam-1', 0, 'confirmed', 'it went well'), member('cam-2', 1, 'waiting')],
    });
    expect(rolloutChanges(viewOf(), after)).toEqual([
      'cam-1: trial -> confirmed  it went well',
      'wave 1 canary: 1 device: 1 confirmed',
    ]);
  });

  it('a_hold_is_told_with_its_reasons_and_what_can_be_done', () => {
    const after = viewOf({ state: 'held', reasons: ['paused by ann: lunch'], next: ['resume it'] });
    expect(rolloutChanges(viewOf(), after)).toEqual([
      'rollout ro-0123456789abcdef  digits@1.1.0  held, wave 1 of 2 (canary)',
      '  paused by ann: lunch',
      '  next: resume it',
    ]);
  });

  it('when_very_many_devices_change_at_once_their_counts_are_told', () => {
    const many = (state: MemberState) =>
      Array.from({ length: limits.watchChangedMaxCount + 1 }, (_, index) =>
        member(`cam-${index}`, 0, state),
      );
    const before = viewOf({ members: many('waiting') });
    const after = viewOf({
      members: many('taken'),
      counts: [{ wave: 0, state: 'taken', devices: 21 }],
    });
    expect(rolloutChanges(before, after)).toEqual([
      'wave 1 canary: 21 devices: 21 taken',
      'wave 2 100%: 0 devices',
    ]);
  });
});

type Look = ShownRollout | Fault;
const held = viewOf({ state: 'held' });
const completed = viewOf({ state: 'completed' });
const away = new Fault('server_unreachable', 'connect ECONNREFUSED 127.0.0.1:7300');

interface Watched {
  readonly ended: string;
  readonly out: string;
  readonly err: string;
  readonly drawn: readonly string[];
}

/** Answers one look after another; time passes at once. */
async function watched(
  looks: readonly Look[],
  given: { untilHeld?: boolean; terminal?: boolean; json?: boolean } = {},
): Promise<Watched> {
  const seen = { out: '', err: '' };
  const drawn: string[] = [];
  const terminal: Terminal = {
    ...SIZE,
    draw: (text) => drawn.push(text),
    done: () => drawn.push('done'),
  };
  const out = makeOutput(given.json === true, {
    out: (text) => (seen.out += text),
    err: (text) => (seen.err += text),
    terminal: async () => (given.terminal === true ? terminal : null),
  });
  const clock: Clock = {
    now: () => NOW,
    monotonic: () => 0,
    after: (_ms, fn) => {
      queueMicrotask(fn);
      return () => {};
    },
  };
  let at = 0;
  const request = async (_method: string, path: string): Promise<unknown> => {
    const look = looks[Math.min(at, looks.length - 1)] as Look;
    if (path.includes('/members')) return { items: (looks[at++] as ShownRollout).members };
    if (look instanceof Fault) {
      at += 1;
      throw look;
    }
    const { members: _members, ...detail } = look;
    return detail;
  };
  const client = { request } as unknown as Parameters<typeof watchRollout>[0]['client'];
  const ended = await watchRollout({
    client,
    id: 'ro-1',
    out,
    clock,
    untilHeld: given.untilHeld === true,
  }).then(
    ({ state }) => state,
    (error: unknown) => (error as Fault).code,
  );
  return { ended, ...seen, drawn };
}

describe('the watch', () => {
  it('a_pause_does_not_end_it', async () => {
    const { ended, out } = await watched([viewOf(), held, viewOf(), completed]);
    expect(ended).toBe('completed');
    expect(out).toMatch(
      /^2026-11-27T09:00:00Z {2}rollout ro-\S+ {2}digits@1.1.0 {2}rolling, wave 1/,
    );
    expect(out).toContain('held, wave 1 of 2');
  });

  it('with_until_held_a_hold_ends_it', async () => {
    expect((await watched([viewOf(), held, completed], { untilHeld: true })).ended).toBe('held');
  });

  it('a_server_that_restarts_is_told_once_and_the_watch_goes_on', async () => {
    const { ended, err } = await watched([viewOf(), away, away, away, completed]);
    expect(ended).toBe('completed');
    expect(err).toBe('connect ECONNREFUSED 127.0.0.1:7300; will retry\nthe server answers again\n');
  });

  it('a_server_that_never_answered_ends_it_at_once', async () => {
    expect((await watched([away, completed])).ended).toBe('server_unreachable');
  });

  it('a_server_that_stays_away_ends_it_after_many_tries', async () => {
    const gone = Array<Look>(limits.watchTriesMaxCount + 5).fill(away);
    expect((await watched([viewOf(), ...gone, completed])).ended).toBe('server_unreachable');
  });

  it('a_refusal_ends_it', async () => {
    const refused = new Fault('auth_missing', 'the token was revoked');
    expect((await watched([viewOf(), refused, completed])).ended).toBe('auth_missing');
  });

  it('on_a_terminal_it_redraws_says_when_it_retries_and_leaves_the_last_picture', async () => {
    const { drawn, out, err } = await watched([viewOf(), away, completed], { terminal: true });
    expect([out, err]).toEqual(['', '']);
    expect(drawn.map((text) => text.split('\n')[0])).toEqual([
      expect.stringMatching(/^rollout .*rolling/),
      expect.stringMatching(/^retrying; as of the last answer: connect ECONNREFUSED/),
      expect.stringMatching(/^rollout .*completed/),
      'done',
    ]);
    expect(drawn[1]).toContain('rolling');
  });

  it('with_json_each_change_is_one_object_also_on_a_terminal', async () => {
    const { out, drawn } = await watched([viewOf(), viewOf(), completed], {
      json: true,
      terminal: true,
    });
    const states = out
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as ShownRollout).state);
    expect(states).toEqual(['rolling', 'completed']);
    expect(drawn).toEqual([]);
  });
});
