// Operator routes about what happened: the audit log and its chain, security events, raw telemetry.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { limits } from '../../../shared/base/limits.js';
import { Type, type Static, type TObject } from 'typebox';
import { Fault } from '../../../shared/base/fault-codes.js';
import {
  AuditDetail,
  AuditHead,
  AuditPage,
  auditQuery,
  InferencePointPage,
  pageQuery,
  SecurityEventDetail,
  SecurityEventFeed,
  securityFeedQuery,
  securityQuery,
  SecurityEventPage,
  TelemetryHourPage,
  TelemetryPage,
} from '../../../shared/protocol/operator-api.js';
import type { SecurityEventFilter } from '../../interfaces.js';
import { errorResponses, type FleetApp, type HttpServices } from '../context.js';
import { pageOf } from '../paging.js';
import { timeRangeOf } from '../time-range.js';
import {
  auditDetail,
  auditSummary,
  inferencePointView,
  securityDetail,
  securitySummary,
  telemetryHourView,
  telemetryView,
} from '../views.js';

const OfDevice = Type.Object({
  ...pageQuery,
  device: Type.String({
    minLength: 1,
    maxLength: limits.deviceIdMaxChars,
    description: 'device id or name',
  }),
});
const Serial = Type.Integer({ minimum: 1 });
const AuditKey = Type.Tuple([Type.Integer(), Serial]);
const SecurityEventKey = Type.Tuple([Type.Integer(), Type.Integer()]);

type Options = Pick<
  HttpServices,
  'audit' | 'security' | 'securityEvents' | 'devices' | 'telemetry' | 'history'
>;
const tags = ['audit'];

export const auditRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  chainRoutes(app, options);
  securityRoutes(app, options);
  feedRoute(app, options);
  telemetryRoutes(app, options);
  inferenceRoute(app, options);
};

function chainRoutes(app: FleetApp, { audit }: Options): void {
  app.get(
    '/audit',
    {
      config: { role: 'operator' },
      schema: {
        operationId: 'listAudit',
        summary: 'The audit log, the newest first',
        tags,
        querystring: Type.Object({ ...pageQuery, ...auditQuery }),
        response: { 200: AuditPage, ...errorResponses },
      },
    },
    ({ query }) => {
      const { actor, action, subject } = query;
      const filter = { actor, action, subject, ...timeRangeOf(query) };
      return pageOf(query, AuditKey, {
        rows: (page) => audit.page(page, filter),
        scanned: (after) => audit.scanned(filter, after),
        key: (row): Static<typeof AuditKey> => [row.at, row.seq],
        view: (rows) => rows.map(auditSummary),
      });
    },
  );

  app.get(
    '/audit/head',
    {
      config: { role: 'operator' },
      schema: {
        operationId: 'verifyAudit',
        summary: 'Verify the whole audit chain',
        tags,
        response: { 200: AuditHead, ...errorResponses },
      },
    },
    () => audit.verify(),
  );

  app.get(
    '/audit/:seq',
    {
      config: { role: 'operator' },
      schema: {
        operationId: 'getAuditEntry',
        summary: 'One audit entry with its whole detail',
        tags,
        params: Type.Object({ seq: Serial }),
        response: { 200: AuditDetail, ...errorResponses },
      },
    },
    async (request) => {
      const row = await audit.find(request.params.seq);
      if (row === null)
        throw new Fault('not_found', `there is no audit entry ${request.params.seq}`);
      return auditDetail(row);
    },
  );
}

type SecurityFeedFilters = Static<TObject<typeof securityFeedQuery>>;

/** Faults: not_found (the device, or no device is in the group), message_undecodable. */
async function securityFilterOf(
  { source, device, group, kind, code }: SecurityFeedFilters,
  devices: Options['devices'],
): Promise<SecurityEventFilter> {
  if (group !== undefined) await devices.requireGroup(group);
  if (device === undefined) return { source, group, kind, code };
  if (source !== undefined)
    throw new Fault('message_undecodable', 'querystring: give `source` or `device`, not both');
  const { id } = await devices.named(device, 'enrolled');
  return { source: id, group, kind: kind ?? 'device', code };
}

function securityRoutes(app: FleetApp, { security, securityEvents, devices }: Options): void {
  app.get(
    '/security-events',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'listSecurityEvents',
        summary: 'Security events, the newest first',
        tags,
        querystring: Type.Object({ ...pageQuery, ...securityQuery }),
        response: { 200: SecurityEventPage, ...errorResponses },
      },
    },
    async ({ query }) => {
      await security.flush();
      const filter = { ...(await securityFilterOf(query, devices)), ...timeRangeOf(query) };
      return pageOf(query, SecurityEventKey, {
        rows: (page) => securityEvents.page(filter, page),
        scanned: (after) => securityEvents.scanned(filter, after),
        key: (row): Static<typeof SecurityEventKey> => [row.lastAt, row.id],
        view: (rows) => rows.map(securitySummary),
      });
    },
  );

  app.get(
    '/security-events/:id',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getSecurityEvent',
        summary: 'One security event with its whole detail',
        tags,
        params: Type.Object({ id: Serial }),
        response: { 200: SecurityEventDetail, ...errorResponses },
      },
    },
    async (request) => {
      const row = await securityEvents.find(request.params.id);
      if (row === null)
        throw new Fault('not_found', `there is no security event ${request.params.id}`);
      return securityDetail(row);
    },
  );
}

function feedRoute(app: FleetApp, { security, securityEvents, devices }: Options): void {
  app.get(
    '/security-events/feed',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'followSecurityEvents',
        summary: 'Security events in the order of their changes, to follow them',
        tags,
        querystring: Type.Object({
          ...securityFeedQuery,
          limit: pageQuery.limit,
          after: Type.Optional(
            Type.Integer({
              minimum: 0,
              description: '`next` of the previous answer; without it: only where to begin',
            }),
          ),
        }),
        response: { 200: SecurityEventFeed, ...errorResponses },
      },
    },
    async ({ query }) => {
      const { after, limit = limits.listPageDefaultCount } = query;
      const filter = await securityFilterOf(query, devices);
      await security.flush();
      if (after === undefined) return { items: [], next: await securityEvents.head() };
      const { rows, next } = await securityEvents.feed(after, limit, filter);
      const items = rows.map((row) => ({ ...securityDetail(row), revision: row.revision }));
      return { items, next };
    },
  );
}

function inferenceRoute(app: FleetApp, { devices, history }: Options): void {
  app.get(
    '/telemetry/inference',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'listInference',
        summary: 'What a device served, report by report, the newest first',
        tags,
        querystring: OfDevice,
        response: { 200: InferencePointPage, ...errorResponses },
      },
    },
    async ({ query }) => {
      const { id } = await devices.named(query.device, 'enrolled');
      return pageOf(query, Serial, {
        rows: ({ limit, after }) => history.inference(id, limit, after),
        key: (row) => row.id,
        view: (rows) => rows.map(inferencePointView),
      });
    },
  );
}

function telemetryRoutes(app: FleetApp, { devices, telemetry }: Options): void {
  app.get(
    '/telemetry',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'listTelemetry',
        summary: 'Recent raw telemetry of a device, the newest first',
        description:
          'Health readings are not kept one by one (see listTelemetryHours), and an update ' +
          'report that repeats the one before is kept once an hour.',
        tags,
        querystring: OfDevice,
        response: { 200: TelemetryPage, ...errorResponses },
      },
    },
    async ({ query }) => {
      const { id } = await devices.named(query.device, 'enrolled');
      return pageOf(query, Serial, {
        rows: ({ limit, after }) => telemetry.records(id, limit, after),
        key: (row) => row.id,
        view: (rows) => rows.map(telemetryView),
      });
    },
  );

  app.get(
    '/telemetry/hours',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'listTelemetryHours',
        summary: 'What a device reported hour by hour, the newest first',
        tags,
        querystring: OfDevice,
        response: { 200: TelemetryHourPage, ...errorResponses },
      },
    },
    async ({ query }) => {
      const { id } = await devices.named(query.device, 'enrolled');
      return pageOf(query, Serial, {
        rows: ({ limit, after }) => telemetry.hours(id, limit, after),
        key: (row) => row.hour,
        view: (rows) => rows.map(telemetryHourView),
      });
    },
  );
}
