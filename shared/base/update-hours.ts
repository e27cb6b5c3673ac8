// Hours in which updates may begin (of a device: `update.windows`; of a rollout: `hours`), by the
// wall clock of a named zone or of the device. Pure: hours and a time in, the next opening out.
import { Type } from 'typebox';
import { DAY_MS, MINUTE_MS } from './units.js';

const dayMinutes = DAY_MS / MINUTE_MS;

/** `22:00-05:00`; one that ends before it begins goes over midnight. */
export const HOURS_PATTERN = '^([01]\\d|2[0-3]):[0-5]\\d-([01]\\d|2[0-3]):[0-5]\\d$';
export const isEmpty = (text: string): boolean => text.slice(0, 5) === text.slice(6);
export const WindowText = Type.Refine(
  Type.String({ pattern: HOURS_PATTERN }),
  (text) => !isEmpty(text),
  () => 'begins when it ends; leave windows out to update at any time',
);

/** An IANA name such as `Europe/Berlin`. */
export const ZoneName = Type.Refine(
  Type.String({ minLength: 1, maxLength: 64 }),
  isZone,
  () => 'is not a time zone that this system knows, such as Europe/Berlin or UTC',
);

export function isZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en-GB', { timeZone: name }).format(0) !== '';
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

export class UpdateWindows {
  readonly #zone: string | undefined;
  #hours: Intl.DateTimeFormat | null = null;
  /** Minutes of the day. */
  readonly #windows: readonly { readonly begin: number; readonly end: number }[];

  /** No windows: always open. `zone`: that of the device when left out. */
  constructor(windows: readonly string[], zone?: string) {
    this.#zone = zone;
    this.#windows = windows.map((text) => ({
      begin: minutesOf(text.slice(0, 5)),
      end: minutesOf(text.slice(6)),
    }));
  }

  /** Null while an update may begin; else when the next window opens (ms since the epoch). */
  opensAt(nowMs: number): number | null {
    if (this.#windows.length === 0) return null;
    const now = this.#minutesAt(nowMs);
    if (this.#windows.some((window) => isWithin(now, window))) return null;
    return Math.min(...this.#windows.map(({ begin }) => this.#next(begin, now, nowMs)));
  }

  /** When the clock of the zone shows that minute next, also over a change of its offset. */
  #next(minute: number, now: number, nowMs: number): number {
    const waitMinutes = (minute - now + dayMinutes) % dayMinutes;
    const at = Math.floor(nowMs / MINUTE_MS) * MINUTE_MS + waitMinutes * MINUTE_MS;
    const off = minute - this.#minutesAt(at);
    // The nearest way round the day: a change of offset moves it by an hour or so.
    const nearest = ((off + dayMinutes * 1.5) % dayMinutes) - dayMinutes / 2;
    return at + nearest * MINUTE_MS;
  }

  /** `22:00` in the zone. */
  clockText(ms: number): string {
    // Made when it is needed: measured, it reads 5 MiB of Node's tables of languages and zones.
    this.#hours ??= new Intl.DateTimeFormat('en-GB', {
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
      ...(this.#zone === undefined ? {} : { timeZone: this.#zone }),
    });
    return this.#hours.format(ms);
  }

  #minutesAt(ms: number): number {
    return minutesOf(this.clockText(ms));
  }
}

function minutesOf(text: string): number {
  return Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));
}

const isWithin = (
  now: number,
  { begin, end }: { readonly begin: number; readonly end: number },
): boolean => (begin < end ? now >= begin && now < end : now >= begin || now < end);
