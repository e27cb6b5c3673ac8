// How the fleet commands write what the server told them: short, one line where one line will do,
// numbers with units.
import type { Device, RolloutView } from '../../shared/protocol/operator-api.js';
import { table } from './output.js';

const HEX_SHOWN = 12;

export const short = (digest: string): string => digest.slice(0, HEX_SHOWN);
export const refText = (ref: { component: string; version: string } | null): string =>
  ref === null ? '-' : `${ref.component}@${ref.version}`;

/** What each component of a device runs and does. */
export function runningText(device: Device): string {
  if (device.updates.length === 0) return '-';
  return device.updates
    .map((update) => {
      const state =
        update.state === 'idle'
          ? ''
          : ` (${update.state}${update.updatingTo === null ? '' : ` -> ${update.updatingTo.version}`})`;
      return `${refText(update.running)}${state}`;
    })
    .join(', ');
}

export function statusText(device: Device): string {
  return device.status === 'enrolled' && device.silent ? 'silent' : device.status;
}

/** Age of an ISO time in the largest fitting unit. */
export function ago(time: string | null, now: number): string {
  if (time === null) return 'never';
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172_800
    ? `${Math.round(seconds / 3600)} h ago`
    : `${Math.round(seconds / 86_400)} d ago`;
}

/**
 * A rollout on one screen: where it stands, why, each wave with its devices, and what can be done
 * now.
 */
export function rolloutScreen(view: RolloutView): string {
  const lines = [
    `rollout ${view.id}  ${refText(view.release)} (${short(view.release.digest)})  ${view.state}`,
  ];
  lines.push(...view.reasons.map((word) => `  ${word}`), '');
  view.policy.waves.forEach((wave, index) => {
    const members = view.members.filter((member) => member.wave === index);
    const current = index === view.wave && ['rolling', 'held'].includes(view.state) ? '>' : ' ';
    const audience = wave.group === undefined ? `${wave.percent ?? 100} %` : `group ${wave.group}`;
    const count = `${members.length} device${members.length === 1 ? '' : 's'}`;
    const about = `${audience}, ${count}, soak ${wave.soakSeconds} s${wave.approval ? ', needs approval' : ''}`;
    lines.push(
      `${current} wave ${index + 1} of ${view.policy.waves.length}  ${wave.name}  (${about})`,
    );
    if (members.length > 0)
      lines.push(
        ...table(members.map((member) => ['   ', member.name, member.state, member.reasons])).split(
          '\n',
        ),
      );
  });
  if (view.next.length > 0) lines.push('', 'next:', ...view.next.map((step) => `  ${step}`));
  return lines.join('\n');
}
