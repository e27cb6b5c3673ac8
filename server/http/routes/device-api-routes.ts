// The device API: enrolment, and the director metadata that is signed for one device. A device
// presents a token signed by its key; it never sees another device's documents.
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import {
  CertificateAnswer,
  CertificateRequest,
  EnrolAnswer,
  enrolMessage,
  EnrolRequest,
  routes,
  TIME_HEADER,
} from '../../../shared/protocol/device-api.js';
import { TRACES_HEADER, tracesText } from '../../../shared/protocol/assignment-traces.js';
import { fromHex, sha256 } from '../../../shared/base/bytes.js';
import { limits } from '../../../shared/base/limits.js';
import { deviceIdOf } from '../../../shared/trust/device-token.js';
import { verify } from '../../../shared/trust/ed25519.js';
import type { Attempt } from '../../access/address-limits.js';
import type { Assignment } from '../../interfaces.js';
import { admitted, deviceAuthentication, deviceOfRequest } from '../authentication.js';
import { bytesOf, errorResponses, type HttpServices } from '../context.js';
import { sendNotModified } from '../send-file.js';

const MetadataName = Type.String({
  pattern: '^([0-9]{1,9}\\.)?(root|timestamp|snapshot|targets)\\.json$',
});

type Options = Pick<
  HttpServices,
  | 'devices'
  | 'director'
  | 'rollouts'
  | 'security'
  | 'addressLimits'
  | 'admission'
  | 'clock'
  | 'log'
  | 'mqttPort'
  | 'deviceBroker'
  | 'brokerAsksCertificates'
  | 'certificates'
>;
const tags = ['device-api'];

export const deviceApiRoutes: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  // Also on refusals: a device whose clock is wrong makes its next token by it.
  app.addHook('onRequest', async (_request, reply) => {
    reply.header(TIME_HEADER, String(options.clock.now()));
  });
  await app.register(enrolRoute, options);
  await app.register(directorRoute, options);
  await app.register(certificateRoute, options);
};

const enrolRoute: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  const { devices, security, addressLimits, admission, clock, log, mqttPort } = options;
  const { deviceBroker, brokerAsksCertificates, certificates } = options;
  app.post(
    '/device/v1/enrol',
    {
      bodyLimit: limits.enrolBodyMaxBytes,
      schema: {
        operationId: 'enrolDevice',
        summary: 'Enrol a device key, with a claim or to wait for approval',
        tags,
        body: EnrolRequest,
        response: { 200: EnrolAnswer, ...errorResponses },
      },
    },
    async (request) => {
      const { signature, ...asked } = request.body;
      const id = deviceIdOf(asked.publicKey);
      const attempt: Attempt = { kind: 'enrolment', address: request.ip, identity: id };
      addressLimits.admit(attempt);
      await admitted(admission, request);
      if (!verify(asked.publicKey, enrolMessage(asked), fromHex(signature))) {
        addressLimits.failed(attempt);
        security.report({
          source: { kind: 'anonymous', address: request.ip },
          code: 'auth_missing',
          detail: `enrolment of ${asked.name}: the signature is not by the key that it enrols`,
        });
        throw new Fault('auth_missing', 'the signature is not by publicKey over the enrolment');
      }
      const device = await devices.enrol(
        id,
        request.body,
        asked.claim === undefined ? null : sha256(asked.claim),
        clock.now(),
      );
      if (device.status === 'enrolled') addressLimits.succeeded(attempt);
      else addressLimits.waits(attempt);
      log.info(
        { device: device.id, name: device.name, status: device.status, group: device.group },
        'a device asked to enrol',
      );
      if (device.pendingReason !== null)
        security.report({
          source: { kind: 'anonymous', address: request.ip },
          code: 'claim_invalid',
          detail: `enrolment of ${device.name} (${device.id}): ${device.pendingReason}`,
        });
      return {
        device: device.id,
        status: device.status,
        mqttPort: mqttPort(),
        ...deviceBroker,
        ...(certificates === null || !brokerAsksCertificates
          ? {}
          : { certificateAuthority: certificates.authority }),
        ...(device.pendingReason === null ? {} : { reason: device.pendingReason }),
      };
    },
  );
};

const directorRoute: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  const { director, rollouts } = options;
  await app.register(deviceAuthentication, options);
  app.get(
    '/device/v1/director/:name',
    {
      schema: {
        operationId: 'getDirectorMetadata',
        summary: 'Signed director metadata of the device that asks',
        description:
          'Which releases the device should run. The director does not delegate, and the image ' +
          'targets of a release are read from the top-level role only: delegations are not read.',
        tags,
        security: [{ device: [] }],
        params: Type.Object({ name: MetadataName }),
        response: {
          200: bytesOf('application/json', 'The signed bytes'),
          304: Type.Null({ description: 'The device has this timestamp.json (If-None-Match)' }),
          ...errorResponses,
        },
      },
    },
    async (request, reply) => {
      const { id, hardware } = deviceOfRequest(request);
      const { name } = request.params;
      // The timestamp is what a device asks for first: now it may take a release.
      if (name === 'timestamp.json') {
        await rollouts.contact(id);
        const known = request.headers['if-none-match'] ?? null;
        const { tag, bytes, assignments } = await director.timestamp({ id, hardware }, known);
        void reply.header('etag', tag).header('cache-control', 'no-store');
        if (bytes === null) return sendNotModified(reply);
        tellTraces(reply, assignments ?? []);
        return reply.type('application/json').send(Buffer.from(bytes));
      }
      const bytes = await director.metadata({ id, hardware }, name);
      if (bytes === null) throw new Fault('not_found', `the director has no ${name} for ${id}`);
      return reply
        .type('application/json')
        .header('cache-control', 'no-store')
        .send(Buffer.from(bytes));
    },
  );
};

/** The requests of operators that the assignments follow from, for the device's log. */
function tellTraces(reply: FastifyReply, assignments: readonly Assignment[]): void {
  const traces = assignments.flatMap(({ component, assignmentId, trace }) =>
    trace === null ? [] : [{ component, assignmentId, trace }],
  );
  if (traces.length > 0) void reply.header(TRACES_HEADER, tracesText(traces));
}

const certificateRoute: FastifyPluginAsyncTypebox<Options> = async (app, options) => {
  const { certificates, security } = options;
  await app.register(deviceAuthentication, options);
  app.post(
    routes.certificate,
    {
      schema: {
        operationId: 'issueCertificate',
        summary: 'A client certificate for the broker, for the device that asks',
        tags,
        security: [{ device: [] }],
        body: CertificateRequest,
        response: { 200: CertificateAnswer, ...errorResponses },
      },
    },
    async (request) => {
      if (certificates === null) throw new Fault('not_found', 'this server has no device CA');
      const { id } = deviceOfRequest(request);
      try {
        const issued = await certificates.issue(id, request.body.request);
        const { pem: certificate, issuedAt, expiresAt } = issued;
        return { certificate, issuedAt, expiresAt };
      } catch (error) {
        if (isFault(error, 'certificate_request_invalid')) {
          const source = { kind: 'device', id } as const;
          security.report({ source, code: error.code, detail: error.detail });
        }
        throw error;
      }
    },
  );
};
