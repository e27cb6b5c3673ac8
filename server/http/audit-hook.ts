// What operators do, in the audit log. A route that changes something names its action. There are
// two kinds:
// - The route's service commits the entry in the transaction of the change: neither exists without
//   the other. The route passes `auditOf(request)` to the service.
// - `recorded: 'before'`: the change is not one transaction (files on the disk), so the entry is
//   written before it begins. The log may show an attempt that a crash cut off, but no change is
//   ever missing from it.
// A refused action gets an entry `<action>.refused` with the reason. Refusals that name an attack
// are security events of the operator as well.
import assert from 'node:assert/strict';
import type { FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { reason } from '../../shared/base/fault-codes.js';
import type { AuditAction } from '../interfaces.js';
import { operatorOfRequest } from './authentication.js';
import type { HttpServices } from './context.js';
import { asFault, sendFault } from './errors.js';
import { traceOf } from './trace.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The action's name in the audit log; `:command` stands for that path parameter. */
    action?: string;
    /** It has a body, and changes nothing: no entry. */
    changesNothing?: true;
    /** The entry is written before the change instead of together with it. */
    recorded?: 'before';
    /** The body is a file or a document too long for the log. */
    bodyNotLogged?: true;
  }
  interface FastifyRequest {
    /** The action that is under way, once the request was decoded. */
    audit: AuditAction | null;
  }
}

/** The entry that the service commits together with the change. */
export function auditOf(request: FastifyRequest): AuditAction {
  assert(request.audit, 'a route without an action asked for its audit entry');
  return request.audit;
}

type AuditOptions = Pick<HttpServices, 'audit' | 'security' | 'clock'>;

export const auditHook = fastifyPlugin<AuditOptions>(
  (app, { audit, security, clock }, done) => {
    app.decorateRequest('audit', null);
    app.addHook('onRoute', ({ method, url, config }) => {
      const changes = !['GET', 'HEAD', 'OPTIONS'].includes(String(method));
      assert(
        !changes || config?.action !== undefined || config?.changesNothing === true,
        `${String(method)} ${url} changes something and names no action`,
      );
    });
    app.addHook('preHandler', async (request) => {
      const { action, recorded } = request.routeOptions.config;
      if (action === undefined) return;
      const entry = entryOf(request, action);
      if (recorded === 'before') await audit.append(entry, clock.now());
      request.audit = entry;
    });
    app.setErrorHandler(async (error, request, reply) => {
      const fault = asFault(error);
      if (request.audit !== null) {
        const { actor, action, subject, trace } = request.audit;
        const detail = `${fault.code}: ${fault.detail}`;
        const refused = { actor, action: `${action}.refused`, subject, detail, trace };
        await audit.append(refused, clock.now());
        if (fault.entry.security === true)
          security.report({
            source: { kind: 'operator', name: actor },
            code: fault.code,
            detail: `${action} ${subject}: ${fault.detail}`,
          });
      }
      if (fault.code === 'internal') throw error; // The app's error handler logs bugs.
      return sendFault(reply, fault);
    });
    done();
  },
  { name: 'audit-hook', fastify: '5.x', dependencies: ['operator-authentication'] },
);

function entryOf(request: FastifyRequest, action: string): AuditAction {
  const params = (request.params ?? {}) as Record<string, string>;
  const { command, ...names } = params;
  return {
    actor: operatorOfRequest(request).name,
    action: action.replace(':command', command ?? ''),
    subject: Object.values(names).join('@'),
    detail: request.routeOptions.config.bodyNotLogged === true ? '' : bodyText(request.body),
    trace: traceOf(request.id),
  };
}

/** A body as one line. */
function bodyText(body: unknown): string {
  if (body === undefined || body === null) return '';
  try {
    return JSON.stringify(body);
  } catch (error) {
    return `(body not shown: ${reason(error)})`;
  }
}
