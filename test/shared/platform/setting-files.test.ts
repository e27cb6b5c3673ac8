// Files that a configuration names.
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { readSettingFile } from '../../../shared/platform/setting-files.js';

it('readable_file_is_given_as_it_is', () => {
  const path = fileURLToPath(import.meta.url);
  expect(readSettingFile('tls.cert_file', path).toString()).toMatch(/^\/\/ Files that/);
});

it.each([
  [
    '/nowhere/cert.pem',
    'cannot read tls.cert_file /nowhere/cert.pem: there is no such file; make one',
  ],
  ['/', 'cannot read tls.cert_file /: it is a folder, not a file; make one'],
])(
  'file_%s_that_cannot_be_read_is_a_configuration_mistake_that_names_the_setting',
  (path, detail) => {
    expect(() => readSettingFile('tls.cert_file', path, 'make one')).toThrow(
      expect.objectContaining({ code: 'config_invalid', detail }) as Error,
    );
  },
);
