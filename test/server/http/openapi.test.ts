// The OpenAPI document is exact: every operation is named, every schema that is used in several
// places is a component, and the client types generated from it are those that the tests compile
// against. LINNET_UPDATE=1 writes test/support/openapi-schema.ts anew.
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import openapiTS, { astToString, type OpenAPI3 } from 'openapi-typescript';
import { format, resolveConfig } from 'prettier';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openApiClient } from '../../support/openapi-client.js';
import { enrolled, publish, startFleet, type TestFleet } from '../../support/fleet-server.js';

const FILE = fileURLToPath(new URL('../../support/openapi-schema.ts', import.meta.url));
const HEAD = `// Generated from /openapi.json by test/server/http/openapi.test.ts with LINNET_UPDATE=1: do not edit.
`;

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
}
interface Operation {
  readonly operationId?: string;
  readonly tags?: string[];
  readonly parameters?: Parameter[];
  readonly requestBody?: { readonly content: Record<string, { schema: object }> };
  readonly responses: Record<string, { readonly content?: Record<string, { schema: object }> }>;
}

let fleet: TestFleet;
let document: OpenAPI3;
let operations: Map<string, Operation>;
beforeAll(async () => {
  fleet = await startFleet();
  document = (await (await fetch(`${fleet.server.address}/openapi.json`)).json()) as OpenAPI3;
  operations = new Map(
    Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(
      ([path, methods]) =>
        Object.entries(methods).map(([method, operation]): [string, Operation] => [
          `${method.toUpperCase()} ${path}`,
          operation,
        ]),
    ),
  );
});
afterAll(async () => {
  await fleet.close();
});

describe('the document', () => {
  it('every_operation_has_an_id_of_its_own_and_a_tag_that_is_described', () => {
    const ids = [...operations.values()].map(({ operationId }) => operationId);
    expect(ids).not.toContain(undefined);
    expect(new Set(ids).size).toBe(ids.length);
    const tags = new Set(document.tags?.map(({ name }) => name));
    for (const [name, operation] of operations)
      expect([name, operation.tags?.length, operation.tags?.every((tag) => tags.has(tag))]).toEqual(
        [name, 1, true],
      );
  });

  it('named_schemas_are_components_and_none_is_repeated_in_place', () => {
    const schemas = document.components?.schemas ?? {};
    for (const name of ['ApiError', 'DevicePage', 'RolloutDetail', 'EnrolRequest', 'EnrolAnswer'])
      expect(schemas).toHaveProperty(name);
    expect(JSON.stringify(document.paths)).not.toContain('"title"');
    for (const [name, { responses }] of operations)
      if (name.includes('/api/v1/'))
        expect([name, responses['4XX']?.content?.['application/json']?.schema]).toEqual([
          name,
          { $ref: '#/components/schemas/ApiError' },
        ]);
  });

  it('binary_bodies_and_optional_query_fields_are_described_as_they_are', () => {
    const upload = operations.get('PUT /api/v1/files/{sha256}');
    expect(Object.keys(upload?.requestBody?.content ?? {})).toEqual(['application/octet-stream']);
    const file = operations.get('GET /repo/image/files/{sha256}');
    for (const status of ['200', '206'])
      expect(Object.keys(file?.responses[status]?.content ?? {})).toEqual([
        'application/octet-stream',
      ]);
    const list = operations.get('GET /api/v1/devices')?.parameters ?? [];
    expect(list.map((parameter) => [parameter.name, parameter.required === true])).toEqual([
      ['limit', false],
      ['cursor', false],
      ['group', false],
      ['status', false],
    ]);
    const telemetry = operations.get('GET /api/v1/telemetry')?.parameters ?? [];
    expect(telemetry.filter(({ required }) => required === true).map(({ name }) => name)).toEqual([
      'device',
    ]);
  });

  it('it_says_what_is_true_of_delegations', () => {
    expect(JSON.stringify(document)).toContain('delegations are not read');
  });
});

describe('the generated client', () => {
  it('its_types_are_those_that_the_tests_compile_against', async () => {
    const generated = HEAD + astToString(await openapiTS(document));
    const text = await format(generated, { ...(await resolveConfig(FILE)), parser: 'typescript' });
    if (process.env['LINNET_UPDATE'] === '1') await writeFile(FILE, text);
    const remedy = 'the API changed: run this test with LINNET_UPDATE=1';
    expect(await readFile(FILE, 'utf8'), remedy).toBe(text);
  });

  it('it_reads_pages_and_details_and_gets_refusals_with_their_type', async () => {
    const client = openApiClient(fleet);
    await enrolled(fleet, 'cam-1', 'canary');
    await publish(fleet, '1.0.0');
    const devices = await client.GET('/api/v1/devices', { params: { query: { group: 'canary' } } });
    expect(devices.data?.items.map(({ name, status }) => `${name} ${status}`)).toEqual([
      'cam-1 enrolled',
    ]);
    expect(devices.data?.next).toBeNull();
    const release = await client.GET('/api/v1/releases/{component}/{version}', {
      params: { path: { component: 'digits', version: '1.0.0' } },
    });
    expect(release.data?.manifest.version).toBe('1.0.0');
    const claim = await client.POST('/api/v1/claims', {
      body: { group: 'canary', uses: 1, minutes: 5 },
    });
    expect(claim.data?.claim).toMatch(/^lnc_/);
    const missing = await client.GET('/api/v1/rollouts/{id}', {
      params: { path: { id: 'ro-none' } },
    });
    expect(missing.error?.code).toBe('not_found');
  });
});
