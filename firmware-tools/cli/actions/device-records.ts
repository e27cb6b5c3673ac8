// `linnet device label|events|history` and `linnet telemetry`: one or two requests each, and tables
// of the answers.
import type { Command } from 'commander';
import { Fault } from '../../../shared/base/fault-codes.js';
import { decode } from '../../../shared/base/decode.js';
import { limits } from '../../../shared/base/limits.js';
import { realClock } from '../../../shared/platform/clock.js';
import {
  Device,
  DeviceDetail,
  DevicePatch,
  SecurityEventPage,
  TelemetryHourPage,
  TelemetryPage,
  type TelemetryHour,
  type TelemetryRow,
} from '../../../shared/protocol/operator-api.js';
import { UpdateBody } from '../../../shared/protocol/telemetry.js';
import { connect, type FleetClient } from '../../fleet/fleet-client.js';
import { refText, timeText } from '../fleet-text.js';
import { requireForm } from '../arguments.js';
import { listText, type Output } from '../output.js';
import { poll, type Turn } from '../polling.js';
import { pageOf, type PageOptions } from './pages.js';
import { securityTable } from './security.js';

const at = (id: string): string => `/devices/${encodeURIComponent(id)}`;

const ofDevice = (id: string): string => `device=${encodeURIComponent(id)}`;

/** Null removes it. */
function labelChange(text: string): [key: string, value: string | null] {
  const equals = text.indexOf('=');
  if (equals > 0) {
    const [key, value] = [text.slice(0, equals), text.slice(equals + 1)];
    requireForm('label', DevicePatch.properties.labels, { [key]: value }, text);
    return [key, value];
  }
  if (equals === -1 && text.length > 1 && text.endsWith('-')) return [text.slice(0, -1), null];
  throw new Fault('usage', `${text}: write key=value to set a label, key- to remove it`);
}

interface Change {
  readonly at: string;
  readonly update: UpdateBody;
}

const changeCells = ({ at: time, update }: Change): string[] => [
  timeText(time),
  update.component,
  update.state,
  refText(update.running),
  refText(update.updatingTo),
  update.outcome?.result ?? '-',
  update.trouble?.detail ?? update.outcome?.detail ?? '-',
];

/** Update reports without those that repeat the one before; the newest first. */
async function changesOf(client: FleetClient, id: string, limit: number): Promise<Change[]> {
  const changes: Change[] = [];
  let cursor = null as string | null;
  for (let read = 0; read < limits.historyRecordsMaxCount; read += limits.listPageMaxCount) {
    const path = `/telemetry?${ofDevice(id)}`;
    const page = await client.take(path, TelemetryPage, limits.listPageMaxCount, cursor);
    for (const { kind, at: time, body } of page.items)
      if (kind === 'update')
        changes.push({ at: time, update: decode(UpdateBody, body, 'update report') });
    cursor = page.next;
    if (cursor === null || withoutRepeats(changes).length > limit) break;
  }
  return withoutRepeats(changes).slice(0, limit);
}

/** Of equal reports in a row the oldest stays: it is when the change was reported. */
function withoutRepeats(changes: readonly Change[]): Change[] {
  const key = ({ update: { component, state, running, updatingTo, outcome, trouble } }: Change) =>
    JSON.stringify([component, state, running, updatingTo, outcome, trouble?.code]);
  const olderKey = new Map<string, string>();
  return [...changes]
    .reverse()
    .filter((change) => {
      const before = olderKey.get(change.update.component);
      olderKey.set(change.update.component, key(change));
      return before !== key(change);
    })
    .reverse();
}

interface TailOptions extends PageOptions {
  readonly follow?: true;
}

const recordTable = (items: readonly TelemetryRow[]): string =>
  listText(
    'no records',
    ['RECEIVED', 'KIND', 'SEQ', 'BODY'],
    items.map((row) => [timeText(row.at), row.kind, String(row.seq), JSON.stringify(row.body)]),
  );

function printRecord(row: TelemetryRow, out: Output): void {
  out.event(row);
  out.line(`${timeText(row.at)}  ${row.kind}  ${row.seq}  ${JSON.stringify(row.body)}`);
}

/** Ends only with a refusal, or when the server does not answer for a long time. */
function follow(client: FleetClient, path: string, from: number, out: Output): Promise<never> {
  let last = from;
  const ask = async (): Promise<Turn<never>> => {
    // The newest first: what came since the last look, however many pages these are.
    const fresh: TelemetryRow[] = [];
    let cursor = null as string | null;
    do {
      const page = await client.take(path, TelemetryPage, limits.listPageDefaultCount, cursor);
      const some = page.items.filter((row) => row.id > last);
      fresh.push(...some);
      cursor = some.length < page.items.length ? null : page.next;
    } while (cursor !== null);
    for (const row of fresh.reverse()) printRecord(row, out);
    last = fresh.at(-1)?.id ?? last;
    return 'later';
  };
  return poll(ask, { clock: realClock, hasAnswered: true });
}

function hourTable(items: readonly TelemetryHour[]): string {
  const both = (
    pair: { p50: number; p99: number } | null,
    show: (value: number) => string = (value) => String(Math.round(value)),
  ): string => (pair === null ? '-' : `${show(pair.p50)} / ${show(pair.p99)}`);
  const share = (value: number): string => `${Math.round(value * 100)} %`;
  return listText(
    'no hours',
    ['HOUR', 'RECORDS', 'CPU P50/P99', 'FREE MIB', 'DEGREES C', 'DISK FREE MIB', 'AGENT MIB'],
    items.map((row) => [
      timeText(row.hour),
      String(Object.values(row.records).reduce((sum, count) => sum + count, 0)),
      both(row.cpuUse, share),
      both(row.memoryAvailableMib),
      both(row.temperatureC),
      both(row.diskFreeMib),
      both(row.agentRssMib),
    ]),
  );
}

export async function label(
  out: Output,
  id: string,
  changes: string[],
  _options: unknown,
  command: Command,
): Promise<void> {
  const changed = changes.map(labelChange);
  const client = await connect(command);
  let { device: row } = await client.request('GET', at(id), DeviceDetail);
  if (changed.length > 0) {
    const labels = new Map(Object.entries(row.labels));
    for (const [key, value] of changed)
      if (value === null) labels.delete(key);
      else labels.set(key, value);
    const body = { labels: Object.fromEntries(labels) };
    row = await client.request('PATCH', at(row.id), Device, body);
  }
  out.result(row.labels, () => {
    const rows = Object.entries(row.labels);
    return listText(`${row.name} has no labels`, ['LABEL', 'VALUE'], rows);
  });
}

export async function events(
  out: Output,
  id: string,
  options: PageOptions,
  command: Command,
): Promise<void> {
  const client = await connect(command);
  const { device: row } = await client.request('GET', at(id), DeviceDetail);
  const path = `/security-events?source=${encodeURIComponent(row.id)}`;
  const items = await pageOf(client, path, SecurityEventPage, options, out);
  out.result(items, () => securityTable(items));
}

export async function history(
  out: Output,
  id: string,
  { limit }: { limit: number },
  command: Command,
): Promise<void> {
  const changes = await changesOf(await connect(command), id, limit);
  out.result(changes, () =>
    listText(
      'no update reports are kept of this device',
      ['REPORTED', 'COMPONENT', 'STATE', 'RUNS', 'UPDATING TO', 'OUTCOME', 'WHY'],
      changes.map(changeCells),
    ),
  );
}

export async function tail(
  out: Output,
  id: string,
  options: TailOptions,
  command: Command,
): Promise<void> {
  const client = await connect(command);
  const path = `/telemetry?${ofDevice(id)}`;
  const items = (await pageOf(client, path, TelemetryPage, options, out)).reverse();
  if (options.follow !== true) {
    out.result(items, () => recordTable(items));
    return;
  }
  for (const row of items) printRecord(row, out);
  await follow(client, path, items.at(-1)?.id ?? 0, out);
}

export async function hours(
  out: Output,
  id: string,
  options: PageOptions,
  command: Command,
): Promise<void> {
  const path = `/telemetry/hours?${ofDevice(id)}`;
  const items = await pageOf(await connect(command), path, TelemetryHourPage, options, out);
  out.result(items, () => hourTable(items));
}
