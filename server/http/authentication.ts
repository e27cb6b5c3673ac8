// Who calls. Operators present a bearer token, and every operator route names the least role that
// may call it; devices present a token that their key signed. Each plugin applies to the scope that
// registers it, so that a mistake in one cannot open the other's routes. A token that is presented
// and not valid is a security event of the remote address, and costs it: an address with too many
// failed logins is refused before a token is looked up or its signature is checked.
import assert from 'node:assert/strict';
import type { FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { Fault } from '../../shared/base/fault-codes.js';
import { DEVICE_SCHEME } from '../../shared/protocol/device-api.js';
import type { Role } from '../../shared/protocol/operator-api.js';
import { sha256 } from '../../shared/base/bytes.js';
import { claimedDevice, openDeviceToken, TOKEN_FAULTS } from '../../shared/trust/device-token.js';
import type { AddressLimits, Attempt } from '../access/address-limits.js';
import type { Admission } from '../access/admission.js';
import { Denials } from '../access/denials.js';
import { mayActAs, operatorOf, type Operator } from '../access/tokens.js';
import { VerifiedTokens } from '../access/verified-tokens.js';
import type { PublicKey } from '../../shared/trust/signer.js';
import type { DeviceRow } from '../interfaces.js';
import { TimedRequest } from './body-time.js';
import type { HttpServices } from './context.js';
import { asFault, pathOf } from './errors.js';
import { traceOf } from './trace.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The least role that may call this route. */
    role?: Role;
  }
  interface FastifyRequest {
    /** Set in the scope of operatorAuthentication. */
    operator: Operator | null;
    /** Set in the scope of deviceAuthentication. */
    device: DeviceRow | null;
  }
}

/** The operator that calls; only in the scope of operatorAuthentication. */
export function operatorOfRequest(request: FastifyRequest): Operator {
  assert(request.operator, 'a route outside the operator scope asked for its operator');
  return request.operator;
}

/** The enrolled device that calls; only in the scope of deviceAuthentication. */
export function deviceOfRequest(request: FastifyRequest): DeviceRow {
  assert(request.device, 'a route outside the device scope asked for its device');
  return request.device;
}

type OperatorOptions = Pick<
  HttpServices,
  'tokens' | 'audit' | 'security' | 'clock' | 'log' | 'addressLimits'
>;

export const operatorAuthentication = fastifyPlugin<OperatorOptions>(
  (app, { tokens, audit, security, clock, log, addressLimits }, done) => {
    const denials = new Denials({ audit, clock, log });
    app.addHook('onClose', () => denials.close());
    app.decorateRequest('operator', null);
    app.addHook('onRoute', (route) => {
      const { role } = route.config ?? {};
      assert(role !== undefined, `${String(route.method)} ${route.url} names no role`);
      route.schema = {
        ...route.schema,
        security: [{ operator: [] }],
        description: `Needs the role ${role}.`,
      };
    });
    app.addHook('onRequest', async (request) => {
      const { authorization } = request.headers;
      const identity = authorization === undefined ? null : sha256(authorization);
      const attempt: Attempt = { kind: 'operator', address: request.ip, identity };
      if (identity !== null) addressLimits.admit(attempt);
      const operator = await operatorOf(authorization, tokens).catch((error: unknown) => {
        throw refused(error, attempt, request, { security, addressLimits });
      });
      addressLimits.succeeded(attempt);
      const { role } = request.routeOptions.config;
      if (role === undefined || !mayActAs(operator, role)) {
        await denials.note(
          {
            actor: operator.name,
            action: 'auth_denied',
            subject: '',
            detail:
              `${request.method} ${pathOf(request)}: needs ${role}, the token is ` + operator.role,
            trace: traceOf(request.id),
          },
          `${request.method} ${request.routeOptions.url ?? ''}`,
        );
        throw new Fault('auth_denied', `${operator.name} is ${operator.role}; this needs ${role}`);
      }
      request.operator = operator;
      if (request.raw instanceof TimedRequest) request.raw.judgeBodyByRate(clock);
    });
    done();
  },
  { name: 'operator-authentication', fastify: '5.x' },
);

type DeviceOptions = Pick<
  HttpServices,
  'devices' | 'director' | 'security' | 'clock' | 'addressLimits' | 'admission'
>;

/** What follows a timestamp.json that was answered: who began is served to the end. */
const FOLLOWS = /\/[0-9]+\.(snapshot|targets)\.json$/;

/** Waits until work for a device may begin. Faults: overloaded, server_unreachable. */
export async function admitted(admission: Admission, { raw }: FastifyRequest): Promise<void> {
  await admission.enter('request');
  if (raw.socket.destroyed || raw.socket.readableEnded)
    throw new Fault('server_unreachable', 'the device has gone');
}

export const deviceAuthentication = fastifyPlugin<DeviceOptions>(
  (app, { devices, director, security, clock, addressLimits, admission }, done) => {
    app.decorateRequest('device', null);
    const seen = new VerifiedTokens();
    app.addHook('onRequest', async (request) => {
      const { authorization } = request.headers;
      const identity = authorization === undefined ? null : claimedIn(authorization);
      const attempt: Attempt = { kind: 'device', address: request.ip, identity };
      if (authorization !== undefined) addressLimits.admit(attempt);
      if (!FOLLOWS.test(pathOf(request))) await admitted(admission, request);
      const parts = { devices, director, seen };
      const device = await deviceOf(authorization, clock.now(), parts).catch((error: unknown) => {
        throw refused(error, attempt, request, { security, addressLimits });
      });
      if (device.status !== 'enrolled') {
        addressLimits.failed(attempt);
        throw new Fault('auth_denied', `${device.id} is ${device.status}, not enrolled`);
      }
      addressLimits.succeeded(attempt);
      request.device = device;
    });
    done();
  },
  { name: 'device-authentication', fastify: '5.x' },
);

/**
 * The device whose fresh token for this fleet the header carries, in any status. Faults:
 * TOKEN_FAULTS.
 */
async function deviceOf(
  header: string | undefined,
  nowMs: number,
  {
    devices,
    director,
    seen,
  }: Pick<HttpServices, 'devices' | 'director'> & { seen: VerifiedTokens },
): Promise<DeviceRow> {
  const [scheme, token, ...more] = (header ?? '').split(' ');
  if (scheme !== DEVICE_SCHEME || token === undefined || more.length > 0)
    throw new Fault('auth_missing', `this needs Authorization: ${DEVICE_SCHEME} <token>`);
  let found = null as DeviceRow | null;
  const keyOf = async (id: string): Promise<PublicKey | undefined> => {
    found = await devices.get(id);
    return found?.publicKey;
  };
  const isAudience = (audience: string): Promise<boolean> => director.isAudience(audience);
  await openDeviceToken(token, { use: 'http', nowMs, isAudience, keyOf, seen });
  assert(found !== null, 'a token cannot be verified without its device');
  return found;
}

/** The device that the header's token names, not verified. */
const claimedIn = (header: string): string | null => claimedDevice(header.split(' ')[1] ?? '');

/**
 * Reports a token that was presented and is not valid, and lets its address pay; the fault passes
 * on. A wrong clock or fleet costs nothing: all devices of a site may have one after a power cut or
 * a move, and it is found without a look-up.
 */
function refused(
  error: unknown,
  attempt: Attempt,
  request: FastifyRequest,
  { security, addressLimits }: { security: HttpServices['security']; addressLimits: AddressLimits },
): unknown {
  const fault = asFault(error);
  if (request.headers.authorization === undefined) return error;
  if (fault.code === 'auth_missing') addressLimits.failed(attempt);
  if (TOKEN_FAULTS.includes(fault.code))
    security.report({
      source: { kind: 'anonymous', address: request.ip },
      code: fault.code,
      detail: `${request.method} ${pathOf(request)}: ${fault.detail}`,
    });
  return error;
}
