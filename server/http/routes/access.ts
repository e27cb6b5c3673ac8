// Operator routes about who did what: the audit log and its chain, security events, raw telemetry,
// and operator tokens.
import { Type } from 'typebox';
import { limits } from '../../../shared/base/limits.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import {
  ApiError,
  AuditEntry,
  AuditHead,
  NewToken,
  SecurityEvent,
  TelemetryRow,
  TokenName,
  TokenRequest,
  TokenView,
} from '../../../shared/protocol/operator-api.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { newOperatorToken } from '../../access/tokens.js';
import type { AppOptions, FleetApp } from '../app.js';
import { auditView, iso, securityView } from './views.js';

const errors = { '4xx': ApiError, '5xx': ApiError } as const;
const Limit = Type.Integer({ minimum: 1, maximum: limits.listPageMaxCount, default: 100 });
const Before = Type.Optional(
  Type.Integer({ minimum: 1, description: 'page on from here: the last seq or id seen' }),
);

export function accessRoutes(app: FleetApp, options: AppOptions): void {
  auditRoutes(app, options);
  tokenRoutes(app, options);
}

function auditRoutes(app: FleetApp, { store }: AppOptions): void {
  const tags = ['audit'];
  app.get(
    '/audit',
    {
      config: { role: 'operator' },
      schema: {
        summary: 'The audit log, the newest first',
        tags,
        querystring: Type.Object({ limit: Limit, before: Before }),
        response: { 200: Type.Array(AuditEntry), ...errors },
      },
    },
    async (request) =>
      (await store.audit.list(request.query.limit, request.query.before ?? null)).map(auditView),
  );

  app.get(
    '/audit/head',
    {
      config: { role: 'operator' },
      schema: {
        summary: 'Verify the whole audit chain',
        tags,
        response: { 200: AuditHead, ...errors },
      },
    },
    () => store.audit.verify(),
  );

  app.get(
    '/security-events',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Security events, the newest first',
        tags,
        response: { 200: Type.Array(SecurityEvent), ...errors },
        querystring: Type.Object({
          limit: Limit,
          source: Type.Optional(
            Type.String({ maxLength: 100, description: 'device id, `server` or `operator`' }),
          ),
        }),
      },
    },
    async (request) =>
      (await store.security.list(request.query.limit, request.query.source)).map(securityView),
  );

  app.get(
    '/telemetry',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Recent raw telemetry of a device, the newest first',
        tags,
        response: { 200: Type.Array(TelemetryRow), ...errors },
        querystring: Type.Object({
          device: Type.String({ minLength: 1, maxLength: 64, description: 'device id or name' }),
          limit: Limit,
          before: Before,
        }),
      },
    },
    async (request) => {
      const device = await store.devices.named(request.query.device);
      const rows = await store.telemetry.records(
        device.id,
        request.query.limit,
        request.query.before ?? null,
      );
      return rows.map((row) => ({
        ...row,
        deviceAt: iso(Math.min(row.deviceAt, LAST_DATE_MS)),
        at: iso(row.at),
      }));
    },
  );
}

/** ECMAScript dates end here; a device's clock may say anything. */
const LAST_DATE_MS = 8_640_000_000_000_000;

function tokenRoutes(app: FleetApp, { store, clock, random }: AppOptions): void {
  const tags = ['access'];
  app.get(
    '/tokens',
    {
      config: { role: 'admin' },
      schema: {
        summary: 'Operator tokens by name',
        tags,
        response: { 200: Type.Array(TokenView), ...errors },
      },
    },
    async () =>
      (await store.tokens.list()).map(({ name, role, createdAt, revokedAt }) => ({
        name,
        role,
        createdAt: iso(createdAt),
        revokedAt: revokedAt === null ? null : iso(revokedAt),
      })),
  );

  app.post(
    '/tokens',
    {
      config: { role: 'admin', action: 'token.create' },
      schema: {
        summary: 'A new operator token; shown once',
        tags,
        body: TokenRequest,
        response: { 200: NewToken, ...errors },
      },
    },
    async (request) => {
      const { name, role } = request.body;
      const token = newOperatorToken(random);
      await store.tokens.add({ hash: sha256(token), name, role }, clock.now());
      return { name, role, token };
    },
  );

  app.post(
    '/tokens/:name/revoke',
    {
      config: { role: 'admin', action: 'token.revoke' },
      schema: {
        summary: 'Revoke every token of that name',
        tags,
        params: Type.Object({ name: TokenName }),
        body: Type.Object({}, { additionalProperties: false }),
        response: { 200: Type.Object({ revoked: Type.Integer() }), ...errors },
      },
    },
    async (request) => {
      const revoked = await store.tokens.revoke(request.params.name, clock.now());
      if (revoked === 0)
        throw new Fault('not_found', `no valid token is named ${request.params.name}`);
      return { revoked };
    },
  );
}
