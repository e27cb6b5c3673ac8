// The HTTP listener below Fastify, and what one peer may hold of it: connections in all and by
// address, time for the headers and for the body of a request, time without a request, and a
// connection on which nothing moves. Node's own requestTimeout is not used: it ends every request
// after a fixed time, also an honest upload of a large file over a slow line (body-time.ts).
import type { RawServerDefault } from 'fastify';
import { createServer, type RequestListener, type ServerOptions } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { limits } from '../../shared/base/limits.js';
import {
  ConnectionLimits,
  limitConnections,
  trustedProxies as trusted,
} from '../access/connection-limits.js';
import { TimedRequest } from './body-time.js';
import type { AppOptions } from './context.js';

type Options = Pick<AppOptions, 'clock' | 'tls' | 'connections' | 'trustedProxies' | 'security'>;

export function makeServer(
  listener: RequestListener,
  { clock, tls, connections, trustedProxies, security }: Options,
): RawServerDefault {
  const timed: ServerOptions<typeof TimedRequest> = {
    IncomingMessage: TimedRequest,
    headersTimeout: limits.httpHeadersMs,
    requestTimeout: 0,
    connectionsCheckingInterval: limits.httpCheckEveryMs,
    keepAliveTimeout: limits.httpKeepAliveMs,
    maxHeaderSize: limits.httpHeadersMaxBytes,
    // app.ts answers a request without Host in the shape of the API.
    requireHostHeader: false,
  };
  const guarded: RequestListener<typeof TimedRequest> = (request, response) => {
    request.limitBody(response, clock);
    listener(request, response);
  };
  const server =
    tls === null
      ? createServer(timed, guarded)
      : createTlsServer(
          { ...timed, cert: tls.cert, key: tls.key, handshakeTimeout: limits.tlsHandshakeMs },
          guarded,
        );
  server.maxConnections = connections.maxCount;
  server.setTimeout(limits.httpIdleMs);
  limitConnections(
    server,
    new ConnectionLimits({
      perAddressMaxCount: connections.perAddressMaxCount,
      isTrusted: trusted(trustedProxies),
      onLimit: (address) =>
        security.report({
          source: { kind: 'anonymous', address },
          code: 'too_many_attempts',
          detail: 'too many HTTP connections at once: further ones are closed',
        }),
    }),
  );
  return server;
}
