// `linnet device` and `linnet group`: one or two requests each. Devices are named by id or name.
import type { Command } from 'commander';
import { counted } from '../../../shared/base/counted.js';
import {
  Claim,
  ClaimRequest,
  Device,
  DeviceApproval,
  DeviceDetail,
  DevicePage,
  GroupName,
  GroupPage,
  deviceQuery,
} from '../../../shared/protocol/operator-api.js';
import { listText, type Output } from '../output.js';
import { requireForm } from '../arguments.js';
import { connect } from '../../fleet/fleet-client.js';
import { ago, attentionText, deviceScreen, runningText, statusText } from '../fleet-text.js';
import { filtered, pageOf, type Filters, type PageOptions } from './pages.js';

const at = (id: string): string => `/devices/${encodeURIComponent(id)}`;

interface ApproveOptions {
  readonly fingerprint?: string;
  readonly group?: string;
}

/** People type it in either case. */
function fingerprintIn({ fingerprint }: ApproveOptions): { fingerprint?: string } {
  if (fingerprint === undefined) return {};
  const lower = fingerprint.toLowerCase();
  requireForm('--fingerprint', DeviceApproval.properties.fingerprint, lower);
  return { fingerprint: lower };
}

const requireGroup = (group: string | undefined): void => requireForm('--group', GroupName, group);

export async function list(
  out: Output,
  options: PageOptions & Filters,
  command: Command,
): Promise<void> {
  const path = filtered('/devices', deviceQuery, options);
  const client = await connect(command);
  const devices = await pageOf(client, path, DevicePage, options, out);
  out.result(devices, () =>
    listText(
      path.includes('?') ? 'no device fits' : 'no devices',
      ['NAME', 'GROUP', 'STATUS', 'RUNS', 'ATTENTION', 'HARDWARE', 'LAST SEEN', 'ID'],
      devices.map((row) => [
        row.name,
        row.group,
        statusText(row),
        runningText(row),
        attentionText(row),
        row.hardware,
        ago(row.lastSeenAt, Date.now()),
        row.id,
      ]),
    ),
  );
}

export async function show(
  out: Output,
  id: string,
  _options: unknown,
  command: Command,
): Promise<void> {
  const detail = await (await connect(command)).request('GET', at(id), DeviceDetail);
  out.result(detail, () => deviceScreen(detail));
}

export async function approve(
  out: Output,
  id: string,
  options: ApproveOptions,
  command: Command,
): Promise<void> {
  const body = fingerprintIn(options);
  requireGroup(options.group);
  const client = await connect(command);
  let row = await client.request('POST', `${at(id)}/approve`, Device, body);
  if (options.group !== undefined)
    row = await client.request('PATCH', at(row.id), Device, { group: options.group });
  out.result(row, () => `${row.name} (${row.id}) is ${row.status}, in group ${row.group}`);
}

export async function revoke(
  out: Output,
  id: string,
  _options: unknown,
  command: Command,
): Promise<void> {
  const row = await (await connect(command)).request('POST', `${at(id)}/revoke`, Device, {});
  out.result(row, () => `${row.name} (${row.id}) is ${row.status}`);
}

export async function replace(
  out: Output,
  old: string,
  by: string,
  options: ApproveOptions,
  command: Command,
): Promise<void> {
  const body = { by, ...fingerprintIn(options) };
  const client = await connect(command);
  const row = await client.request('POST', `${at(old)}/replace`, Device, body);
  out.result(row, () => `${row.name} is ${row.id} now, in group ${row.group}; ${old} is revoked`);
}

export async function claim(
  out: Output,
  { group, uses, minutes }: { group: string; uses: number; minutes: number },
  command: Command,
): Promise<void> {
  requireGroup(group);
  requireForm('--uses', ClaimRequest.properties.uses, uses);
  requireForm('--minutes', ClaimRequest.properties.minutes, minutes);
  const client = await connect(command);
  const made = await client.request('POST', '/claims', Claim, { group, uses, minutes });
  out.progress(
    `enrols ${counted(made.uses, 'device')} into group ${made.group} until ${made.expiresAt}`,
  );
  out.result(made, () => made.claim);
}

export async function listGroups(
  out: Output,
  options: PageOptions,
  command: Command,
): Promise<void> {
  const groups = await pageOf(await connect(command), '/groups', GroupPage, options, out);
  out.result(groups, () =>
    listText(
      'no groups',
      ['GROUP', 'DEVICES'],
      groups.map((row) => [row.name, String(row.devices)]),
    ),
  );
}

export const move = (
  out: Output,
  device: string,
  group: string,
  options: unknown,
  command: Command,
): Promise<void> => setGroup(out, group, [device], options, command);

export async function setGroup(
  out: Output,
  name: string,
  devices: string[],
  _options: unknown,
  command: Command,
): Promise<void> {
  requireForm('group', GroupName, name);
  const client = await connect(command);
  const moved: Device[] = [];
  for (const id of devices)
    moved.push(await client.request('PATCH', at(id), Device, { group: name }));
  out.result(moved, () =>
    moved.map((row) => `${row.name} (${row.id}) is in group ${row.group}`).join('\n'),
  );
}
