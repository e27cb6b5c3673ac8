// The operator side of the HTTP door. Each route names the role that it needs, and each route that
// changes something names its action: the hooks below refuse a caller without the role, and write
// the action to the audit log before it takes effect, so that nothing is ever done that the log
// does not show. A refused action gets a second entry.
import assert from 'node:assert/strict';
import type { FastifyError, FastifyRequest } from 'fastify';
import { Fault, type FaultCode } from '../../../shared/base/fault-codes.js';
import { API, type Role } from '../../../shared/protocol/operator-api.js';
import { mayActAs, operatorOf, type Operator } from '../../access/tokens.js';
import { asFault, sendFault, type AppOptions, type FleetApp } from '../app.js';
import { accessRoutes } from './access.js';
import { fleetRoutes } from './fleet.js';
import { releaseRoutes } from './releases.js';
import { rolloutRoutes } from './rollouts.js';
import { bodyText } from './views.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The least role that may call this route. */
    role?: Role;
    /** What the audit log calls it; `:command` stands for that path parameter. */
    action?: string;
    /** The body is a file or a document too long for the log. */
    bodyNotLogged?: true;
  }
}

export const operators = new WeakMap<FastifyRequest, Operator>();
const audited = new WeakSet<FastifyRequest>();

/** Who calls, after the hooks of this plugin have let them in. */
export function caller(request: FastifyRequest): Operator {
  const operator = operators.get(request);
  assert(operator !== undefined, 'a route outside the operators plugin asked for its caller');
  return operator;
}

export async function operatorRoutes(app: FleetApp, options: AppOptions): Promise<void> {
  app.addHook('onRoute', (route) => {
    const changes = !['GET', 'HEAD', 'OPTIONS'].includes(String(route.method));
    assert(route.config?.role !== undefined, `${String(route.method)} ${route.url} names no role`);
    assert(
      !changes || route.config.action !== undefined,
      `${String(route.method)} ${route.url} changes something and names no action`,
    );
    route.schema = {
      ...route.schema,
      security: [{ operator: [] }],
      description: `Needs the role ${route.config.role}.`,
    };
  });
  app.addHook('onRequest', async (request) => {
    const operator = await admitted(request, options);
    const { role } = request.routeOptions.config;
    if (role !== undefined && !mayActAs(operator, role)) {
      await write(
        options,
        request,
        operator,
        'auth_denied',
        `${request.method} ${request.url.slice(0, 300)}: needs ${role}, the token is ${operator.role}`,
      );
      throw new Fault('auth_denied', `${operator.name} is ${operator.role}; this needs ${role}`);
    }
    operators.set(request, operator);
  });
  app.addHook('preValidation', (request, _reply, done) => {
    // A POST without a body means the empty object.
    if (request.method === 'POST' && (request.body === undefined || request.body === null))
      request.body = {};
    done();
  });
  app.addHook('preHandler', async (request) => {
    if (request.routeOptions.config.action === undefined) return;
    await write(
      options,
      request,
      caller(request),
      actionOf(request),
      request.routeOptions.config.bodyNotLogged === true ? '' : bodyText(request.body),
    );
    audited.add(request);
  });
  app.setErrorHandler(async (error: FastifyError, request, reply) => {
    const fault = asFault(error);
    if (audited.has(request))
      await write(
        options,
        request,
        caller(request),
        `${actionOf(request)}.refused`,
        `${fault.code satisfies FaultCode}: ${fault.detail}`,
      );
    if (fault.code === 'internal') throw error; // The server's own handler logs bugs.
    return sendFault(reply, fault);
  });
  await app.register(
    async (inner) => {
      const routes = inner as unknown as FleetApp;
      fleetRoutes(routes, options);
      releaseRoutes(routes, options);
      rolloutRoutes(routes, options);
      accessRoutes(routes, options);
    },
    { prefix: API },
  );
}

async function admitted(request: FastifyRequest, options: AppOptions): Promise<Operator> {
  try {
    return await operatorOf(request.headers.authorization, options.store.tokens);
  } catch (error) {
    if (error instanceof Fault && request.headers.authorization !== undefined) {
      await options.store.security.add({
        at: options.clock.now(),
        source: 'operator',
        code: error.code,
        detail: `${request.method} ${request.url.slice(0, 300)} from ${request.ip}: ${error.detail}`,
      });
    }
    throw error;
  }
}

function actionOf(request: FastifyRequest): string {
  const { command } = request.params as { command?: string };
  return (request.routeOptions.config.action as string).replace(':command', command ?? '');
}

function write(
  options: AppOptions,
  request: FastifyRequest,
  operator: Operator,
  action: string,
  detail: string,
): Promise<void> {
  const { command: _command, ...names } = (request.params ?? {}) as Record<string, string>;
  return options.store.audit.append(
    { actor: operator.name, action, subject: Object.values(names).join('@'), detail },
    options.clock.now(),
  );
}
