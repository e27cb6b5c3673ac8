// Operator routes about operator tokens.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Type, type Static } from 'typebox';
import {
  NewToken,
  RevokedTokens,
  SelfRevocation,
  TokenName,
  TokenPage,
  TokenRequest,
  TokenRevocation,
} from '../../../shared/protocol/operator-api.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { newOperatorToken } from '../../access/tokens.js';
import { auditOf } from '../audit-hook.js';
import { operatorOfRequest } from '../authentication.js';
import { errorResponses, type FleetApp, type HttpServices } from '../context.js';
import { pageOf, PageQuery } from '../paging.js';
import { tokenView } from '../views.js';

const TokenKey = Type.Tuple([Type.Integer(), Type.String()]);

type Options = Pick<HttpServices, 'tokens' | 'clock' | 'random'>;
const tags = ['access'];

export const accessRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  tokenRoutes(app, options);
  selfRoute(app, options);
};

function tokenRoutes(app: FleetApp, { tokens, clock, random }: Options): void {
  app.get(
    '/tokens',
    {
      config: { role: 'admin' },
      schema: {
        operationId: 'listTokens',
        summary: 'Operator tokens by name, the oldest first; never the tokens themselves',
        tags,
        querystring: PageQuery,
        response: { 200: TokenPage, ...errorResponses },
      },
    },
    ({ query }) =>
      pageOf(query, TokenKey, {
        rows: (page) => tokens.page(page),
        key: (row): Static<typeof TokenKey> => [row.createdAt, row.hash],
        view: (rows) => rows.map(tokenView),
      }),
  );

  app.post(
    '/tokens',
    {
      config: { role: 'admin', action: 'token.create' },
      schema: {
        operationId: 'createToken',
        summary: 'A new operator token; it is shown once',
        tags,
        body: TokenRequest,
        response: { 200: NewToken, ...errorResponses },
      },
    },
    async (request) => {
      const { name, role } = request.body;
      const token = newOperatorToken(random);
      await tokens.add({ hash: sha256(token), name, role }, auditOf(request), clock.now());
      return { name, role, token };
    },
  );

  app.post(
    '/tokens/:name/revoke',
    {
      config: { role: 'admin', action: 'token.revoke' },
      schema: {
        operationId: 'revokeTokens',
        summary: 'Revoke every token of that name; the last admin token only with `force`',
        tags,
        params: Type.Object({ name: TokenName }),
        body: TokenRevocation,
        response: { 200: RevokedTokens, ...errorResponses },
      },
    },
    async (request) => {
      const which = { name: request.params.name, isForced: request.body.force === true };
      return { revoked: await tokens.revoke(which, auditOf(request), clock.now()) };
    },
  );
}

function selfRoute(app: FleetApp, { tokens, clock }: Options): void {
  app.post(
    '/self/revoke',
    {
      config: { role: 'viewer', action: 'token.revoke_own' },
      schema: {
        operationId: 'revokeOwnTokens',
        summary: 'Revoke the tokens of the name that calls: all of them, or all but this one',
        tags,
        body: SelfRevocation,
        response: { 200: RevokedTokens, ...errorResponses },
      },
    },
    async (request) => {
      const { name, tokenHash } = operatorOfRequest(request);
      const except = request.body.keepThis ? tokenHash : null;
      const audit = { ...auditOf(request), subject: name };
      return { revoked: await tokens.revokeOwn({ name, except }, audit, clock.now()) };
    },
  );
}
