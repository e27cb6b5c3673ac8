// HTTP between a device and the fleet server: enrolment, its own director metadata, and the image
// repository's tree. A device proves itself with `Authorization: Linnet-Device <token>`
// (shared/signing.ts). Everything a device installs is checked against signed metadata, so any
// mirror may serve the image repository.
import { Type, type Static } from 'typebox';
import { Component, HardwareId, Version } from '../release/manifest-head.js';
import { Hex64 } from '../base/bytes.js';
import { PublicKey } from '../trust/signer.js';
import { TrialPolicy } from '../statistics/trial-verdict.js';
import { DeviceId } from './telemetry.js';

const strict = { additionalProperties: false } as const;

export const DEVICE_SCHEME = 'Linnet-Device';

export const routes = {
  enrol: '/device/v1/enrol',
  /**
   * `1.root.json`, `timestamp.json`, `7.snapshot.json`, `7.targets.json` of this device's director
   * repository.
   */
  director: (name: string) => `/device/v1/director/${name}`,
  imageMetadata: (name: string) => `/repo/image/metadata/${name}`,
  /** Consistent snapshot naming (TUF spec 6.2): the file name is prefixed with its SHA-256. */
  imageTarget: (component: string, version: string, sha256: string) =>
    `/repo/image/targets/${component}/${version}/${sha256}.release.dsse.json`,
  imageFile: (sha256: string) => `/repo/image/files/${sha256}`,
} as const;

/**
 * `proof`: signature by the device's key over `enrolMessage`, so that nobody enrols a key they do
 * not hold.
 */
export const EnrolRequest = Type.Object(
  {
    publicKey: PublicKey,
    name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' }),
    hardware: HardwareId,
    components: Type.Array(Component, { minItems: 1, maxItems: 16 }),
    claim: Type.Optional(Type.String({ maxLength: 200 })),
    proof: Hex64,
  },
  strict,
);
export type EnrolRequest = Static<typeof EnrolRequest>;

export function enrolMessage(request: Omit<EnrolRequest, 'proof'>): Uint8Array {
  return new TextEncoder().encode(
    `linnet-enrol/1\n${request.publicKey.keyval.public}\n${request.name}\n${request.hardware}\n${request.components.join(',')}\n${request.claim ?? ''}`,
  );
}

/**
 * `pending`: wait for an operator's approval and ask again. Enrolling twice with the same key
 * answers the same.
 */
export const EnrolAnswer = Type.Object(
  {
    device: DeviceId,
    status: Type.Enum(['pending', 'enrolled', 'revoked']),
    /**
     * Where this device's MQTT broker listens, as a URL; the server's own host is used when it
     * names none.
     */
    mqttPort: Type.Integer({ minimum: 1, maximum: 65535 }),
  },
  strict,
);
export type EnrolAnswer = Static<typeof EnrolAnswer>;

/** Custom part of an image target. Uptane: what the director's target SHALL match. */
export const ImageCustom = Type.Object(
  {
    component: Component,
    version: Version,
    hardware: Type.Array(HardwareId, { minItems: 1, maxItems: 64 }),
  },
  strict,
);
export type ImageCustom = Static<typeof ImageCustom>;

/** Custom part of a director target: one per component of the device. */
export const DirectorCustom = Type.Object(
  {
    component: Component,
    version: Version,
    hardware: HardwareId,
    rollout: Type.String({ maxLength: 64 }),
    /**
     * Rises by one at each new order to this device and component; every report about it carries
     * this number.
     */
    assignmentId: Type.Integer({ minimum: 1, maximum: 2 ** 31 }),
    /**
     * A signed order to go back to this release although it is older; a device obeys only towards a
     * release that it ran before.
     */
    rollback: Type.Boolean(),
    trial: TrialPolicy,
  },
  strict,
);
export type DirectorCustom = Static<typeof DirectorCustom>;
