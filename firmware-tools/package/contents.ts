// What a package says about its contents: one CycloneDX list of components, one text of licences.
// A component without a licence, or without the text of it, ends the build.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { project } from './tools.js';

export interface Component {
  readonly name: string;
  readonly version: string;
  /** SPDX expression, as the component states it. */
  readonly licence: string;
  readonly texts: readonly string[];
  /** Package URL. */
  readonly purl: string;
}

/** Texts for npm packages that bring none: `NAME.txt`. */
const TEXTS = join(project, 'firmware-tools', 'package', 'licences');

interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  /** The older form. */
  readonly licenses?: readonly { readonly type: string }[];
}

/** An installed npm package, read from its folder. */
export function npmComponent(folder: string): Component {
  const { name, version, license, licenses } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  ) as NpmPackage;
  const licence = license ?? licenses?.map(({ type }) => type).join(' OR ');
  if (licence === undefined)
    throw new Error(`${name} ${version} states no licence: it cannot be passed on`);
  return { name, version, licence, texts: textsOf(name, folder), purl: npmUrl(name, version) };
}

export const npmUrl = (name: string, version: string): string =>
  `pkg:npm/${name.replace('@', '%40')}@${version}`;

export const licenceTexts = (folder: string): string[] =>
  readdirSync(folder)
    .filter((file) => /^(?:licen[cs]e|copying|notice|thirdpartynotices)/i.test(file))
    .sort()
    .map((file) => readFileSync(join(folder, file), 'utf8').trim());

/** Its files; else the end of its README; else what this repository has for it. */
function textsOf(name: string, folder: string): string[] {
  const own = licenceTexts(folder);
  if (own.length > 0) return own;
  const readme = readdirSync(folder).find((file) => /^readme/i.test(file));
  const text = readme === undefined ? '' : readFileSync(join(folder, readme), 'utf8');
  const part = /^#+ licen[cs]e$(.*?permission is hereby granted.*)/ims.exec(text)?.[1];
  if (part !== undefined) return [part.trim()];
  const kept = join(TEXTS, `${name}.txt`);
  if (existsSync(kept)) return [readFileSync(kept, 'utf8').trim()];
  throw new Error(`${name} brings no text of its licence: put that text into ${kept}`);
}

/** SQLite, whose source is a part of better-sqlite3. */
export function sqliteComponent(folder: string): Component {
  const header = readFileSync(join(folder, 'deps', 'sqlite3', 'sqlite3.h'), 'utf8');
  const version = /^#define SQLITE_VERSION +"([\d.]+)"/m.exec(header)?.[1];
  if (version === undefined) throw new Error(`${folder} has no SQLite whose version is known`);
  const texts = ['The authors of SQLite disclaim copyright: it is in the public domain.'];
  const purl = `pkg:generic/sqlite@${version}`;
  return { name: 'sqlite', version, licence: 'blessing', texts, purl };
}

/** By name; one that lies in several folders is listed once. */
export const listed = (components: readonly Component[]): Component[] => {
  const byUrl = new Map(components.map((component) => [component.purl, component]));
  return [...byUrl.keys()].sort().flatMap((purl) => byUrl.get(purl) ?? []);
};

/** CycloneDX 1.6. It has no serial number and no time: the same build gives the same text. */
export function componentList(
  product: { name: string; version: string },
  components: readonly Component[],
): string {
  const licenses = [{ expression: 'Apache-2.0' }];
  const about = { type: 'application', ...product, 'bom-ref': product.name, licenses };
  const list = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: about },
    components: components.map(({ name, version, licence, purl }) => ({
      type: 'library',
      'bom-ref': purl,
      name,
      version,
      purl,
      licenses: [{ expression: licence }],
    })),
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

export function licenceFile(own: string, components: readonly Component[]): string {
  const parts = components.map(
    ({ name, version, licence, texts }) =>
      `${name} ${version}: ${licence}\n\n${texts.join('\n\n')}`,
  );
  return `${[own.trim(), ...parts].join(`\n\n${'-'.repeat(78)}\n`)}\n`;
}
