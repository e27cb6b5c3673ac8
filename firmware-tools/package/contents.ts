// What a package says about its contents: one CycloneDX list of components, one text of licences.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Component {
  readonly name: string;
  readonly version: string;
  /** SPDX expression, as the component states it. */
  readonly licence: string;
  /** Texts of its licence files; empty where it brings none. */
  readonly texts: readonly string[];
}

/** An installed npm package, read from its folder. */
export function npmComponent(folder: string): Component {
  const { name, version, license } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  ) as { name: string; version: string; license?: string };
  return { name, version, licence: license ?? 'NOASSERTION', texts: licenceTexts(folder) };
}

export const licenceTexts = (folder: string): string[] =>
  readdirSync(folder)
    .filter((file) => /^(?:licen[cs]e|copying|notice)/i.test(file))
    .sort()
    .map((file) => readFileSync(join(folder, file), 'utf8').trim());

/** CycloneDX 1.6. It has no serial number and no time: the same build gives the same text. */
export function componentList(
  product: { name: string; version: string },
  components: readonly Component[],
): string {
  const list = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: { type: 'application', ...product, 'bom-ref': product.name } },
    components: components.map(({ name, version, licence }) => {
      const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
      return {
        type: 'library',
        'bom-ref': purl,
        name,
        version,
        purl,
        ...(licence === 'NOASSERTION' ? {} : { licenses: [{ expression: licence }] }),
      };
    }),
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

export function licenceFile(own: string, components: readonly Component[]): string {
  const parts = components.map(
    ({ name, version, licence, texts }) =>
      `${name} ${version}: ${licence}\n\n${texts.join('\n\n') || '(brings no licence text)'}`,
  );
  return `${[own.trim(), ...parts].join(`\n\n${'-'.repeat(78)}\n`)}\n`;
}
