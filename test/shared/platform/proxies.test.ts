// Which proxy a request goes through: the setting, the environment, and what is asked directly.
import { expect, it } from 'vitest';
import { Fault } from '../../../shared/base/fault-codes.js';
import { Proxies } from '../../../shared/platform/proxies.js';

type Env = Record<string, string>;
const through = (url: string, env: Env, setting?: string): string | null =>
  new Proxies(env, setting).of(new URL(url))?.href ?? null;

it.each<[string, Env, string | null]>([
  ['http://a.example/', { HTTP_PROXY: 'http://p:1' }, 'http://p:1/'],
  ['http://a.example/', { HTTPS_PROXY: 'http://p:1' }, null],
  ['https://a.example/', { HTTPS_PROXY: 'http://p:1' }, 'http://p:1/'],
  ['mqtts://a.example:8883', { HTTPS_PROXY: 'http://p:1' }, 'http://p:1/'],
  ['mqtt://a.example:1883', { HTTP_PROXY: 'http://p:1' }, null],
  [
    'https://a.example/',
    { https_proxy: 'http://low:1', HTTPS_PROXY: 'http://up:1' },
    'http://low:1/',
  ],
  ['https://a.example/', { ALL_PROXY: 'http://p:1' }, 'http://p:1/'],
  ['https://a.example/', { HTTPS_PROXY: 'p.example:3128' }, 'http://p.example:3128/'],
  ['https://a.example/', { HTTPS_PROXY: '' }, null],
  ['https://a.example/', {}, null],
])('%s_with_%j_goes_through_%s', (url, env, proxy) => {
  expect(through(url, env)).toBe(proxy);
});

it.each(['localhost', 'fleet.localhost', '127.0.0.1', '127.1.2.3', '[::1]'])(
  'this_machine_as_%s_is_never_asked_through_a_proxy',
  (host) => {
    expect(through(`https://${host}:7300/`, {}, 'http://p:1')).toBe(null);
  },
);

it.each<[string, string, boolean]>([
  ['*', 'https://a.example', true],
  ['a.example', 'https://a.example', true],
  ['a.example', 'https://b.a.example', true],
  ['a.example', 'https://ba.example', false],
  ['.a.example', 'https://b.a.example', true],
  ['*.a.example', 'https://b.a.example', true],
  ['A.Example', 'https://a.example', true],
  ['a.example:8443', 'https://a.example:8443', true],
  ['a.example:8443', 'https://a.example', false],
  ['a.example:443', 'https://a.example', true],
  ['x, a.example', 'https://a.example', true],
  ['10.0.0.0/8', 'https://10.1.2.3', true],
  ['10.0.0.0/8', 'https://11.1.2.3', false],
  ['10.1.2.3', 'https://10.1.2.3', true],
  ['fd00::/8', 'https://[fd00::1]', true],
  ['fd00::1', 'https://[fd00::1]', true],
  ['[fd00::1]:443', 'https://[fd00::1]', true],
])('no_proxy_%s_for_%s_is_%s', (exceptions, url, isDirect) => {
  for (const name of ['NO_PROXY', 'no_proxy'])
    expect(through(url, { [name]: exceptions }, 'http://p:1') === null).toBe(isDirect);
});

it('a_setting_comes_before_the_environment_and_none_switches_that_off', () => {
  const env = { HTTPS_PROXY: 'http://env:1' };
  expect(through('https://a.example', env, 'http://set:1')).toBe('http://set:1/');
  expect(through('https://a.example', env, 'none')).toBe(null);
});

it.each<[Env, string]>([
  [{ HTTPS_PROXY: 'socks5://user:secret@p:1' }, 'HTTPS_PROXY is not the http:// URL of a proxy'],
  [{ http_proxy: 'http://user:secret@p:port' }, 'http_proxy is not the http:// URL of a proxy'],
  [{ NO_PROXY: '10.0.0.0/99' }, 'NO_PROXY: 10.0.0.0/99 is no network'],
])('a_wrong_environment_%j_is_named_without_its_password', (env, why) => {
  let found: unknown;
  try {
    new Proxies(env);
  } catch (error) {
    found = error;
  }
  expect(found).toBeInstanceOf(Fault);
  expect((found as Fault).detail).toContain(why);
  expect((found as Fault).detail).not.toContain('secret');
});
