// Serves the operator console: one page that loads nothing else. Its content security policy allows
// only its own script and style, by their hashes, and connections to this server only; no other
// page can frame it.
import { createHash } from 'node:crypto';
import { Type } from 'typebox';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { page, SCRIPT, STYLE } from './page.js';

const hashOf = (text: string): string =>
  `'sha256-${createHash('sha256').update(text, 'utf8').digest('base64')}'`;
const POLICY = [
  "default-src 'none'",
  `script-src ${hashOf(SCRIPT)}`,
  `style-src ${hashOf(STYLE)}`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export const consoleRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const html = page();
  app.get(
    '/console',
    {
      schema: {
        operationId: 'getConsole',
        summary: 'The operator console (a web page)',
        tags: ['server'],
        response: { 200: Type.Unknown() },
      },
    },
    (_request, reply) =>
      reply
        .type('text/html; charset=utf-8')
        .header('content-security-policy', POLICY)
        .header('x-content-type-options', 'nosniff')
        .header('referrer-policy', 'no-referrer')
        .header('cache-control', 'no-store')
        .send(html),
  );
};
