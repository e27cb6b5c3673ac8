// Documents as the tests read them: one line, without the marks of quotes and line ends.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The text of a document of the project, such as `docs/statistics.md`, with its lines joined. */
export function joinedDocument(path: string): string {
  const file = fileURLToPath(new URL(`../../${path}`, import.meta.url));
  return readFileSync(file, 'utf8')
    .replace(/^> /gm, '')
    .replace(/\s*\n\s*/g, ' ');
}
