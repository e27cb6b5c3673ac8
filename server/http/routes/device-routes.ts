// Operator routes about devices, groups and claims. A device is named by its id or its name.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { limits } from '../../../shared/base/limits.js';
import { Type, type Static } from 'typebox';
import {
  Claim,
  ClaimRequest,
  Device,
  DeviceApproval,
  DeviceDetail,
  DevicePage,
  DevicePatch,
  DeviceReplacement,
  GroupPage,
  deviceQuery,
  NO_VERSION,
  pageQuery,
} from '../../../shared/protocol/operator-api.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { MINUTE_MS } from '../../../shared/base/units.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { fingerprintOf } from '../../../shared/trust/device-token.js';
import { newClaimToken } from '../../access/tokens.js';
import type { DeviceFilter, DeviceRow } from '../../interfaces.js';
import { auditOf } from '../audit-hook.js';
import { operatorOfRequest } from '../authentication.js';
import { EmptyBody, errorResponses, type FleetApp, type HttpServices } from '../context.js';
import { pageOf, PageQuery } from '../paging.js';
import { deviceSummary, deviceView, inferenceView, iso, securitySummary } from '../views.js';

const Named = Type.Object({
  id: Type.String({
    minLength: 1,
    maxLength: limits.deviceIdMaxChars,
    description: 'device id or name',
  }),
});
const DeviceQuery = Type.Object({ ...pageQuery, ...deviceQuery });
const DeviceKey = Type.Tuple([Type.String(), Type.String(), Type.String()]);

type Options = Pick<
  HttpServices,
  | 'devices'
  | 'telemetry'
  | 'history'
  | 'security'
  | 'securityEvents'
  | 'clock'
  | 'random'
  | 'silentAfterMs'
  | 'disconnect'
>;
const tags = ['devices'];

export const deviceRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  listRoute(app, options);
  detailRoute(app, options);
  statusRoutes(app, options);
  replaceRoute(app, options);
  changeRoute(app, options);
};

function listRoute(app: FleetApp, { devices, telemetry, clock, silentAfterMs }: Options): void {
  app.get(
    '/devices',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'listDevices',
        summary: 'Devices, by group and name',
        tags,
        querystring: DeviceQuery,
        response: { 200: DevicePage, ...errorResponses },
      },
    },
    ({ query }) => {
      const filter = filterOf(query, clock.now(), silentAfterMs);
      return pageOf(query, DeviceKey, {
        rows: (page) => devices.page(filter, page),
        scanned: (after) => devices.scanned(filter, after),
        key: (row): Static<typeof DeviceKey> => [row.group, row.name, row.id],
        view: async (rows) => {
          const latest = await telemetry.latest(rows.map((row) => row.id));
          return rows.map((row) =>
            deviceSummary(row, latest.get(row.id), clock.now(), silentAfterMs),
          );
        },
      });
    },
  );
}

function filterOf(
  {
    group,
    status,
    hardware,
    search,
    running,
    update,
    attention,
    label,
  }: Static<typeof DeviceQuery>,
  now: number,
  silentAfterMs: number,
): DeviceFilter {
  const [component, version] = running?.split('@') ?? [];
  const runs = component !== undefined && version !== undefined;
  return {
    ...{ group, status, hardware, search, update, attention },
    running: runs ? { component, version: version === NO_VERSION ? null : version } : undefined,
    label: label === undefined ? undefined : labelIn(label),
    heardSince: now - silentAfterMs,
    clonedSince: now - limits.deviceClonedMs,
  };
}

/** `key=value`, or a key alone; a value may have `=`. */
function labelIn(text: string): { key: string; value?: string } {
  const at = text.indexOf('=');
  return at === -1 ? { key: text } : { key: text.slice(0, at), value: text.slice(at + 1) };
}

function detailRoute(app: FleetApp, options: Options): void {
  const { devices, telemetry, history, security, securityEvents } = options;
  app.get(
    '/devices/:id',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getDevice',
        summary: 'One device with what it reported',
        tags,
        params: Named,
        response: { 200: DeviceDetail, ...errorResponses },
      },
    },
    async (request) => {
      const row = await devices.named(request.params.id, 'enrolled');
      await security.flush();
      const [inference, events, outcomes, rollouts, certificates] = await Promise.all([
        telemetry.inference(row.id),
        securityEvents.page(
          { source: row.id },
          { limit: limits.deviceRecentMaxCount, after: null },
        ),
        telemetry.outcomes(row.id, limits.deviceRecentMaxCount),
        history.rollouts(row.id, limits.deviceRecentMaxCount),
        history.certificates(row.id, limits.deviceRecentMaxCount),
      ]);
      return {
        device: await show(row, options),
        rollouts: rollouts.map((one) => ({ ...one, since: iso(one.since) })),
        certificates: certificates.map(({ serial, issuedAt, expiresAt }) => ({
          ...{ serial, issuedAt: iso(issuedAt), expiresAt: iso(expiresAt) },
        })),
        inference: inference.map(inferenceView),
        security: events.map(securitySummary),
        outcomes: outcomes.map(({ at, outcome }) => ({ at: iso(at), outcome })),
      };
    },
  );
}

async function show(row: DeviceRow, { telemetry, clock, silentAfterMs }: Options): Promise<Device> {
  const latest = (await telemetry.latest([row.id])).get(row.id);
  return deviceView(row, latest, clock.now(), silentAfterMs);
}

function statusRoutes(app: FleetApp, options: Options): void {
  const { devices, clock, disconnect } = options;
  app.post(
    '/devices/:id/approve',
    {
      config: { role: 'operator', action: 'device.approve' },
      schema: {
        operationId: 'approveDevice',
        summary: 'Enrol a pending device',
        tags,
        params: Named,
        body: DeviceApproval,
        response: { 200: Device, ...errorResponses },
      },
    },
    async (request) => {
      const row = await devices.named(request.params.id, 'pending');
      requireFingerprint(row, request.params.id, request.body.fingerprint);
      return show(await devices.approve(row.id, auditOf(request), clock.now()), options);
    },
  );

  app.post(
    '/devices/:id/revoke',
    {
      config: { role: 'operator', action: 'device.revoke' },
      schema: {
        operationId: 'revokeDevice',
        summary: 'Revoke a device for good and close its connection',
        tags,
        params: Named,
        body: EmptyBody,
        response: { 200: Device, ...errorResponses },
      },
    },
    async (request) => {
      const { id } = await devices.named(request.params.id, 'enrolled');
      const row = await devices.revoke(id, auditOf(request), clock.now());
      disconnect(id);
      return show(row, options);
    },
  );
}

function replaceRoute(app: FleetApp, options: Options): void {
  const { devices, clock, disconnect } = options;
  app.post(
    '/devices/:id/replace',
    {
      config: { role: 'operator', action: 'device.replace' },
      schema: {
        operationId: 'replaceDevice',
        summary: 'Give name, group and labels to another device, and revoke this one',
        tags,
        params: Named,
        body: DeviceReplacement,
        response: { 200: Device, ...errorResponses },
      },
    },
    async (request) => {
      const { by, fingerprint } = request.body;
      const before = await devices.named(request.params.id, 'enrolled');
      const after = await devices.named(by, 'pending');
      requireFingerprint(after, by, fingerprint);
      const audit = { ...auditOf(request), detail: `${before.id} by ${after.id}` };
      const row = await devices.replace(before.id, after.id, audit, clock.now());
      disconnect(before.id);
      return show(row, options);
    },
  );
}

/**
 * Anyone can ask to enrol under any name, so the name of a pending device does not say whose key is
 * approved. Fault
 * fingerprint_mismatch.
 */
function requireFingerprint(
  { id, name, status, publicKey }: DeviceRow,
  called: string,
  fingerprint: string | undefined,
): void {
  if (status !== 'pending' || (fingerprint === undefined && called === id)) return;
  if (fingerprint !== undefined && fingerprintOf(publicKey).startsWith(fingerprint)) return;
  throw new Fault(
    'fingerprint_mismatch',
    fingerprint === undefined
      ? `${name} is only a name that a device gave itself: give the fingerprint of its key as ` +
          `well (--fingerprint), or approve it by its id ${id}`
      : `the key of ${name} (${id}) has another fingerprint than ${fingerprint}`,
  );
}

function changeRoute(app: FleetApp, options: Options): void {
  const { devices, clock } = options;
  app.patch(
    '/devices/:id',
    {
      config: { role: 'operator', action: 'device.change' },
      schema: {
        operationId: 'changeDevice',
        summary: "Change a device's group or labels",
        tags,
        params: Named,
        body: DevicePatch,
        response: { 200: Device, ...errorResponses },
      },
    },
    async (request) => {
      const { id } = await devices.named(request.params.id, 'enrolled');
      return show(await devices.change(id, request.body, auditOf(request), clock.now()), options);
    },
  );
}

export const claimRoutes: FastifyPluginAsyncTypebox<Options> = async (
  app,
  { devices, clock, random },
) => {
  app.get(
    '/groups',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'listGroups',
        summary: 'Groups by name, with the number of their enrolled devices',
        tags,
        querystring: PageQuery,
        response: { 200: GroupPage, ...errorResponses },
      },
    },
    ({ query }) =>
      pageOf(query, Type.String(), {
        rows: (page) => devices.groups(page),
        key: (row) => row.name,
        view: (rows) => [...rows],
      }),
  );

  app.post(
    '/claims',
    {
      config: { role: 'operator', action: 'claim.create' },
      schema: {
        operationId: 'createClaim',
        summary: 'A claim token that enrols devices without approval; it is shown once',
        tags,
        body: ClaimRequest,
        response: { 200: Claim, ...errorResponses },
      },
    },
    async (request) => {
      const { group, uses, minutes } = request.body;
      const claim = newClaimToken(random);
      const now = clock.now();
      const expiresAt = now + minutes * MINUTE_MS;
      const createdBy = operatorOfRequest(request).name;
      await devices.addClaim(
        { hash: sha256(claim), group, uses, expiresAt, createdBy },
        auditOf(request),
        now,
      );
      return { claim, group, uses, expiresAt: iso(expiresAt) };
    },
  );
};
