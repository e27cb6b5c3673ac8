// A rollout as a tree for a terminal: its waves with how far each is, the devices that matter now,
// the evidence with its arithmetic, the last events, and what can be done. Pure; fits any
// width from 20 columns, and reads well from 60.
import { limits } from '../../shared/base/limits.js';
import type { RolloutDetail } from '../../shared/protocol/operator-api.js';
import type { MemberState, RolloutState } from '../../shared/protocol/states.js';
import type { ShownRollout } from '../fleet/shown-rollout.js';
import { printableInLine } from './printable.js';
import { counted } from '../../shared/base/counted.js';
import { ago, refText } from './fleet-text.js';
import { lineOf, wrapped, type Span, type Style, type Terminal } from './terminal.js';

type Size = Pick<Terminal, 'columns' | 'rows' | 'colors'>;

/** What each state means for the release: it went well, badly, is under way, or has not begun. */
const MEMBER_MARKS: Readonly<Record<MemberState, Span>> = {
  waiting: ['○', 'dim'],
  taken: ['◔', 'cyan'],
  ready: ['◑', 'cyan'],
  trial: ['◑', 'cyan'],
  unproven: ['◕', 'cyan'],
  confirmed: ['●', 'green'],
  shadowed: ['●', 'green'],
  silent: ['?', 'yellow'],
  failed: ['✗', 'red'],
  differs: ['≠', 'yellow'],
  excused: ['–', 'dim'],
  reverting: ['↶', 'yellow'],
  reverted: ['↶', 'dim'],
  lost: ['?', 'red'],
};
const ROLLOUT_STYLES: Readonly<Record<RolloutState, Style>> = {
  draft: 'dim',
  rolling: 'cyan',
  held: 'yellow',
  reverting: 'yellow',
  reverted: 'red',
  completed: 'green',
  reported: 'green',
  dropped: 'dim',
};
/** The devices that an operator looks for come first. */
const ORDER: readonly MemberState[] = [
  'failed',
  'differs',
  'lost',
  'silent',
  'reverting',
  'trial',
  'taken',
  'unproven',
  'ready',
  'reverted',
  'excused',
  'shadowed',
  'confirmed',
  'waiting',
];
const REACHED: readonly MemberState[] = ['confirmed', 'shadowed'];
const BAR_CHARACTERS = 20;
const NARROW_BAR_CHARACTERS = 10;
const WIDE_COLUMNS = 80;
const EVENTS = 3;
/** Lines around the devices: head, evidence, events and commands, roughly. */
const OTHER_LINES = 16;
/** For the cursor, and for a note that the server does not answer. */
const FREE_LINES = 2;

export function rolloutTree(view: ShownRollout, size: Size, now: number): string {
  const line = (...spans: Span[]): string => lineOf(spans, size);
  const lines = [
    line(
      ['rollout ', 'dim'],
      [view.id, 'bold'],
      [`  ${refText(view.release)}  `],
      [view.state, ROLLOUT_STYLES[view.state]],
      [`  ${policyText(view)}`, 'dim'],
    ),
  ];
  const { waves } = view.policy;
  const perWave = Math.max(
    limits.treeDevicesMinCount,
    Math.floor((size.rows - OTHER_LINES - waves.length) / waves.length),
  );
  waves.forEach((_, index) => lines.push(...waveLines(view, index, perWave, size)));
  lines.push(...section('evidence, and what is waited for', view.reasons, size));
  lines.push(...section('last events', eventTexts(view, now), size));
  lines.push(...section('next', view.next, size, 'cyan'));
  return fitting(lines, view.id, size).join('\n');
}

/** The terminal scrolls what is higher than it is, and cannot redraw that. */
function fitting(lines: readonly string[], id: string, size: Size): readonly string[] {
  const room = Math.max(limits.terminalMinRows, size.rows) - FREE_LINES;
  if (lines.length <= room) return lines;
  const rest = counted(lines.length - room + 1, 'more line', 'more lines');
  return [
    ...lines.slice(0, room - 1),
    lineOf([[`${rest}: linnet rollout show ${id}`, 'dim']], size),
  ];
}

const policyText = ({ policy, createdBy }: RolloutDetail): string =>
  `${policy.strategy ?? 'canary'}, by ${createdBy}`;

function waveLines(view: ShownRollout, index: number, devices: number, size: Size): string[] {
  const wave = view.policy.waves[index];
  if (wave === undefined) return [];
  const isLast = index === view.policy.waves.length - 1;
  const isCurrent = index === view.wave && ['rolling', 'held', 'reverting'].includes(view.state);
  const counts = view.counts.filter((count) => count.wave === index);
  const all = counts.reduce((sum, count) => sum + count.devices, 0);
  const reached = counts.reduce(
    (sum, { state, devices: some }) => sum + (REACHED.includes(state) ? some : 0),
    0,
  );
  const approval = wave.approval ? ', approval' : '';
  const lines = [
    lineOf(
      [
        [isLast ? '└─ ' : '├─ ', 'dim'],
        [isCurrent ? '▶ ' : '  ', 'cyan'],
        [wave.name, isCurrent ? 'bold' : undefined],
        ['  '],
        [bar(reached, all, size), 'green'],
        [`  ${reached} of ${counted(all, 'device')}`],
        [`  soak ${wave.soakSeconds} s${approval}`, 'dim'],
      ],
      size,
    ),
  ];
  const stem: Span = [isLast ? '     ' : '│    ', 'dim'];
  const others = counts
    .filter(({ state }) => !REACHED.includes(state))
    .map(({ state, devices: some }) => `${some} ${state}`);
  if (others.length > 0) lines.push(lineOf([stem, [others.join(', ')]], size));
  const shown = view.members
    .filter((member) => member.wave === index && member.state !== 'waiting')
    .sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state))
    .slice(0, devices);
  for (const member of shown) {
    const [mark, style] = MEMBER_MARKS[member.state];
    const reasons = member.reasons.replaceAll('\n', ' ');
    lines.push(
      lineOf(
        [
          stem,
          [`${mark} `, style],
          [member.name],
          [` ${member.state}`, style],
          [`  ${reasons}`, 'dim'],
        ],
        size,
      ),
    );
  }
  return lines;
}

function bar(part: number, all: number, { columns }: Size): string {
  const length = columns < WIDE_COLUMNS ? NARROW_BAR_CHARACTERS : BAR_CHARACTERS;
  const full = all === 0 ? 0 : Math.floor((part / all) * length);
  return '█'.repeat(full) + '░'.repeat(length - full);
}

const eventTexts = ({ history }: RolloutDetail, now: number): string[] =>
  history
    .slice(-EVENTS)
    .map(
      ({ at, state, wave, reasons }) =>
        `${ago(at, now)}: ${state}, wave ${wave + 1}: ${reasons.join('; ')}`,
    );

/** A heading with wrapped texts below; nothing when there are none. */
function section(title: string, texts: readonly string[], size: Size, style?: Style): string[] {
  const indent = '  ';
  const lines = texts.flatMap((text) =>
    wrapped(
      printableInLine(text.replaceAll('\n', ' ')),
      Math.max(size.columns, limits.terminalMinColumns) - indent.length,
    ),
  );
  return lines.length === 0
    ? []
    : [
        lineOf([[title, 'bold']], size),
        ...lines.map((text) => lineOf([[indent], [text, style]], size)),
      ];
}
