// How the fleet commands show the server's answers as text: short, numbers with units.
import type { Device, DeviceDetail, DeviceSummary } from '../../shared/protocol/operator-api.js';
import type { ShownRollout } from '../fleet/shown-rollout.js';
import { counted } from '../../shared/base/counted.js';
import { todoOf } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { table } from './output.js';

const HEX_SHOWN = 12;

const short = (digest: string): string => digest.slice(0, HEX_SHOWN);
export const refText = (ref: { component: string; version: string } | null): string =>
  ref === null ? '-' : `${ref.component}@${ref.version}`;

/** What each component of a device runs, and its state if it is updating. */
export function runningText(device: DeviceSummary | Device): string {
  if (device.updates.length === 0) return '-';
  return device.updates
    .map((update) => {
      const running = refText(update.running);
      if (update.state === 'idle') return running;
      const to = update.updatingTo === null ? '' : ` -> ${update.updatingTo.version}`;
      return `${running} (${update.state}${to})`;
    })
    .join(', ');
}

/** What an operator should know of a device besides its state, each in one short phrase. */
export function attentionText(device: DeviceSummary): string {
  const phrases = device.updates.flatMap(({ trouble, conditions }) => [
    ...(trouble === null ? [] : [trouble.code]),
    ...conditions.map(({ code, count }) => `${code} ${count}x`),
  ]);
  if (device.cloned) phrases.unshift('cloned');
  if (device.pendingReason !== null) phrases.unshift(device.pendingReason);
  const clock = clockErrorText(device.clockErrorMs);
  if (clock !== null) phrases.push(`clock ${clock}`);
  return [...new Set(phrases)].join(', ') || '-';
}

/** `56 years behind`; null while the clock is right enough, or not compared yet. */
export function clockErrorText(errorMs: number | null): string | null {
  if (errorMs === null || Math.abs(errorMs) < limits.clockErrorShownMs) return null;
  const seconds = Math.abs(errorMs) / 1000;
  const units = [
    [365 * 86_400, 'year'],
    [86_400, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ] as const;
  const [size, unit] = units.find(([length]) => seconds >= 2 * length) ?? [1, 'second'];
  return `${counted(Math.floor(seconds / size), unit)} ${errorMs < 0 ? 'behind' : 'ahead'}`;
}

/** Why each component cannot proceed now, and what to do about it. */
export function troubleBlocks(
  updates: readonly Pick<Device['updates'][number], 'component' | 'trouble'>[],
  now: number,
): string[] {
  const troubles = updates.flatMap(({ component, trouble }) =>
    trouble === null ? [] : [{ component, ...trouble }],
  );
  if (troubles.length === 0) return [];
  const rows = troubles.map(({ component, code, since, detail }) => [
    component,
    code,
    ago(new Date(since).toISOString(), now),
    detail,
  ]);
  const codes = [...new Set(troubles.map(({ code }) => code))];
  const todos = codes.flatMap((code) => {
    const todo = todoOf(code);
    return todo === null ? [] : [`${code}: ${todo}`];
  });
  const lines = [table([['TROUBLE OF', 'CODE', 'SINCE', 'WHY'], ...rows]), ...todos];
  return [lines.join('\n')];
}

/** What is wrong with the release that each component serves. */
function conditionTable(updates: Device['updates'], now: number): string[] {
  const rows = updates.flatMap(({ running, conditions }) =>
    conditions.map(({ code, count, since, detail }) => [
      refText(running),
      code,
      String(count),
      ago(new Date(since).toISOString(), now),
      detail,
    ]),
  );
  return rows.length === 0
    ? []
    : [table([['CONDITION OF', 'WHAT', 'COUNT', 'SINCE', 'DETAIL'], ...rows])];
}

export function statusText(device: DeviceSummary | Device): string {
  return device.status === 'enrolled' && device.silent ? 'silent' : device.status;
}

/** `2026-11-27 09:00:00Z`. */
export const timeText = (time: string): string => `${time.slice(0, 19).replace('T', ' ')}Z`;

/** Age of an ISO time in the largest fitting unit. */
export function ago(time: string | null, now: number): string {
  if (time === null) return 'never';
  return `${span(Math.max(0, Math.round((now - Date.parse(time)) / 1000)))} ago`;
}

function span(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800
    ? `${Math.round(seconds / 3600)} h`
    : `${Math.round(seconds / 86_400)} d`;
}

/** A rollout on one screen: state, reasons, each wave with its devices, possible commands. */
export function rolloutScreen(view: ShownRollout): string {
  const lines = [
    `rollout ${view.id}  ${refText(view.release)} (${short(view.release.digest)})  ${view.state}`,
  ];
  lines.push(...view.reasons.map((reason) => `  ${reason}`), '');
  view.policy.waves.forEach((wave, index) => {
    const members = view.members.filter((member) => member.wave === index);
    const current = index === view.wave && ['rolling', 'held'].includes(view.state) ? '>' : ' ';
    const audience = wave.group === undefined ? `${wave.percent ?? 100} %` : `group ${wave.group}`;
    const devices = devicesOf(view, index);
    const count = counted(devices, 'device');
    const approval = wave.approval ? ', needs approval' : '';
    const about = `${audience}, ${count}, soak ${wave.soakSeconds} s${approval}`;
    lines.push(
      `${current} wave ${index + 1} of ${view.policy.waves.length}  ${wave.name}  (${about})`,
    );
    if (members.length > 0)
      lines.push(
        ...table(members.map((member) => ['   ', member.name, member.state, member.reasons])).split(
          '\n',
        ),
      );
    if (devices > members.length) {
      const which = `linnet rollout members ${view.id} --wave ${index + 1}`;
      lines.push(`    and ${devices - members.length} more (${statesText(view, index)}): ${which}`);
    }
  });
  if (view.next.length > 0) lines.push('', 'next:', ...view.next.map((step) => `  ${step}`));
  return lines.join('\n');
}

const devicesOf = ({ counts }: ShownRollout, wave: number): number =>
  counts.reduce((sum, count) => sum + (count.wave === wave ? count.devices : 0), 0);

/** The states of all devices of a wave. */
const statesText = ({ counts }: ShownRollout, wave: number): string =>
  counts
    .filter((count) => count.wave === wave)
    .map(({ state, devices }) => `${devices} ${state}`)
    .join(', ');

/** A device on one screen: state, health, inference, outcomes, security events. */
export function deviceScreen({ device, inference, security, outcomes }: DeviceDetail): string {
  const now = Date.now();
  const labels = Object.entries(device.labels).map(([key, value]) => `${key}=${value}`);
  const blocks = [
    table([
      ['name', device.name],
      ['id', device.id],
      ['status', statusText(device)],
      ['group', device.group],
      ['fingerprint', device.fingerprint],
      ['hardware', device.hardware],
      ['components', device.components.join(', ')],
      ['labels', labels.join(' ') || '-'],
      ['last seen', ago(device.lastSeenAt, now)],
      ['runs', runningText(device)],
    ]),
  ];
  if (device.pendingReason !== null) blocks.push(`not enrolled: ${device.pendingReason}`);
  if (device.cloned)
    blocks.push(
      'cloned: two installations alternate under this id. Remove identity.json from the data ' +
        'folder of the copy and enrol it as a device of its own.',
    );
  const clock = clockErrorText(device.health?.clockErrorMs ?? null);
  if (clock !== null)
    blocks.push(`its clock is ${clock}; it goes by the time of the server meanwhile`);
  blocks.push(...troubleBlocks(device.updates, now));
  blocks.push(...conditionTable(device.updates, now));
  if (device.health !== null) blocks.push(healthText(device.health));
  if (inference.length > 0) blocks.push(inferenceTable(inference));
  const ended = outcomes.map(({ at, outcome }) => [
    outcome.result,
    refText(outcome.release),
    ago(at, now),
    outcome.detail,
  ]);
  if (ended.length > 0) blocks.push(table([['OUTCOME', 'RELEASE', 'WHEN', 'WHY'], ...ended]));
  const attacks = security.map(({ code, count, lastAt, detail }) => [
    code,
    String(count),
    ago(lastAt, now),
    detail,
  ]);
  if (attacks.length > 0)
    blocks.push(table([['SECURITY EVENT', 'COUNT', 'LAST', 'DETAIL'], ...attacks]));
  return blocks.join('\n\n');
}

function healthText(health: NonNullable<Device['health']>): string {
  const mib = (bytes: number): string => `${Math.round(bytes / 1048576)} MiB`;
  const cpu = health.cpuUse === null ? '-' : `${Math.round(health.cpuUse * 100)} %`;
  const temperature =
    health.temperatureC === null ? '' : `${Math.round(health.temperatureC)} degrees C, `;
  const { records, lost, oldestSeconds } = health.spool;
  const oldest = oldestSeconds === undefined ? '' : `, the oldest ${span(oldestSeconds)} old`;
  return (
    `health: cpu ${cpu}, memory free ${mib(health.memoryAvailableBytes)} of ` +
    `${mib(health.memoryTotalBytes)}, ${temperature}agent ${mib(health.agentRssBytes)}, ` +
    `spool ${counted(records, 'record')}${oldest}, lost ${lost}`
  );
}

function inferenceTable(inference: DeviceDetail['inference']): string {
  const ms = (value: number | null): string => (value === null ? '-' : `${value.toFixed(2)} ms`);
  return table([
    ['RELEASE', 'SERVED', 'FAILED', 'REFUSED', 'P50', 'P99', 'CONFIDENCE'],
    ...inference.map((row) => [
      refText(row.release),
      String(row.served),
      String(row.failed),
      String(row.refused),
      ms(row.p50Ms),
      ms(row.p99Ms),
      row.meanConfidence?.toFixed(3) ?? '-',
    ]),
  ]);
}
