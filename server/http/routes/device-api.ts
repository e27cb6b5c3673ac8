// The device side of the HTTP door: enrolment, its own status, and the director metadata that is
// signed for it alone. A device proves its key with each request; it never sees another device's
// documents.
import { Type } from 'typebox';
import { Fault } from '../../../shared/base/fault-codes.js';
import {
  DEVICE_SCHEME,
  EnrolAnswer,
  enrolMessage,
  EnrolRequest,
} from '../../../shared/protocol/device-api.js';
import { ApiError } from '../../../shared/protocol/operator-api.js';
import { fromHex, sha256 } from '../../../shared/base/bytes.js';
import { deviceIdOf, openDeviceToken } from '../../../shared/trust/device-token.js';
import { verify } from '../../../shared/trust/ed25519.js';
import type { AppOptions, FleetApp } from '../app.js';
import type { DeviceRow } from '../../interfaces.js';

const errors = { '4xx': ApiError, '5xx': ApiError } as const;
const MetadataName = Type.String({
  pattern: '^([0-9]{1,9}\\.)?(root|timestamp|snapshot|targets)\\.json$',
});

export async function deviceRoutes(app: FleetApp, options: AppOptions): Promise<void> {
  const tags = ['devices'];
  const security = [{ device: [] }];

  app.post(
    '/device/v1/enrol',
    {
      schema: {
        summary: 'Enrol a device key, with a claim or to wait for approval',
        tags,
        body: EnrolRequest,
        response: { 200: EnrolAnswer, ...errors },
      },
    },
    async (request) => {
      const { proof, ...asked } = request.body;
      if (!verify(asked.publicKey, enrolMessage(asked), fromHex(proof))) {
        await options.store.security.add({
          at: options.clock.now(),
          source: 'server',
          code: 'auth_missing',
          detail: `enrolment of ${asked.name} from ${request.ip} with a proof that its key did not sign`,
        });
        throw new Fault('auth_missing', "the proof is not this key's signature over the enrolment");
      }
      const claimHash = asked.claim === undefined ? null : sha256(asked.claim);
      const device = await options.store.devices.enrol(
        deviceIdOf(asked.publicKey),
        request.body,
        claimHash,
        options.clock.now(),
      );
      options.log.info(
        { device: device.id, name: device.name, status: device.status, group: device.group },
        'a device asked to enrol',
      );
      return answer(device, options);
    },
  );

  app.get(
    '/device/v1/me',
    {
      schema: {
        summary: 'Whether this device is enrolled',
        tags,
        security,
        response: { 200: EnrolAnswer, ...errors },
      },
    },
    async (request) => answer(await deviceOf(request.headers.authorization, options), options),
  );

  app.get(
    '/device/v1/director/:name',
    {
      schema: {
        summary: 'Signed director metadata of this device',
        tags,
        security,
        params: Type.Object({ name: MetadataName }),
        response: { 200: Type.Unknown({ description: 'the exact bytes' }), ...errors },
      },
    },
    async (request, reply) => {
      const device = await deviceOf(request.headers.authorization, options);
      if (device.status !== 'enrolled')
        throw new Fault('auth_denied', `${device.id} is ${device.status}, not enrolled`);
      const bytes = await options.director.metadata(
        { id: device.id, hardware: device.hardware },
        request.params.name,
      );
      if (bytes === null)
        throw new Fault('not_found', `the director has no ${request.params.name} for ${device.id}`);
      return reply
        .type('application/json')
        .header('cache-control', 'no-store')
        .send(Buffer.from(bytes));
    },
  );
}

function answer(device: DeviceRow, options: AppOptions): EnrolAnswer {
  return { device: device.id, status: device.status, mqttPort: options.mqttPort() };
}

/** The device whose fresh token stands in the header, in whatever status. Faults: auth_missing. */
async function deviceOf(header: string | undefined, options: AppOptions): Promise<DeviceRow> {
  const [scheme, token, ...more] = (header ?? '').split(' ');
  if (scheme !== DEVICE_SCHEME || token === undefined || more.length > 0)
    throw new Fault('auth_missing', `this needs Authorization: ${DEVICE_SCHEME} <token>`);
  const id = await openDeviceToken(
    token,
    options.clock.now(),
    async (device) => (await options.store.devices.get(device))?.publicKey,
  );
  const device = await options.store.devices.get(id);
  if (device === null) throw new Fault('auth_missing', `${id} is not known here; enrol first`);
  return device;
}
