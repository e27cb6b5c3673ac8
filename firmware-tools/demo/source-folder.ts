// Data files of the demo (models, images) lie in the sources and are not copied into dist/.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The source folder of the module with this URL, from the sources as well as from dist/. */
export function sourceFolder(moduleUrl: string): string {
  const here = dirname(fileURLToPath(moduleUrl));
  return here.replace(/([\\/])dist[\\/](firmware-tools[\\/]demo[\\/][^\\/]+)$/, '$1$2');
}
