// A client of the operator API whose types are generated from /openapi.json (openapi-schema.ts; the
// test test/server/http/openapi.test.ts keeps that file equal to what the server answers). It knows
// nothing of shared/protocol, as a client that somebody else writes.
import createClient, { type Client } from 'openapi-fetch';
import type { paths } from './openapi-schema.js';
import type { TestFleet } from './fleet-server.js';

export const openApiClient = (fleet: TestFleet): Client<paths> =>
  createClient<paths>({
    baseUrl: fleet.server.address,
    headers: { authorization: `Bearer ${fleet.adminToken}` },
  });
