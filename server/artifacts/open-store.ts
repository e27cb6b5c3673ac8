// Opens the artifact store that the setting `artifacts` names. A scheme is one case here; the
// rest of the server knows the interface only.
import { fileURLToPath } from 'node:url';
import type { Random } from '../../shared/base/interfaces.js';
import { DiskArtifactStore } from './disk.js';
import type { ArtifactStore } from '../interfaces.js';

export interface OpenArtifactStoreOptions {
  /** The setting: `file:/absolute/folder`. Undefined: `folder`. */
  readonly location: string | undefined;
  readonly folder: string;
  readonly random: Random;
}

export async function openArtifactStore(options: OpenArtifactStoreOptions): Promise<ArtifactStore> {
  const { location, random } = options;
  const folder = location === undefined ? options.folder : fileURLToPath(location);
  return DiskArtifactStore.open({ folder, random });
}
