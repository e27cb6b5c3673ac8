// Routes about the server itself, for anybody.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { HttpServices } from '../context.js';

const Health = Type.Object(
  { status: Type.Literal('ok') },
  { additionalProperties: false, title: 'Health' },
);

const NotReady = Type.Object(
  {
    status: Type.Literal('not ready'),
    reasons: Type.Array(
      Type.Object(
        {
          check: Type.String({ description: 'database, disk, broker or metadata' }),
          code: Type.String({ description: 'a fault code' }),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false, title: 'NotReady' },
);

type Options = Pick<HttpServices, 'readiness'>;

export const serverRoutes: FastifyPluginAsyncTypebox<Options> = async (app, { readiness }) => {
  const tags = ['server'];
  app.get(
    '/livez',
    {
      schema: {
        operationId: 'getLiveness',
        summary: 'The process answers: restart it when this fails',
        tags,
        response: { 200: Health },
      },
    },
    () => ({ status: 'ok' as const }),
  );
  app.get(
    '/readyz',
    {
      schema: {
        operationId: 'getReadiness',
        summary: 'The server can do its work; with named reasons when it cannot',
        tags,
        response: { 200: Health, 503: NotReady },
      },
    },
    async (_request, reply) => {
      const { reasons } = await readiness();
      if (reasons.length === 0) return { status: 'ok' as const };
      return reply.code(503).send({ status: 'not ready' as const, reasons: [...reasons] });
    },
  );
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
