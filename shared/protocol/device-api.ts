// The device API: HTTP between a device and the fleet server. Enrolment, the director metadata of
// the device, and the image repository's tree. A device authenticates with `Authorization:
// Linnet-Device <token>` (shared/trust/device-token). Everything that a device installs is verified
// against signed metadata, so any mirror may serve the image repository.
//
// Delegations are never read: a release must stand in the top-level targets of the image
// repository.
import { Type, type Static } from 'typebox';
import { Component, HardwareId, Version } from '../release/manifest-head.js';
import { Hex32, Hex64 } from '../base/hex-schemas.js';
import { limits } from '../base/limits.js';
import { PublicKey } from '../trust/signer.js';
import { TrialPolicy } from '../statistics/trial-verdict.js';
import { ACTIVATIONS } from './states.js';
import { DeviceId } from './telemetry.js';

const strict = { additionalProperties: false } as const;

export const DEVICE_SCHEME = 'Linnet-Device';

/**
 * Header of every answer of the device API: the server's time, ms since the epoch. A device whose
 * token was refused for its time (`clock_wrong`) makes the next one by it.
 */
export const TIME_HEADER = 'linnet-time';

export const routes = {
  enrol: '/device/v1/enrol',
  certificate: '/device/v1/certificate',
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
 * `signature` is by the device's key, over `enrolMessage`: nobody can enrol a key that they do not
 * hold.
 */
export const EnrolRequest = Type.Object(
  {
    publicKey: PublicKey,
    name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' }),
    hardware: HardwareId,
    components: Type.Array(Component, { minItems: 1, maxItems: 16 }),
    claim: Type.Optional(Type.String({ maxLength: 200 })),
    signature: Hex64,
  },
  { ...strict, title: 'EnrolRequest' },
);
export type EnrolRequest = Static<typeof EnrolRequest>;

export function enrolMessage(request: Omit<EnrolRequest, 'signature'>): Uint8Array {
  const { publicKey, name, hardware, components, claim } = request;
  const lines = [publicKey.keyval.public, name, hardware, components.join(','), claim ?? ''];
  return new TextEncoder().encode(['linnet-enrol/1', ...lines].join('\n'));
}

/**
 * `pending`: wait for an operator's approval and enrol again. Enrolling again with the same key
 * answers the present status.
 */
export const EnrolAnswer = Type.Object(
  {
    device: DeviceId,
    status: Type.Enum(['pending', 'enrolled', 'revoked']),
    /** Why the claim did not enrol it, for the device's log. */
    reason: Type.Optional(Type.String({ maxLength: 200 })),
    /** The port of the MQTT broker, on the host of the server's HTTP address. */
    mqttPort: Type.Integer({ minimum: 1, maximum: 65535 }),
    /** An external broker: its whole URL, in place of `mqttPort`. */
    mqttUrl: Type.Optional(Type.String({ pattern: '^mqtts?://[^/ ]+$', maxLength: 500 })),
    /** Certificates that this broker is trusted by, PEM. */
    mqttCa: Type.Optional(Type.String({ maxLength: 32_768 })),
    /** Present when the broker asks for a client certificate: SHA-256 of the issuing CA's. */
    certificateAuthority: Type.Optional(Hex32),
  },
  { ...strict, title: 'EnrolAnswer' },
);
export type EnrolAnswer = Static<typeof EnrolAnswer>;

/** PKCS #10 in PEM: a P-256 key, the subject CN=<device id>, signed by that key. */
export const CertificateRequest = Type.Object(
  { request: Type.String({ maxLength: limits.certificateRequestMaxChars }) },
  { ...strict, title: 'CertificateRequest' },
);

export const CertificateAnswer = Type.Object(
  {
    /** PEM. */
    certificate: Type.String({ maxLength: 16_384 }),
    /** By the server's clock, ms since the epoch. */
    issuedAt: Type.Integer({ minimum: 0 }),
    expiresAt: Type.Integer({ minimum: 0 }),
  },
  { ...strict, title: 'CertificateAnswer' },
);
export type CertificateAnswer = Static<typeof CertificateAnswer>;

/** Custom part of an image target. The director's target must match it (Uptane). */
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
     * Rises with each new assignment of this device and component, and is no lower than the floor
     * from time (shared/trust/version-floor.ts); every report about it carries this number.
     */
    assignmentId: Type.Integer({ minimum: 1, maximum: 2 ** 31 }),
    /**
     * Roll back to this release although it is older. A device accepts that only for a release that
     * it ran before.
     */
    rollback: Type.Boolean(),
    activation: Type.Enum([...ACTIVATIONS]),
    trial: TrialPolicy,
  },
  strict,
);
export type DirectorCustom = Static<typeof DirectorCustom>;
