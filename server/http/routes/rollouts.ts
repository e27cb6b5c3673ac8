// Operator routes about rollouts. The conductor decides; these only carry what a person wants to
// it.
import { Type } from 'typebox';
import { limits } from '../../../shared/base/limits.js';
import {
  ApiError,
  CommandRequest,
  ROLLOUT_COMMANDS,
  RolloutRequest,
  RolloutView,
} from '../../../shared/protocol/operator-api.js';
import type { AppOptions, FleetApp } from '../app.js';
import { caller } from './operator-api.js';

const errors = { '4xx': ApiError, '5xx': ApiError } as const;
const ROLLOUTS = Type.Array(RolloutView);
const ListQuery = Type.Object({
  limit: Type.Integer({
    minimum: 1,
    maximum: limits.listPageMaxCount,
    default: limits.rolloutListDefaultCount,
  }),
});
const RolloutId = Type.String({ minLength: 1, maxLength: 64 });

export function rolloutRoutes(app: FleetApp, options: AppOptions): void {
  const { conductor } = options;
  const tags = ['rollouts'];

  app.post(
    '/rollouts',
    {
      config: { role: 'operator', action: 'rollout.create' },
      schema: {
        summary: 'Draft a rollout',
        tags,
        body: RolloutRequest,
        response: { 200: RolloutView, ...errors },
      },
    },
    async (request) => {
      const { name } = caller(request);
      const view = await conductor.create(request.body, name);
      await options.store.audit.append(
        {
          actor: name,
          action: 'rollout.created',
          subject: view.id,
          detail: `${view.release.component}@${view.release.version} ${view.release.digest}`,
        },
        options.clock.now(),
      );
      return view;
    },
  );

  app.get(
    '/rollouts',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Rollouts, the newest first',
        tags,
        querystring: ListQuery,
        response: { 200: ROLLOUTS, ...errors },
      },
    },
    (request) => conductor.list(request.query.limit),
  );

  app.get(
    '/rollouts/:id',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'One rollout with its devices and why it stands where it does',
        tags,
        params: Type.Object({ id: RolloutId }),
        response: { 200: RolloutView, ...errors },
      },
    },
    (request) => conductor.view(request.params.id),
  );

  app.post(
    '/rollouts/:id/:command',
    {
      config: { role: 'operator', action: 'rollout.:command' },
      schema: {
        summary: 'Start, pause, resume, approve, abort or drop a rollout',
        tags,
        body: CommandRequest,
        params: Type.Object({ id: RolloutId, command: Type.Enum([...ROLLOUT_COMMANDS]) }),
        response: { 200: RolloutView, ...errors },
      },
    },
    (request) =>
      conductor.command(
        request.params.id,
        request.params.command,
        caller(request).name,
        request.body.reason,
      ),
  );
}
