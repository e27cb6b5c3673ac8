// Serves the operator console: one page for every path below /console (the application reads the
// path), its script, style and icon under names that carry their hash, and a redirect from `/`. The
// content security policy allows only what this server serves, and no inline script or style; no
// other page can frame it. What the console shows comes from the operator API.
import { Type } from 'typebox';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Fault } from '../../shared/base/fault-codes.js';
import { readSite } from './site.js';

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');
const FOREVER = 'public, max-age=31536000, immutable';
const hide = { hide: true };

export const consoleRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const site = readSite();
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('x-content-type-options', 'nosniff').header('referrer-policy', 'no-referrer');
    done();
  });

  const index = (): string => {
    if (site !== null) return site.index;
    throw new Fault('not_found', 'the console was not built; run: npm run build');
  };
  const documented = {
    operationId: 'getConsole',
    summary: 'The operator console (a web page)',
    tags: ['server'],
    response: { 200: Type.Unknown() },
  };
  for (const url of ['/console', '/console/*'])
    app.get(url, { schema: url === '/console' ? documented : hide }, (_request, reply) =>
      reply
        .type('text/html; charset=utf-8')
        .header('content-security-policy', POLICY)
        .header('cache-control', 'no-store')
        .send(index()),
    );

  app.get('/', { schema: hide }, (_request, reply) => reply.redirect('/console'));

  app.get(
    '/console/assets/:name',
    { schema: { ...hide, params: Type.Object({ name: Type.String() }) } },
    (request, reply) => {
      const file = site?.assets.get(request.params.name);
      if (file === undefined)
        throw new Fault('not_found', `the console has no file ${request.params.name}`);
      const zipped = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '');
      return reply
        .type(file.type)
        .headers({ 'cache-control': FOREVER, vary: 'accept-encoding' })
        .headers(zipped ? { 'content-encoding': 'gzip' } : {})
        .send(zipped ? file.gzip : file.bytes);
    },
  );
};
