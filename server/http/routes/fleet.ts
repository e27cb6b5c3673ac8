// Operator routes about devices, groups and claims. A device is named by its id or its name.
import { Type } from 'typebox';
import { limits } from '../../../shared/base/limits.js';
import {
  Claim,
  ClaimRequest,
  Device,
  DeviceDetail,
  DevicePatch,
  Group,
  GroupName,
  ApiError,
} from '../../../shared/protocol/operator-api.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { newClaimToken } from '../../access/tokens.js';
import type { AppOptions, FleetApp } from '../app.js';
import type { DeviceRow } from '../../interfaces.js';
import { caller } from './operator-api.js';
import { deviceView, inferenceView, iso } from './views.js';

const errors = { '4xx': ApiError, '5xx': ApiError } as const;
const Named = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 64, description: 'device id or name' }),
});
const Nothing = Type.Object({}, { additionalProperties: false });
const RECENT = 50;

export function fleetRoutes(app: FleetApp, options: AppOptions): void {
  lookRoutes(app, options);
  changeRoutes(app, options);
  groupRoutes(app, options);
}

async function show(row: DeviceRow, { store, clock, silentAfterMs }: AppOptions): Promise<Device> {
  return deviceView(
    row,
    (await store.telemetry.latest([row.id])).get(row.id),
    clock.now(),
    silentAfterMs,
  );
}

function lookRoutes(app: FleetApp, options: AppOptions): void {
  const { store, clock } = options;
  const tags = ['fleet'];
  app.get(
    '/devices',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Devices, by group and name',
        tags,
        response: { 200: Type.Array(Device), ...errors },
        querystring: Type.Object({
          group: Type.Optional(GroupName),
          status: Type.Optional(Type.Enum(['pending', 'enrolled', 'revoked'])),
          offset: Type.Integer({ minimum: 0, default: 0 }),
          limit: Type.Integer({
            minimum: 1,
            maximum: limits.listPageMaxCount,
            default: limits.listPageMaxCount,
          }),
        }),
      },
    },
    async (request) => {
      const { group, status, offset, limit } = request.query;
      const rows = (await store.devices.list())
        .filter(
          (row) =>
            (group === undefined || row.group === group) &&
            (status === undefined || row.status === status),
        )
        .slice(offset, offset + limit);
      const latest = await store.telemetry.latest(
        rows.length < 100 ? rows.map((row) => row.id) : null,
      );
      return rows.map((row) =>
        deviceView(row, latest.get(row.id), clock.now(), options.silentAfterMs),
      );
    },
  );

  app.get(
    '/devices/:id',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'One device with what it reported',
        tags,
        params: Named,
        response: { 200: DeviceDetail, ...errors },
      },
    },
    async (request) => {
      const row = await store.devices.named(request.params.id);
      const [inference, security, outcomes] = await Promise.all([
        store.telemetry.inference(row.id),
        store.security.list(RECENT, row.id),
        store.telemetry.outcomes(row.id, RECENT),
      ]);
      return {
        device: await show(row, options),
        inference: inference.map(inferenceView),
        security: security.map(({ at, code, detail }) => ({ at: iso(at), body: { code, detail } })),
        outcomes: outcomes.map(({ at, outcome }) => ({ at: iso(at), outcome })),
      };
    },
  );
}

function changeRoutes(app: FleetApp, options: AppOptions): void {
  const { store, clock } = options;
  const tags = ['fleet'];
  app.post(
    '/devices/:id/approve',
    {
      config: { role: 'operator', action: 'device.approve' },
      schema: {
        summary: 'Let a pending device in',
        tags,
        params: Named,
        body: Nothing,
        response: { 200: Device, ...errors },
      },
    },
    async (request) =>
      show(
        await store.devices.approve((await store.devices.named(request.params.id)).id, clock.now()),
        options,
      ),
  );

  app.post(
    '/devices/:id/revoke',
    {
      config: { role: 'operator', action: 'device.revoke' },
      schema: {
        summary: 'Shut a device out for good',
        tags,
        params: Named,
        body: Nothing,
        response: { 200: Device, ...errors },
      },
    },
    async (request) => {
      const row = await store.devices.named(request.params.id);
      await store.devices.revoke(row.id);
      options.kick(row.id);
      return show({ ...row, status: 'revoked' }, options);
    },
  );

  app.patch(
    '/devices/:id',
    {
      config: { role: 'operator', action: 'device.change' },
      schema: {
        summary: "Change a device's group or labels",
        tags,
        params: Named,
        body: DevicePatch,
        response: { 200: Device, ...errors },
      },
    },
    async (request) => {
      const row = await store.devices.named(request.params.id);
      await store.devices.change(row.id, request.body.group, request.body.labels);
      return show(await store.devices.named(row.id), options);
    },
  );
}

function groupRoutes(app: FleetApp, options: AppOptions): void {
  const { store, clock } = options;
  const tags = ['fleet'];
  app.get(
    '/groups',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Groups with the number of their enrolled devices',
        tags,
        response: { 200: Type.Array(Group), ...errors },
      },
    },
    () => store.devices.groups(),
  );

  app.post(
    '/claims',
    {
      config: { role: 'operator', action: 'claim.create' },
      schema: {
        summary: 'A pass that enrols devices without approval; shown once',
        tags,
        body: ClaimRequest,
        response: { 200: Claim, ...errors },
      },
    },
    async (request) => {
      const { group, uses, minutes } = request.body;
      const claim = newClaimToken(options.random);
      const now = clock.now();
      const expiresAt = now + minutes * 60_000;
      await store.devices.addClaim(
        sha256(claim),
        group,
        uses,
        expiresAt,
        caller(request).name,
        now,
      );
      return { claim, group, uses, expiresAt: iso(expiresAt) };
    },
  );
}
