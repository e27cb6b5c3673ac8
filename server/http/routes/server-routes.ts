// Routes about the server itself, for anybody.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';

const Health = Type.Object(
  { status: Type.Literal('ok') },
  { additionalProperties: false, title: 'Health' },
);

export const serverRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const tags = ['server'];
  app.get(
    '/healthz',
    {
      schema: {
        operationId: 'getHealth',
        summary: 'The server is up',
        tags,
        response: { 200: Health },
      },
    },
    () => ({ status: 'ok' as const }),
  );
  app.get(
    '/openapi.json',
    {
      schema: {
        operationId: 'getOpenApi',
        summary: 'This document',
        tags,
        response: { 200: Type.Unknown() },
      },
    },
    () => app.swagger(),
  );
};
