// What several commands take on their command line, as commander sees it: the options of a
// connection and of a long list, and how numbers are read. Nothing here needs a schema, so that
// --help loads none; what has one is checked by the action (arguments.ts).
import { Option, type Command } from 'commander';
import { Fault } from '../../shared/base/fault-codes.js';
import { instant } from './times.js';
import { limits } from '../../shared/base/limits.js';

/** Adds the options that every fleet command takes; `connect` (fleet-client.ts) reads them. */
export function connectionOptions(command: Command): Command {
  return command
    .addOption(new Option('--server <url>', 'address of the fleet server').env('LINNET_SERVER'))
    .addOption(
      new Option(
        '--token-file <file>',
        'file with the operator token (or the token itself in LINNET_TOKEN)',
      ).env('LINNET_TOKEN_FILE'),
    )
    .addOption(
      new Option('--profile <name>', 'of linnet login, for what is not given').env(
        'LINNET_PROFILE',
      ),
    );
}

/** Adds the options of a long list; `pageOf` (actions/pages.ts) reads them. */
export function pageOptions(command: Command, count: number = limits.cliRowsDefaultCount): Command {
  return command
    .option('--limit <count>', 'how many at most', rowCount, count)
    .option('--cursor <text>', 'go on where the list before ended, as it says');
}

/** Adds the options that name the time of a list (times.ts). */
export function timeOptions(command: Command): Command {
  return command
    .option(
      '--since <time>',
      'only from this time on: 2026-03-01T12:00:00Z, or 2h, 3d ago',
      instant,
    )
    .option('--until <time>', 'only before this time', instant);
}

function rowCount(text: string): number {
  const count = wholeNumber(text);
  if (count === 0) throw new Fault('usage', '0 is too small: the smallest is 1');
  return count;
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new Fault('usage', `${text} is not a whole number`);
  return Number(text);
}

/** `12.5` as 125. */
export function percentAsPermille(text: string): number {
  const permille = Number(text) * 10;
  if (!/^\d{1,3}(\.\d)?$/.test(text) || permille < 1 || permille > 1000)
    throw new Fault('usage', `${text} is not a percentage such as 15 or 12.5`);
  return Math.round(permille);
}

/** `50,100` as rising shares. */
export function shares(text: string): number[] {
  const found = text
    .split(',')
    .map((part) => (/^\d{1,3}$/.test(part.trim()) ? Number(part) : Number.NaN));
  const good = found.every(
    (share, index) => share >= 1 && share <= 100 && share > (found[index - 1] ?? 0),
  );
  if (!good)
    throw new Fault(
      'usage',
      `${text}: shares are whole percents from 1 to 100, rising, for example 10,50,100`,
    );
  return found;
}

/** For an option that may be given several times: commander calls it once a value. */
export const gather = (value: string, before: string[] | undefined): string[] => [
  ...(before ?? []),
  value,
];
