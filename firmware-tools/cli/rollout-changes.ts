// What changed between two looks at a rollout, one line a change, for a log or a pipe. Pure. The
// first look gives the state as a whole. The arithmetic of the evidence changes at every look and
// is told only with a change of the state or the wave.
import type { Member } from '../../shared/protocol/operator-api.js';
import type { ShownRollout } from '../fleet/shown-rollout.js';
import { limits } from '../../shared/base/limits.js';
import { counted } from '../../shared/base/counted.js';
import { refText } from './fleet-text.js';
import { printableInLine } from './printable.js';

/** Empty when nothing changed that an operator acts on. */
export function rolloutChanges(before: ShownRollout | null, after: ShownRollout): string[] {
  const lines: string[] = [];
  const isMoved = before === null || before.state !== after.state || before.wave !== after.wave;
  if (isMoved) lines.push(headText(after), ...after.reasons.map((text) => `  ${inLine(text)}`));
  if (before !== null) lines.push(...memberLines(before, after));
  for (const index of after.policy.waves.keys()) {
    const text = waveText(after, index);
    if (before === null || waveText(before, index) !== text) lines.push(text);
  }
  if (isMoved) lines.push(...after.next.map((text) => `  next: ${inLine(text)}`));
  return lines;
}

const inLine = printableInLine;

function headText({ id, release, state, wave, policy }: ShownRollout): string {
  const name = inLine(policy.waves[wave]?.name ?? '');
  const place = `wave ${wave + 1} of ${policy.waves.length} (${name})`;
  return `rollout ${id}  ${refText(release)}  ${state}, ${place}`;
}

function waveText({ policy, counts }: ShownRollout, index: number): string {
  const here = counts.filter((count) => count.wave === index);
  const all = here.reduce((sum, { devices }) => sum + devices, 0);
  const states = here.map(({ state, devices }) => `${devices} ${state}`).join(', ');
  const head = `wave ${index + 1} ${inLine(policy.waves[index]?.name ?? '')}`;
  return `${head}: ${counted(all, 'device')}${states === '' ? '' : `: ${states}`}`;
}

/** None when so many devices changed at once that the counts of the waves say more. */
function memberLines(before: ShownRollout, after: ShownRollout): string[] {
  const earlier = new Map(before.members.map((member) => [member.device, member]));
  const changed = after.members.filter((member) => {
    const then = earlier.get(member.device);
    return then !== undefined && then.state !== member.state;
  });
  if (changed.length > limits.watchChangedMaxCount) return [];
  return changed.map((member) => memberText(earlier.get(member.device), member));
}

function memberText(before: Member | undefined, { name, state, reasons }: Member): string {
  const why = reasons === '' ? '' : `  ${inLine(reasons.replaceAll('\n', ' '))}`;
  return `${inLine(name)}: ${before?.state ?? '-'} -> ${state}${why}`;
}
