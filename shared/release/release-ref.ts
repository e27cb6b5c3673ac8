// A release by name: component, version, and the digest of its envelope. Answers, reports and
// assignments carry this; only the digest identifies bytes. Also the target path, which is derived
// from the name.
import { Type, type Static } from 'typebox';
import { Hex32 } from '../base/hex-schemas.js';
import { Component, strict, Version } from './manifest-head.js';

/** `digest` is the SHA-256 of the release's signed envelope, in lower-case hex. */
export const ReleaseRef = Type.Object(
  { component: Component, version: Version, digest: Hex32 },
  strict,
);
export type ReleaseRef = Static<typeof ReleaseRef>;

/** The three fields of anything that names a release. */
export function refOf({ component, version, digest }: ReleaseRef): ReleaseRef {
  return { component, version, digest };
}

/** The same from a TUF target or an assignment, which calls the digest `sha256`. */
export function refOfTarget(target: {
  readonly component: string;
  readonly version: string;
  readonly sha256: string;
}): ReleaseRef {
  return { component: target.component, version: target.version, digest: target.sha256 };
}

/** The path of a release in the image repository's targets. */
export function targetPath(component: string, version: string): string {
  return `${component}/${version}/release.dsse.json`;
}
