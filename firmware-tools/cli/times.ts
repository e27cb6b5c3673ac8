// Times as a person types them: a span ago, a date, or what a command has printed. They are UTC
// where they name no offset, as the times are that commands print.
import { Fault } from '../../shared/base/fault-codes.js';
import { instantOf } from '../../shared/base/instants.js';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../shared/base/units.js';

const UNIT_MS: Readonly<Record<string, number>> = {
  s: SECOND_MS,
  m: MINUTE_MS,
  h: HOUR_MS,
  d: DAY_MS,
  w: 7 * DAY_MS,
};
const SPAN = /^(\d{1,6})([smhdw])$/;
const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(Z|[+-]\d\d:\d\d)?)?$/;

/** As ISO 8601, UTC. Fault usage. */
export function instant(given: string): string {
  const text = given.trim();
  const [, count, unit = ''] = SPAN.exec(text) ?? [];
  const unitMs = UNIT_MS[unit];
  if (unitMs !== undefined) return new Date(Date.now() - Number(count) * unitMs).toISOString();
  const [, date, time = '00:00', offset = 'Z'] = TIME.exec(text) ?? [];
  const at = date === undefined ? Number.NaN : instantOf(`${date}T${time}${offset}`);
  if (Number.isNaN(at))
    throw new Fault(
      'usage',
      `${given} is not a time: write 2026-03-01, 2026-03-01T12:00:00Z (UTC without an offset), ` +
        'or how long ago: 30m, 2h, 3d, 1w',
    );
  return new Date(at).toISOString();
}
