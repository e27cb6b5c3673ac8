// The walk-through of the README: the commands between its two marks, as one shell script.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { project } from '../../firmware-tools/package/tools.js';

export function walkthroughLines(): string {
  const readme = readFileSync(join(project, 'README.md'), 'utf8');
  const part = /<!-- walkthrough:begin -->(.*)<!-- walkthrough:end -->/s.exec(readme)?.[1] ?? '';
  return [...part.matchAll(/```sh\n(.*?)```/gs)].map((block) => block[1]).join('\n');
}
