// Operator routes for a screen that stays open: who calls, the fleet in numbers, and the stream of
// changes (server-sent events). A client that cannot set headers on an EventSource fetches the
// stream; the token is never part of a URL.
import { Readable } from 'node:stream';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { limits } from '../../../shared/base/limits.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { HOUR_MS } from '../../../shared/base/units.js';
import {
  FleetHistory,
  fleetHistoryQuery,
  FleetOverview,
  Self,
} from '../../../shared/protocol/operator-api.js';
import { operatorOf } from '../../access/tokens.js';
import type { OpenStream } from '../../changes/change-feed.js';
import { operatorOfRequest } from '../authentication.js';
import { bytesOf, errorResponses, type FleetApp, type HttpServices } from '../context.js';
import { fleetHistory, fleetOverview } from '../views.js';

const EVENT_STREAM = 'text/event-stream';

type Options = Pick<
  HttpServices,
  'changes' | 'counts' | 'versions' | 'clock' | 'silentAfterMs' | 'tokens'
>;
const tags = ['server'];

export const liveRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  selfRoute(app, options);
  fleetRoute(app, options);
  historyRoute(app, options);
  eventsRoute(app, options);
};

function selfRoute(app: FleetApp, { tokens }: Options): void {
  app.get(
    '/self',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getSelf',
        summary: 'The name and the role of the token that calls',
        tags,
        response: { 200: Self, ...errorResponses },
      },
    },
    async (request) => {
      const { name, role } = operatorOfRequest(request);
      return { name, role, tokens: await tokens.count(name) };
    },
  );
}

function fleetRoute(app: FleetApp, { counts, clock, silentAfterMs }: Options): void {
  let kept: { readonly at: number; readonly overview: Promise<FleetOverview> } | null = null;
  const count = async (): Promise<FleetOverview> => {
    const now = clock.now();
    const heardSince = now - silentAfterMs;
    const numbers = await counts.read(heardSince);
    const attention = await counts.overview(now - limits.deviceClonedMs, heardSince);
    return fleetOverview(numbers, attention, now);
  };
  app.get(
    '/fleet',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getFleet',
        summary: 'The fleet in numbers, and what needs a person',
        tags: ['devices'],
        response: { 200: FleetOverview, ...errorResponses },
      },
    },
    () => {
      const at = clock.monotonic();
      if (kept === null || at - kept.at >= limits.fleetOverviewKeptMs) {
        const overview = count();
        kept = { at, overview };
        overview.catch(() => {
          kept = null;
        });
      }
      return kept.overview;
    },
  );
}

function historyRoute(app: FleetApp, { versions, clock }: Options): void {
  app.get(
    '/fleet/history',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getFleetHistory',
        summary: 'Which versions the fleet ran, by the hour',
        tags: ['devices'],
        querystring: Type.Object(fleetHistoryQuery),
        response: { 200: FleetHistory, ...errorResponses },
      },
    },
    async ({ query: { hours = limits.fleetVersionsDefaultHours } }) => {
      const to = clock.now();
      const from = to - (to % HOUR_MS) - (hours - 1) * HOUR_MS;
      return fleetHistory(await versions.read(from), from, to);
    },
  );
}

function eventsRoute(app: FleetApp, { changes, tokens }: Options): void {
  app.addHook('preClose', (done) => {
    changes.close();
    done();
  });
  app.get(
    '/events',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'followChanges',
        summary: 'Changes as server-sent events: `hello`, `change` (a list of Change), `beat`',
        tags,
        response: {
          200: bytesOf(EVENT_STREAM, 'Server-sent events, until either end closes the stream'),
          ...errorResponses,
        },
      },
    },
    async (request, reply) => {
      const { authorization } = request.headers;
      const stream = new Readable({ highWaterMark: limits.changeStreamBytes, read: () => {} });
      let hasRoom = true;
      const send = (event: string, data: string): void => {
        hasRoom = stream.push(`event: ${event}\ndata: ${data}\n\n`);
      };
      const open: OpenStream = changes.open({
        operator: operatorOfRequest(request).name,
        ready: () => hasRoom,
        send,
        allowed: () => isValid(authorization, tokens),
        end: () => stream.push(null),
      });
      stream._read = () => {
        hasRoom = true;
        open.flush();
      };
      stream.once('close', () => open.close());
      send('hello', '{}');
      return reply
        .type(EVENT_STREAM)
        .headers({ 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
        .send(stream as unknown as Uint8Array);
    },
  );
}

async function isValid(
  authorization: string | undefined,
  tokens: Options['tokens'],
): Promise<boolean> {
  try {
    await operatorOf(authorization, tokens);
    return true;
  } catch (error) {
    if (isFault(error, 'auth_missing')) return false;
    throw error;
  }
}
