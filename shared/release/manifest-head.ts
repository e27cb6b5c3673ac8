// The part of a release manifest that all payload kinds share: what the release is, the hardware it
// is for, and every file by name, role, length and SHA-256. A payload kind (model-manifest.ts, and
// later agent, exec, image) adds its own fields and checks. The manifest holds no time and no
// machine name, so the same input makes the same bytes.
import { Type, type Static, type TSchema } from 'typebox';
import { Hex32 } from '../base/hex-schemas.js';
import { limits } from '../base/limits.js';

export const strict = { additionalProperties: false } as const;
export const COMPONENT_PATTERN = '^[a-z0-9][a-z0-9-]{0,62}$';
export const Component = Type.String({ pattern: COMPONENT_PATTERN });
/**
 * Semantic Versioning 2.0.0 without build metadata, in which two releases must not differ alone.
 */
export const Version = Type.String({
  pattern: '^(0|[1-9]\\d{0,8})\\.(0|[1-9]\\d{0,8})\\.(0|[1-9]\\d{0,8})(-[0-9A-Za-z.-]{1,40})?$',
});
export const HardwareId = Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,62}$' });
/** One path segment, so no manifest can name a file outside its slot. */
export const FileName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$' });
const Role = Type.String({ pattern: '^[a-z][a-z-]{0,30}$' });

/**
 * Other bytes from which a device with the codec can make the file: smaller to transfer, and stored
 * under their own SHA-256.
 */
export const FileEncoding = Type.Object(
  {
    codec: Type.String({ pattern: '^[a-z][a-z0-9-]{0,30}$' }),
    sha256: Hex32,
    length: Type.Integer({ minimum: 1, maximum: limits.releaseFileMaxBytes }),
  },
  strict,
);
export type FileEncoding = Static<typeof FileEncoding>;

/** Schema of one file of a release; a payload kind narrows the roles. */
export const fileEntry = <R extends TSchema>(role: R) =>
  Type.Object(
    {
      name: FileName,
      role,
      sha256: Hex32,
      length: Type.Integer({ minimum: 0, maximum: limits.releaseFileMaxBytes }),
      encodings: Type.Optional(
        Type.Array(FileEncoding, { maxItems: limits.fileEncodingsMaxCount }),
      ),
    },
    strict,
  );
export const FileEntry = fileEntry(Role);
export type FileEntry = Static<typeof FileEntry>;

/** The properties that the schema of every payload kind begins with. */
export const manifestHead = {
  format: Type.Literal('linnet.release/1'),
  /** The payload kind: which further fields there are, and which handler installs the release. */
  kind: Type.String({ pattern: '^[a-z][a-z-]{0,30}$' }),
  component: Component,
  version: Version,
  description: Type.String({ maxLength: limits.descriptionMaxChars }),
  hardware: Type.Array(HardwareId, { minItems: 1, maxItems: limits.hardwareMaxCount }),
  files: Type.Array(FileEntry, { minItems: 1, maxItems: limits.releaseFilesMaxCount }),
};

/** The head alone, with the fields of the kind still unread. */
export const ManifestHead = Type.Object(manifestHead);
export type ManifestHead = Static<typeof ManifestHead>;

/** One payload kind: the schema of its whole manifest, and what the schema cannot say. */
export interface ManifestKind<M extends ManifestHead = ManifestHead> {
  readonly kind: string;
  readonly schema: TSchema;
  /** Throws Fault manifest_undecodable. */
  check(manifest: M): void;
}
