// How values read: times, numbers, states. Everything is plain text; what devices and
// people wrote is only ever set as text.
import { MINUTE_MS } from '../../../shared/base/units.js';
import type { RolloutDetail } from '../../../shared/protocol/operator-api.js';

type Selector = RolloutDetail['selector'];

export const counted = (count: number, noun: string): string =>
  `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;

const stamp = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
/** In the reader's own zone and form. */
export const atTime = (iso: string): string => stamp.format(new Date(iso));

/** A time as a field of a date and a time shows it, in the reader's zone; empty: empty. */
export function localTime(iso: string): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return '';
  return new Date(at.getTime() - at.getTimezoneOffset() * MINUTE_MS).toISOString().slice(0, 16);
}

/** A field of a date and a time takes years of six digits, which ISO 8601 writes otherwise. */
export const LAST_MINUTE = '9999-12-31T23:59';

/** What such a field says, as the API takes it; empty where it says nothing that is a time. */
export function isoTime(local: string): string {
  const at = new Date(local);
  return Number.isNaN(at.getTime()) ? '' : at.toISOString();
}

const UNITS: readonly (readonly [seconds: number, name: string])[] = [
  [86_400, 'day'],
  [3_600, 'hour'],
  [60, 'minute'],
  [1, 'second'],
];

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [size, name] = UNITS.find(([unit]) => whole >= unit) ?? [1, 'second'];
  return counted(Math.floor(whole / size), name);
}

export function ago(iso: string, now: number = Date.now()): string {
  const seconds = (now - Date.parse(iso)) / 1000;
  return seconds < 5 ? 'just now' : `${duration(seconds)} ago`;
}

export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const at = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** at;
  return `${at === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[at] ?? ''}`;
}

export const permille = (value: number): string =>
  `${(value / 10).toLocaleString('en', { maximumFractionDigits: 1 })} %`;
export const share = (value: number): string =>
  `${(value * 100).toLocaleString('en', { maximumFractionDigits: 2 })} %`;
export const milliseconds = (ms: number | null): string =>
  ms === null ? '-' : `${ms.toLocaleString('en', { maximumSignificantDigits: 3 })} ms`;

export const releaseText = (ref: { component: string; version: string } | null): string =>
  ref === null ? 'nothing' : `${ref.component} ${ref.version}`;

/** Which devices a rollout is for. */
export function selectorText({ groups, hardware, labels }: Selector): string {
  const parts = [
    ...(groups ?? []).map((group) => `group ${group}`),
    ...(hardware ?? []).map((id) => `hardware ${id}`),
    ...labelTexts(labels ?? {}),
  ];
  return parts.length === 0 ? 'all that can take it' : parts.join(', ');
}

type Labels = Readonly<Record<string, string>>;

/** Each label as `key=value`. */
export const labelTexts = (labels: Labels): string[] =>
  Object.entries(labels).map(([key, value]) => `${key}=${value}`);

/** The labels of a text with one on each line. */
export const labelsIn = (text: string): Labels =>
  Object.fromEntries(
    text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => {
        const [key = '', ...value] = line.split('=');
        return [key.trim(), value.join('=').trim()];
      }),
  );

export type Tone = 'good' | 'bad' | 'busy' | 'quiet';

/** Every state has a mark besides its color. */
export const MARKS: Readonly<Record<Tone, string>> = {
  good: '✓',
  bad: '!',
  busy: '…',
  quiet: '·',
};

const TONES: Readonly<Record<string, Tone>> = {
  enrolled: 'good',
  completed: 'good',
  confirmed: 'good',
  shadowed: 'good',
  reported: 'good',
  ready: 'good',
  pending: 'busy',
  rolling: 'busy',
  held: 'bad',
  reverting: 'busy',
  draft: 'quiet',
  dropped: 'quiet',
  idle: 'quiet',
  waiting: 'quiet',
  excused: 'quiet',
  reverted: 'bad',
  revoked: 'bad',
  silent: 'bad',
  cloned: 'bad',
  failed: 'bad',
  differs: 'bad',
  lost: 'bad',
  stranded: 'bad',
  rolled_back: 'bad',
  refused: 'bad',
  spent: 'bad',
};

export const toneOf = (state: string): Tone => TONES[state] ?? 'busy';
