// The newcomer's times as a table, and what the purged package left behind.
import type { NewcomerReport } from './newcomer.js';

const AIM_SECONDS = 60;
const WIDTH = 48;

export function reportText(report: NewcomerReport): string {
  const { steps, totalSeconds, upgradeSeconds, leftBehind } = report;
  const row = (what: string, seconds: number, aim = ''): string =>
    `${what.padEnd(WIDTH)}${seconds.toFixed(1).padStart(7)} s${aim}`;
  return [
    ...steps.map(({ what, seconds }) => row(what, seconds)),
    row('from the first command to the first answer', totalSeconds, `   aim <= ${AIM_SECONDS} s`),
    row('upgrade: from stopping to the next answer', upgradeSeconds),
    `left behind after the purge: ${leftBehind.length === 0 ? 'nothing' : leftBehind.join(', ')}`,
  ].join('\n');
}
