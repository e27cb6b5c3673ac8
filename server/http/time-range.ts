// The time of a list, as its query names it.
import { Fault } from '../../shared/base/fault-codes.js';
import { instantOf } from '../../shared/base/instants.js';
import type { TimeRange } from '../interfaces.js';

/** Fault message_undecodable: a time that does not exist, such as one in month 13. */
export function timeRangeOf({ since, until }: { since?: string; until?: string }): TimeRange {
  return { since: instant('since', since), until: instant('until', until) };
}

function instant(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const at = instantOf(text);
  if (Number.isNaN(at))
    throw new Fault('message_undecodable', `querystring: ${name}: ${text} is no time that exists`);
  return at;
}
