// The generated parts of the documents are current, and every path that a document names exists.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { generatedDocuments } from './generated-documents.js';
import { documents, ROOT } from './source-files.js';

it.each([...(await generatedDocuments(ROOT))])('generated_text_is_current_in_%s', (path, text) => {
  expect(readFileSync(join(ROOT, path), 'utf8'), 'run `npm run docs`').toBe(text);
});

it('every_path_that_a_document_names_exists', () => {
  const missing = documents.flatMap(({ path, text }) =>
    [...text.matchAll(/`((?:agent|server|shared|firmware-tools|test|docs)\/[\w./-]*)`/g)]
      .map(([, named = '']) => named)
      .filter((named) => !existsSync(join(ROOT, named)) && !existsSync(join(ROOT, `${named}.ts`)))
      .map((named) => `${path}: ${named}`),
  );
  expect(missing).toEqual([]);
});

it('every_link_between_documents_leads_somewhere', () => {
  const dead = documents.flatMap(({ path, text }) =>
    [...text.matchAll(/\]\((?!https?:)([^)#\s]+)/g)]
      .map(([, to = '']) => to)
      .filter((to) => !existsSync(join(ROOT, dirname(path), to)))
      .map((to) => `${path}: ${to}`),
  );
  expect(dead).toEqual([]);
});
