// 405 instead of 404 where the path exists and the method does not. Fastify's router knows methods
// only as separate trees, so each path gets one more route for the methods that it lacks. Register
// `knownPaths` before the routes and call `refuseOtherMethods` after them.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import fastifyPlugin from 'fastify-plugin';
import type { HTTPMethods } from 'fastify';
import { Fault } from '../../shared/base/fault-codes.js';
import type { FleetApp } from './context.js';
import { pathOf, sendFault } from './errors.js';

declare module 'fastify' {
  interface FastifyInstance {
    /** Methods of each path that has routes. */
    methodsByPath: Map<string, Set<string>>;
  }
}

const METHODS: readonly HTTPMethods[] = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
];

const knownPathsAsync: FastifyPluginAsyncTypebox = async (app) => {
  app.decorate('methodsByPath', new Map<string, Set<string>>());
  app.addHook('onRoute', ({ url, method }) => {
    const known = app.methodsByPath.get(url) ?? new Set();
    for (const one of [method].flat()) known.add(one);
    app.methodsByPath.set(url, known);
  });
};

export const knownPaths = fastifyPlugin(knownPathsAsync, { name: 'known-paths', fastify: '5.x' });

export function refuseOtherMethods(app: FleetApp): void {
  for (const [url, known] of [...app.methodsByPath]) {
    const allow = [...known].sort().join(', ');
    app.route({
      method: METHODS.filter((method) => !known.has(method)),
      url,
      schema: { hide: true },
      // Before a body is read.
      onRequest: (request, reply) => {
        const fault = new Fault(
          'method_not_allowed',
          `${pathOf(request)} takes ${allow}, not ${request.method}`,
        );
        sendFault(reply.header('allow', allow), fault);
      },
      handler: () => {},
    });
  }
}
