// The HTTP door of the fleet server. Three sibling plugins under one Fastify: `repository` (public:
// what it serves is signed), `devices` (each proves its own key) and `operators` (bearer tokens
// with roles). Siblings cannot see each other's authentication, so no mistake in one opens another.
// Every request is decoded by the schemas of shared/protocol, which are also the OpenAPI document;
// every error, from any of them, has one shape.
import swagger from '@fastify/swagger';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyError,
  type FastifyReply,
  type FastifyRequest,
  type RawServerDefault,
} from 'fastify';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Type, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { limits } from '../../shared/base/limits.js';
import { complaints } from '../../shared/base/decode.js';
import { Fault, FAULT_CODES, reason, type FaultCode } from '../../shared/base/fault-codes.js';
import type { Clock, Log, Random } from '../../shared/base/interfaces.js';
import type { ApiError } from '../../shared/protocol/operator-api.js';
import type {
  ArtifactStore,
  DirectorRepository,
  ImageRepositoryService,
  RolloutService,
  Stores,
  TlsFiles,
} from '../interfaces.js';
import { consoleRoutes } from '../console/console-routes.js';
import { deviceRoutes } from './routes/device-api.js';
import { operatorRoutes } from './routes/operator-api.js';
import { repositoryRoutes } from './routes/repository.js';
import { databaseFault } from '../store/database.js';

export type FleetApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

export interface AppOptions {
  readonly store: Stores;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly images: ImageRepositoryService;
  /** The files of releases. */
  readonly artifacts: ArtifactStore;
  readonly director: DirectorRepository;
  readonly conductor: RolloutService;
  /** Where devices find MQTT. */
  mqttPort(): number;
  /** A device was revoked: cut its connection. */
  kick(device: string): void;
  readonly silentAfterMs: number;
  readonly tls: TlsFiles | null;
}

const HEALTH = Type.Object({ status: Type.Literal('ok') }, { additionalProperties: false });

export async function buildApp(options: AppOptions): Promise<FleetApp> {
  const fastifyOptions = {
    bodyLimit: limits.operatorBodyMaxBytes,
    logger: false as const,
    routerOptions: { maxParamLength: 300 },
  };
  const base =
    options.tls === null
      ? Fastify(fastifyOptions)
      : Fastify({ ...fastifyOptions, https: { cert: options.tls.cert, key: options.tls.key } });
  const app = base.withTypeProvider<TypeBoxTypeProvider>() as unknown as FleetApp;
  app.setValidatorCompiler(
    ({ schema, httpPart }) =>
      (value: unknown) =>
        check(schema as TSchema, value, httpPart ?? 'request'),
  );
  // Answers are made by this server from typed values; a serializer that drops unknown fields would
  // only hide mistakes.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.setErrorHandler((error: FastifyError, request, reply) =>
    answerError(options.log, error, request, reply),
  );
  app.setNotFoundHandler((request, reply) =>
    sendFault(
      reply,
      new Fault('not_found', `there is no ${request.method} ${request.url.slice(0, 300)}`),
    ),
  );
  app.addHook('onResponse', (request, reply, done) => {
    options.log.debug(
      {
        method: request.method,
        url: request.url.slice(0, 300),
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      },
      'answered',
    );
    done();
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Linnet fleet server',
        version: '1',
        description: 'Devices, releases and staged rollouts. Errors are {error, code, todo}.',
      },
      components: {
        securitySchemes: {
          operator: { type: 'http', scheme: 'bearer', description: 'Operator token, lnt_...' },
          device: {
            type: 'apiKey',
            in: 'header',
            name: 'authorization',
            description: "Linnet-Device <token signed by the device's key>",
          },
        },
      },
    },
  });
  await app.register(async (app) => {
    app.get(
      '/healthz',
      { schema: { summary: 'The server is up', tags: ['server'], response: { 200: HEALTH } } },
      () => ({
        status: 'ok' as const,
      }),
    );
    app.get(
      '/openapi.json',
      { schema: { summary: 'This document', tags: ['server'], response: { 200: Type.Unknown() } } },
      () => app.swagger(),
    );
  });
  await app.register((app) => repositoryRoutes(app as unknown as FleetApp, options));
  await app.register((app) => deviceRoutes(app as unknown as FleetApp, options));
  await app.register((app) => operatorRoutes(app as unknown as FleetApp, options));
  await app.register((app) => consoleRoutes(app as unknown as FleetApp));
  await app.ready();
  return app;
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

function answerError(
  log: Log,
  error: FastifyError | Fault,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const fault = asFault(error);
  if (fault.code === 'internal') {
    log.error(
      {
        request: request.id,
        method: request.method,
        url: request.url.slice(0, 300),
        error: reason(error),
        stack: error.stack,
      },
      'a request met a bug',
    );
  }
  return sendFault(
    reply,
    fault.code === 'internal'
      ? new Fault('internal', `the server has a bug; request ${request.id} in its log tells more`)
      : fault,
  );
}

/** Fastify's own refusals carry a status below 500; whatever else is not a Fault is a bug. */
export function asFault(error: unknown): Fault {
  const mapped = databaseFault(error, "the server's database");
  if (mapped instanceof Fault) return mapped;
  const { statusCode } = error as Partial<FastifyError>;
  if (statusCode === 413) return new Fault('request_too_large', reason(error), { cause: error });
  if (statusCode === 404) return new Fault('not_found', reason(error), { cause: error });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new Fault('message_undecodable', (error as Error).message, { cause: error });
  return new Fault('internal', reason(error), { cause: error });
}

export function sendFault(reply: FastifyReply, fault: Fault): FastifyReply {
  const body: ApiError = {
    error: fault.detail.slice(0, 4000),
    code: fault.code,
    todo: FAULT_CODES[fault.code as FaultCode].todo,
  };
  return reply
    .code(fault.entry.http)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(body));
}
