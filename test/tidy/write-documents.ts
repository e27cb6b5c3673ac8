// `npm run docs`: writes the generated parts of the documents. Runs in the root of the project.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { generatedDocuments } from './generated-documents.js';

for (const [path, text] of await generatedDocuments(process.cwd())) {
  mkdirSync(dirname(join(process.cwd(), path)), { recursive: true });
  writeFileSync(join(process.cwd(), path), text);
}
