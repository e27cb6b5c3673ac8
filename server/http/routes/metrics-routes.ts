// Metrics in the text format of Prometheus. They name groups, releases and how many devices run
// what, so they are for operators: a scraper presents a token of role viewer, as a bearer token in
// `authorization.credentials_file` of its configuration.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { errorResponses, type HttpServices } from '../context.js';

type Options = Pick<HttpServices, 'registry'>;

export const metricsRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { registry }) => {
  app.get(
    '/metrics',
    {
      config: { role: 'viewer' },
      schema: {
        operationId: 'getMetrics',
        summary: 'Metrics, in the text format of Prometheus',
        tags: ['server'],
        response: {
          200: {
            description: 'Prometheus text format',
            content: { [registry.contentType]: { schema: Type.String() } },
          },
          ...errorResponses,
        },
      },
    },
    async (_request, reply) =>
      reply
        .type(registry.contentType)
        .serializer((text: unknown) => text as string)
        .send(await registry.metrics()),
  );
};
