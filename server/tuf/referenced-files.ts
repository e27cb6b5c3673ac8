// Which files published releases and acceptance sets name, for the collection of all others. Every
// digest in a document counts: to name too many is harmless, to miss one would delete a file that
// devices need. Nothing is verified here.
import { parseJson } from '../../shared/base/decode.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import type { ImageRepositoryService } from '../interfaces.js';

const DIGEST = /(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/g;

/** Digests in the manifest of an envelope; none when it is no envelope. */
export function digestsInEnvelope(envelope: Uint8Array): string[] {
  try {
    const { payload } = (parseJson(envelope, 'envelope') as { payload?: unknown } | null) ?? {};
    if (typeof payload !== 'string') return [];
    // Parsed, because JSON may write a character in several ways.
    return digestsIn(parseJson(Buffer.from(payload, 'base64'), 'manifest'));
  } catch (error) {
    if (isFault(error)) return [];
    throw error;
  }
}

function digestsIn(document: unknown): string[] {
  return JSON.stringify(document).match(DIGEST) ?? [];
}

/** Digests in a signed document; none when it is none. */
export function digestsInDocument(document: Uint8Array): string[] {
  try {
    return digestsIn(parseJson(document, 'document'));
  } catch (error) {
    if (isFault(error)) return [];
    throw error;
  }
}

/** Faults: not_found when an envelope of a published release is missing: nothing is sure then. */
export async function referencedFiles(
  images: Pick<ImageRepositoryService, 'targets' | 'targetFile'>,
): Promise<Set<string>> {
  const targets = images.targets();
  const found = new Set(digestsIn(targets));
  for (const [path, { hashes }] of Object.entries(targets.targets)) {
    const [component = '', version = ''] = path.split('/');
    const name = `${hashes.sha256 ?? ''}.release.dsse.json`;
    const envelope = await images.targetFile(component, version, name);
    if (envelope === null)
      throw new Fault('not_found', `the envelope of ${path} is missing: publish it again`);
    for (const digest of digestsInEnvelope(envelope)) found.add(digest);
  }
  return found;
}
