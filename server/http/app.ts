// The HTTP server of a fleet. Sibling plugins under one Fastify: `repository` (public: what it
// serves is signed), `device` (a device's own key), `operator` (bearer tokens with roles), and the
// console. Siblings cannot see each other's authentication, so no mistake in one opens another.
// Requests are decoded by the schemas of shared/protocol, which are also the OpenAPI document;
// every refusal, from any layer, has one shape.
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, { type FastifyRequest } from 'fastify';
import type { TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { limits } from '../../shared/base/limits.js';
import { complaints } from '../../shared/base/decode.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { consoleRoutes } from '../console/console-routes.js';
import type { AppOptions, FleetApp } from './context.js';
import { answerError, answerUnparsed, pathOf, sendFault } from './errors.js';
import { knownPaths, refuseOtherMethods } from './method-not-allowed.js';
import { makeServer } from './listener.js';
import { openApi } from './openapi.js';
import { deviceApiRoutes } from './routes/device-api-routes.js';
import { imageRepositoryRoutes } from './routes/image-repository-routes.js';
import { operatorApiRoutes } from './routes/operator-api-routes.js';
import { serverRoutes } from './routes/server-routes.js';
import { traceparentOf } from './trace.js';

export async function buildApp(options: AppOptions): Promise<FleetApp> {
  const app = makeFastify(options);
  await app.register(openApi);
  await app.register(knownPaths);
  await app.register(serverRoutes, options);
  await app.register(consoleRoutes);
  await app.register(imageRepositoryRoutes, options);
  await app.register(deviceApiRoutes, options);
  await app.register(operatorApiRoutes, options);
  refuseOtherMethods(app);
  await app.ready();
  return app;
}

function makeFastify(options: AppOptions): FleetApp {
  const { log, trustedProxies, metrics, random } = options;
  const app = Fastify({
    trustProxy: trustedProxies.length === 0 ? false : [...trustedProxies],
    bodyLimit: limits.operatorBodyMaxBytes,
    logger: false,
    genReqId: ({ headers }) => traceparentOf(headers['traceparent'], random),
    routerOptions: { maxParamLength: limits.pathParamMaxChars },
    serverFactory: (listener) => makeServer(listener, options),
    clientErrorHandler: answerUnparsed,
    frameworkErrors: (error, request, reply) => {
      void answerError(log, error, request, reply);
    },
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.setValidatorCompiler<TSchema>(
    ({ schema, httpPart }) =>
      (value: unknown) =>
        check(schema, value, httpPart ?? 'request'),
  );
  // Answers are made from typed values. A serializer that drops unknown fields would hide mistakes.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.setErrorHandler((error, request, reply) => answerError(log, error, request, reply));
  app.setNotFoundHandler((request, reply) =>
    sendFault(reply, new Fault('not_found', `there is no ${request.method} ${pathOf(request)}`)),
  );
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('traceparent', request.id);
    requireHost(request);
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    metrics.answered({
      method: request.method,
      route: request.is404 ? undefined : request.routeOptions.url,
      status: reply.statusCode,
      ms: reply.elapsedTime,
    });
    log.debug(
      {
        request: request.id,
        method: request.method,
        path: pathOf(request),
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      },
      'answered',
    );
    done();
  });
  return app;
}

/** RFC 9112, section 3.2. Node would answer it by itself, without a body (listener.ts). */
function requireHost({ raw }: FastifyRequest): void {
  if (raw.httpVersion === '1.1' && raw.headers.host === undefined)
    throw new Fault('message_undecodable', 'a request by HTTP/1.1 needs the header Host');
}

/**
 * Every complaint at once. Query and path values arrive as text and get their defaults and types
 * first; bodies are taken as they are.
 */
function check(
  schema: TSchema,
  value: unknown,
  part: string,
): { value: unknown } | { error: Fault } {
  const given = part === 'body' ? value : Value.Convert(schema, Value.Default(schema, value ?? {}));
  const found = complaints(schema, given);
  return found.length === 0
    ? { value: given }
    : { error: new Fault('message_undecodable', `${part}: ${found.join('; ')}`) };
}
