// What a model process loads: one runs for each model, so a package that it does not need costs its
// memory as often.
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { childPath } from '../../../support/inference-releases.js';
import { loadedBy, packagesOf } from '../../../support/loaded-modules.js';

it('a_model_process_loads_no_package_before_its_model_is_verified', () => {
  const urls = loadedBy(`await import(${JSON.stringify(pathToFileURL(childPath).href)})`);
  expect(urls.filter((url) => url.endsWith('/host-child.js'))).toHaveLength(1);
  expect(packagesOf(urls)).toEqual([]);
});
