// Operator routes about rollouts. The rollout service decides; these decode and answer.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type, type Static } from 'typebox';
import {
  CommandRequest,
  memberQuery,
  MemberPage,
  RolloutDetail,
  RolloutPage,
  RolloutPolicy,
  RolloutPreview,
  rolloutQuery,
  RolloutRequest,
  StandingReleases,
  pageQuery,
} from '../../../shared/protocol/operator-api.js';
import { ROLLOUT_COMMANDS } from '../../../shared/protocol/states.js';
import { defaultPolicy } from '../../../shared/protocol/default-policy.js';
import type { MemberFilter } from '../../interfaces.js';
import { auditOf } from '../audit-hook.js';
import { errorResponses, type FleetApp, type HttpServices } from '../context.js';
import { pageOf } from '../paging.js';
import { memberView, rolloutSummary, standingView } from '../views.js';

const RolloutId = Type.String({ minLength: 1, maxLength: 64 });
const MemberKey = Type.Tuple([Type.Integer(), Type.Integer(), Type.String()]);
const MemberQuery = Type.Object({ ...pageQuery, ...memberQuery });
const RolloutQuery = Type.Object({ ...pageQuery, ...rolloutQuery });
const RolloutKey = Type.Tuple([Type.Integer(), Type.String()]);

type Options = Pick<HttpServices, 'rollouts' | 'devices'>;
const tags = ['rollouts'];

export const rolloutRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  changeRoutes(app, options);
  defaultsRoute(app);
  readRoutes(app, options);
  standingRoute(app, options);
};

function changeRoutes(app: FleetApp, { rollouts }: Options): void {
  app.post(
    '/rollouts',
    {
      config: { role: 'operator', action: 'rollout.create' },
      schema: {
        operationId: 'createRollout',
        summary: 'Draft a rollout',
        tags,
        body: RolloutRequest,
        response: { 200: RolloutDetail, ...errorResponses },
      },
    },
    (request) => rollouts.create(request.body, auditOf(request)),
  );

  app.post(
    '/rollouts/preview',
    {
      config: { role: 'viewer', changesNothing: true },
      schema: {
        operationId: 'previewRollout',
        summary: 'What a rollout would do: waves, windows and its promise in numbers',
        tags,
        body: RolloutRequest,
        response: { 200: RolloutPreview, ...errorResponses },
      },
    },
    (request) => rollouts.preview(request.body),
  );

  app.post(
    '/rollouts/:id/:command',
    {
      config: { role: 'operator', action: 'rollout.:command' },
      schema: {
        operationId: 'commandRollout',
        summary: 'Start, pause, resume, approve, abort, undo or drop a rollout',
        tags,
        params: Type.Object({ id: RolloutId, command: Type.Enum([...ROLLOUT_COMMANDS]) }),
        body: CommandRequest,
        response: { 200: RolloutDetail, ...errorResponses },
      },
    },
    (request) =>
      rollouts.command(request.params.id, request.params.command, auditOf(request), request.body),
  );
}

function defaultsRoute(app: FleetApp): void {
  app.get(
    '/rollouts/defaults',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getDefaultPolicy',
        summary: 'The policy that a rollout has where nobody says otherwise',
        tags,
        response: { 200: RolloutPolicy, ...errorResponses },
      },
    },
    () => defaultPolicy(),
  );
}

function standingRoute(app: FleetApp, { rollouts }: Options): void {
  app.get(
    '/standing-releases',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'listStandingReleases',
        summary: 'What devices take that enrol, return or change their group',
        tags,
        response: { 200: StandingReleases, ...errorResponses },
      },
    },
    async () => standingView(await rollouts.standing()),
  );
}

function readRoutes(app: FleetApp, { rollouts, devices }: Options): void {
  app.get(
    '/rollouts',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'listRollouts',
        summary: 'Rollouts, the newest first, without members and history',
        tags,
        querystring: RolloutQuery,
        response: { 200: RolloutPage, ...errorResponses },
      },
    },
    async ({ query }) => {
      if (query.group !== undefined) await devices.requireGroup(query.group);
      return pageOf(query, RolloutKey, {
        rows: (page) => rollouts.page(page, query),
        scanned: (after) => rollouts.scanned(query, after),
        key: (row): Static<typeof RolloutKey> => [row.createdAt, row.id],
        view: (rows) => rows.map(rolloutSummary),
      });
    },
  );

  app.get(
    '/rollouts/:id',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getRollout',
        summary: 'One rollout with its counts, its history and the reasons for its state',
        tags,
        params: Type.Object({ id: RolloutId }),
        response: { 200: RolloutDetail, ...errorResponses },
      },
    },
    (request) => rollouts.view(request.params.id),
  );

  app.get(
    '/rollouts/:id/members',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'listRolloutMembers',
        summary: 'The devices of a rollout with their states and reasons, by wave and rank',
        tags,
        params: Type.Object({ id: RolloutId }),
        querystring: MemberQuery,
        response: { 200: MemberPage, ...errorResponses },
      },
    },
    ({ params, query }) =>
      pageOf(query, MemberKey, {
        rows: (page) => rollouts.members(params.id, memberFilter(query), page),
        key: (row): Static<typeof MemberKey> => [row.wave, row.rank, row.device],
        view: (rows) => rows.map(memberView),
      }),
  );
}

const memberFilter = ({ wave, state, failed }: Static<typeof MemberQuery>): MemberFilter => ({
  ...(wave === undefined ? {} : { wave }),
  ...(state === undefined ? {} : { state }),
  ...(failed === undefined ? {} : { failed }),
});
