// Opens the artifact store that the setting `artifacts` names. A scheme is one case here; the
// rest of the server knows the interface only.
import { fileURLToPath } from 'node:url';
import type { Clock, Log, Random } from '../../shared/base/interfaces.js';
import type { Proxies } from '../../shared/platform/proxies.js';
import type { ArtifactStore } from '../interfaces.js';
import { DiskArtifactStore } from './disk.js';
import { OciArtifactStore } from './oci.js';
import { isOci, ociCredentials, ociLocation, type OciSettings } from './oci-settings.js';
import { S3ArtifactStore } from './s3.js';
import { isS3, s3Credentials, s3Location, type S3Settings } from './s3-settings.js';

export interface OpenArtifactStoreOptions {
  /**
   * `file:/absolute/folder`, `s3://bucket/prefix` or `oci://registry/repository`. Undefined:
   * `folder`.
   */
  readonly location: string | undefined;
  readonly folder: string;
  readonly s3: S3Settings | undefined;
  readonly oci: OciSettings | undefined;
  /** Whether devices are sent to the store itself, where it gives links. */
  readonly links: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly proxies: Proxies;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Faults: config_invalid, artifact_store_refused, disk_full, disk_failed. */
export async function openArtifactStore(options: OpenArtifactStoreOptions): Promise<ArtifactStore> {
  const { location, s3 = STANDARD_S3, oci = STANDARD_OCI } = options;
  const { links, env, proxies, clock, random, log } = options;
  if (location !== undefined && isS3(location))
    return S3ArtifactStore.open({
      location: s3Location(location, s3),
      credentials: s3Credentials(s3.credentials_file, env),
      ...{ links, proxies, clock, random, log },
    });
  if (location !== undefined && isOci(location))
    return OciArtifactStore.open({
      location: ociLocation(location, oci),
      credentials: ociCredentials(oci.credentials_file, env),
      ...{ links, proxies, clock, random, log },
    });
  const folder = location === undefined ? options.folder : fileURLToPath(location);
  return DiskArtifactStore.open({ folder, random });
}

/** The folder of the files, of the same setting; null where another store keeps them. */
export function folderOfArtifacts(location: string | undefined, folder: string): string | null {
  if (location === undefined) return folder;
  return isS3(location) || isOci(location) ? null : fileURLToPath(location);
}

const STANDARD_S3: S3Settings = { region: 'us-east-1', path_style: false };
const STANDARD_OCI: OciSettings = { plain_http: false };
