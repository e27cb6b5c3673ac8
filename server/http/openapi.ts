// The OpenAPI document at /openapi.json, made from the schemas that validate the requests, so that
// the two cannot differ. A schema with a `title` becomes a named component: clients generated from
// the document then have one type for it instead of a copy in each place.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import swagger, { type SwaggerTransformObject } from '@fastify/swagger';
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import fastifyPlugin from 'fastify-plugin';
import { DEVICE_SCHEME } from '../../shared/protocol/device-api.js';

const DESCRIPTION = `Devices, releases and staged rollouts.
Every error is an ApiError. Lists answer pages: pass \`next\` as \`cursor\` to get the next page.
Devices do not read delegations: a release must be in the top-level image targets.`;

const TAGS = [
  { name: 'server', description: 'Whether the server is up, this document, the console' },
  { name: 'repository', description: 'The image repository: signed, public, served to devices' },
  { name: 'device-api', description: 'Enrolment and the metadata that is signed for one device' },
  { name: 'devices', description: 'Devices, groups and claims' },
  { name: 'releases', description: 'Publishing and listing releases' },
  { name: 'rollouts', description: 'Staged rollouts' },
  { name: 'audit', description: 'The audit log, security events and raw telemetry' },
  { name: 'access', description: 'Operator tokens' },
];

const openApiAsync: FastifyPluginAsyncTypebox = async (app) => {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Linnet fleet server', version: '1', description: DESCRIPTION },
      tags: TAGS,
      components: {
        securitySchemes: {
          operator: { type: 'http', scheme: 'bearer', description: 'Operator token, lnt_...' },
          device: {
            type: 'apiKey',
            in: 'header',
            name: 'authorization',
            description: `${DEVICE_SCHEME} <token signed by the device's key>`,
          },
        },
      },
    },
    transformObject: (document) =>
      'openapiObject' in document ? withComponents(document) : document.swaggerObject,
  });
};

export const openApi = fastifyPlugin(openApiAsync, { name: 'openapi', fastify: '5.x' });

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Document = Exclude<Parameters<SwaggerTransformObject>[0], { swaggerObject: unknown }>;

/**
 * The document with every titled schema moved to components/schemas and referred to from its
 * places. Two different schemas with one title are a bug.
 */
function withComponents({ openapiObject }: Document): Document['openapiObject'] {
  const schemas: Record<string, Json> = {};
  const hoist = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(hoist);
    if (value === null || typeof value !== 'object') return value;
    const inner = Object.fromEntries(Object.entries(value).map(([key, at]) => [key, hoist(at)]));
    const { title } = inner;
    if (typeof title !== 'string' || !isSchema(inner)) return inner;
    assert(
      schemas[title] === undefined || isDeepStrictEqual(schemas[title], inner),
      `two different schemas have the title ${title}`,
    );
    schemas[title] = inner;
    return { $ref: `#/components/schemas/${title}` };
  };
  const paths = hoist(JSON.parse(JSON.stringify(openapiObject.paths)) as Json);
  return Object.assign({}, openapiObject, {
    paths,
    components: { ...openapiObject.components, schemas },
  });
}

/** A title beside none of these is no schema's title: it may be the name of a property. */
const isSchema = (value: { [key: string]: Json }): boolean =>
  'type' in value || 'enum' in value || 'anyOf' in value;
