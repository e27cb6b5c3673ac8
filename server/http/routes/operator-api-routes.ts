// The operator API: authentication and the audit hook around the routes under /api/v1.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { API } from '../../../shared/protocol/operator-api.js';
import { auditHook } from '../audit-hook.js';
import { operatorAuthentication } from '../authentication.js';
import type { HttpServices } from '../context.js';
import { entityTags } from '../entity-tag.js';
import { accessRoutes } from './access-routes.js';
import { auditRoutes } from './audit-routes.js';
import { claimRoutes, deviceRoutes } from './device-routes.js';
import { liveRoutes } from './live-routes.js';
import { metricsRoutes } from './metrics-routes.js';
import { releaseRoutes } from './release-routes.js';
import { rolloutRoutes } from './rollout-routes.js';

export const operatorApiRoutes: FastifyPluginAsyncTypebox<HttpServices> = async (app, options) => {
  await app.register(operatorAuthentication, options);
  await app.register(auditHook, options);
  await app.register(entityTags);
  app.addHook('preValidation', (request, _reply, done) => {
    // A POST without a body means the empty object.
    if (request.method === 'POST' && (request.body === undefined || request.body === null))
      request.body = {};
    done();
  });
  await app.register(metricsRoutes, options);
  const below = { ...options, prefix: API };
  await app.register(liveRoutes, below);
  await app.register(deviceRoutes, below);
  await app.register(claimRoutes, below);
  await app.register(releaseRoutes, below);
  await app.register(rolloutRoutes, below);
  await app.register(auditRoutes, below);
  await app.register(accessRoutes, below);
};
