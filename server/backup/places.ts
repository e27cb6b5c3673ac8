// What a backup holds, and where each entry belongs: the rows of the database, the repository
// folder (signed metadata, envelopes of releases, online keys), the device CA, and files of
// releases. Whatever else is in those folders (a lock, a leftover, an operator's own file) is not
// part of it, and no entry of a file that somebody else made can name another place.
import { basename, dirname, join } from 'node:path';

export interface BackupPlaces {
  readonly dataDir: string;
  readonly repository: string;
  /** Folder of the files of releases; null: a bucket or a registry has them. */
  readonly artifacts: string | null;
}

/** Folders of the repository, in the order in which they are copied. */
export const REPOSITORY_FOLDERS = ['metadata/image', 'metadata/director', 'targets'] as const;
export const KEYS_FOLDER = 'online';
export const CA_CERTIFICATE = 'device-ca.crt';
export const CA_KEY = 'device-ca.key';

const PART = /^database\/([a-z_]{1,60})\/[0-9]{6,12}\.ndjson$/;
const METADATA = /metadata\/(?:image|director)\/(?:[0-9]{1,10}\.)?[a-z]{1,20}\.json/;
const ENVELOPE =
  /targets\/[a-z0-9-]{1,63}\/[0-9][0-9A-Za-z.-]{0,80}\/[0-9a-f]{64}\.release\.dsse\.json/;
const REPOSITORY = new RegExp(`^repository/((?:${METADATA.source})|(?:${ENVELOPE.source}))$`);
const KEY = /^repository\/(online\/[a-z-]{1,40}\.key\.json)$/;
const ARTIFACT = /^artifacts\/([0-9a-f]{64})$/;

export const partName = (table: string, number: number): string =>
  `database/${table}/${String(number).padStart(6, '0')}.ndjson`;
export const repositoryName = (path: string): string => `repository/${path}`;
export const dataName = (name: string): string => `data/${name}`;
export const artifactName = (digest: string): string => `artifacts/${digest}`;

/** Whether a file of the repository folder belongs into a backup. */
export const isRepositoryFile = (path: string): boolean => REPOSITORY.test(repositoryName(path));
export const isKeyFile = (path: string): boolean => KEY.test(repositoryName(path));
export const isArtifactFile = (name: string): boolean => ARTIFACT.test(artifactName(name));

/** The table whose rows an entry has, or null. */
export const tableOf = (name: string): string | null => PART.exec(name)?.[1] ?? null;

/** Whether it is something that only the server may read. */
const isSecret = (name: string): boolean => KEY.test(name) || name === dataName(CA_KEY);

/** The mode of keys. */
export const PRIVATE = 0o600;

/** Where an entry's file belongs and with which mode; null: nowhere. */
export function placeOf(name: string, places: BackupPlaces): { path: string; mode: number } | null {
  const mode = isSecret(name) ? PRIVATE : 0o644;
  const inRepository = REPOSITORY.exec(name)?.[1] ?? KEY.exec(name)?.[1];
  if (inRepository !== undefined) return { path: join(places.repository, inRepository), mode };
  if (dirname(name) === 'data' && [CA_CERTIFICATE, CA_KEY].includes(basename(name)))
    return { path: join(places.dataDir, basename(name)), mode };
  const digest = ARTIFACT.exec(name)?.[1];
  return digest === undefined || places.artifacts === null
    ? null
    : { path: join(places.artifacts, digest), mode };
}

/** The digest that the name of an entry promises, or null. */
export const promisedDigest = (name: string): string | null => ARTIFACT.exec(name)?.[1] ?? null;
