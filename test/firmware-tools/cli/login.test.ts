// `linnet login` and what commands take from it: a file of its owner alone, after options and
// environment, and a token that only the server of its profile gets.
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { linnet } from '../../../firmware-tools/cli/main.js';
import { EXIT } from '../../../firmware-tools/cli/output.js';
import { newAuthority } from '../../../server/certificates/authority.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { tempFolder } from '../../support/temp-folders.js';

const tokenOf = (name: string): string => `lnt_${name.padEnd(43, '0')}`;
const GOOD = tokenOf('good');
let fleet: Server;
let address: string;
let folder: string;
let asked: (string | undefined)[] = [];
let redirect: string | null = null;

beforeAll(async () => {
  fleet = createServer((request, response) => {
    asked.push(request.headers.authorization);
    const isGood = request.headers.authorization === `Bearer ${GOOD}`;
    response.writeHead(redirect === null ? (isGood ? 200 : 401) : 302, {
      'content-type': 'application/json',
      ...(redirect === null ? {} : { location: redirect }),
    });
    const isRevoking = request.url?.endsWith('/self/revoke') === true;
    response.end(
      isGood
        ? isRevoking
          ? '{"revoked":2}'
          : '{"items":[],"next":null}'
        : '{"error":"no valid operator token","code":"auth_missing"}',
    );
  });
  await new Promise<void>((resolve) => fleet.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(fleet.address() as AddressInfo).port}`;
});
afterAll(async () => {
  fleet.closeAllConnections();
  await new Promise((resolve) => fleet.close(resolve));
  for (const name of ['XDG_CONFIG_HOME', 'LINNET_SERVER', 'LINNET_TOKEN'])
    Reflect.deleteProperty(process.env, name);
});
beforeEach(() => {
  folder = tempFolder();
  asked = [];
  redirect = null;
  for (const name of ['LINNET_SERVER', 'LINNET_TOKEN']) Reflect.deleteProperty(process.env, name);
  process.env['XDG_CONFIG_HOME'] = folder;
});

async function run(...args: string[]): Promise<{ text: string; code: number }> {
  let text = '';
  const take = (some: string): void => void (text += some);
  const code = await linnet(args, { out: take, err: take });
  return { text, code };
}

async function login(token = GOOD, ...more: string[]): Promise<{ text: string; code: number }> {
  const file = join(folder, 'given.token');
  await writeFile(file, `${token}\n`);
  return run('login', '--server', `${address}/`, '--token-file', file, ...more);
}

const profilesPath = (): string => join(folder, 'linnet', 'profiles.json');

it('commands_after_a_login_need_no_options', async () => {
  expect((await login()).code).toBe(EXIT.done);
  expect(await run('group', 'list')).toEqual({ code: EXIT.done, text: 'no groups\n' });
  expect(asked).toEqual([`Bearer ${GOOD}`, `Bearer ${GOOD}`]);
});

it('the_profiles_can_be_read_by_their_owner_only', async () => {
  await login();
  expect((await stat(profilesPath())).mode & 0o777).toBe(0o600);
  await chmod(profilesPath(), 0o644);
  const { code, text } = await run('group', 'list');
  expect(code).toBe(EXIT.refused);
  expect(text).toContain(`chmod 600 ${profilesPath()}`);
});

it('a_token_that_the_server_refuses_is_not_kept', async () => {
  expect((await login(tokenOf('wrong'))).code).toBe(EXIT.refused);
  expect((await run('profile', 'list')).text).toBe('no profiles; linnet login makes one\n');
});

it('options_and_environment_come_before_the_profile', async () => {
  await login();
  asked = [];
  process.env['LINNET_TOKEN'] = tokenOf('other');
  expect((await run('group', 'list')).text).toContain('no valid operator token');
  expect(asked).toEqual([`Bearer ${tokenOf('other')}`]);
});

it('another_server_does_not_get_the_token_of_the_profile', async () => {
  await login();
  asked = [];
  const other = address.replace('127.0.0.1', 'localhost');
  const { code, text } = await run('group', 'list', '--server', other);
  expect([code, asked]).toEqual([EXIT.usage, []]);
  expect(text).toContain(`the profile is for ${address}, not for ${other}`);
});

it('a_redirect_is_refused_by_its_location_and_gets_no_token', async () => {
  await login();
  redirect = 'http://elsewhere.example/';
  const { text } = await run('group', 'list');
  expect(text).toContain('http://elsewhere.example/');
  expect(text).not.toContain('fetch failed');
});

it('several_profiles_are_listed_without_tokens_chosen_and_forgotten', async () => {
  await login();
  await login(GOOD, '--profile', 'lab');
  const listed = (await run('profile', 'list')).text;
  expect(listed).toMatch(/default .* -\n/);
  expect(listed).toMatch(/lab .* yes\n/);
  expect(listed).not.toContain(GOOD);
  expect((await run('profile', 'use', 'default')).code).toBe(EXIT.done);
  expect((await run('group', 'list', '--profile', 'nosuch')).text).toContain(
    'linnet login --profile nosuch makes it',
  );
  expect((await run('logout', '--profile', 'lab')).code).toBe(EXIT.done);
  expect(await readFile(profilesPath(), 'utf8')).not.toContain('"lab"');
  expect((await run('logout', '--profile', 'lab')).code).toBe(EXIT.refused);
});

it('logout_everywhere_revokes_first_and_logout_of_others_keeps_the_profile', async () => {
  await login();
  expect(await run('logout', '--others')).toEqual({
    code: EXIT.done,
    text: '2 tokens revoked; profile default stays\n',
  });
  expect((await run('logout', '--others', '--everywhere')).code).toBe(EXIT.usage);
  expect((await run('logout', '--everywhere')).text).toBe(
    '2 tokens revoked; profile default is forgotten\n',
  );
  expect(await readFile(profilesPath(), 'utf8')).not.toContain(GOOD);
  await login();
  await writeFile(
    profilesPath(),
    (await readFile(profilesPath(), 'utf8')).replace(GOOD, tokenOf('revoked')),
  );
  expect((await run('logout', '--everywhere')).code).toBe(EXIT.refused);
  expect(await readFile(profilesPath(), 'utf8')).toContain(tokenOf('revoked'));
});

it('without_any_token_the_advice_is_to_log_in', async () => {
  expect(await run('group', 'list')).toMatchObject({
    code: EXIT.usage,
    text: expect.stringContaining('log in with linnet login') as string,
  });
});

it('a_server_that_does_not_answer_is_named_without_inner_names', async () => {
  process.env['LINNET_TOKEN'] = GOOD;
  const { code, text } = await run('group', 'list', '--server', 'http://127.0.0.1:1');
  expect(code).toBe(EXIT.flaked);
  expect(text).toMatch(/^error: http:\S+groups\S*: connect ECONNREFUSED 127\.0\.0\.1:1\n/);
});

it('a_token_file_that_holds_other_text_is_named_and_not_shown', async () => {
  const { code, text } = await login('data_dir = "srv"\nport = 1');
  expect(code).toBe(EXIT.usage);
  expect(text).toContain(`${join(folder, 'given.token')} does not hold an operator token`);
  expect(text).not.toContain('data_dir');
  process.env['LINNET_TOKEN'] = 'lnt_a\nlnt_b';
  expect(await run('group', 'list', '--server', address)).toMatchObject({
    code: EXIT.usage,
    text: expect.stringContaining('LINNET_TOKEN does not hold an operator token') as string,
  });
  expect(asked).toEqual([]);
});

it('what_answers_and_is_no_fleet_server_is_a_wrong_address_and_not_a_wrong_name', async () => {
  process.env['LINNET_TOKEN'] = GOOD;
  const answers: readonly [number, string][] = [
    [404, '<html>nope'],
    [401, 'who are you'],
    [200, '<html>hello'],
  ];
  for (const [status, body] of answers) {
    const other = createServer((_request, response) => response.writeHead(status).end(body));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const port = (other.address() as AddressInfo).port;
    const { code, text } = await run('group', 'list', '--server', `http://127.0.0.1:${port}`);
    await new Promise((resolve) => other.close(resolve));
    expect([status, code]).toEqual([status, EXIT.refused]);
    expect(text).toContain('code: server_foreign');
    expect(text).toContain(String(port));
  }
});

it('https_to_a_server_without_tls_says_which_address_it_has', async () => {
  process.env['LINNET_TOKEN'] = GOOD;
  const wrong = address.replace('http:', 'https:');
  const { code, text } = await run('group', 'list', '--server', wrong);
  expect(code).toBe(EXIT.refused);
  expect(text).toContain(`a server without TLS has the address ${address}\n`);
  expect(text).not.toContain('OpenSSL');
});

it('a_certificate_that_does_not_verify_is_no_temporary_failure', async () => {
  process.env['LINNET_TOKEN'] = GOOD;
  const { key, certificate } = await newAuthority(realRandom, realClock.now(), null);
  const other = createTlsServer({ key, cert: certificate }, (_request, response) => response.end());
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const port = (other.address() as AddressInfo).port;
  const { code, text } = await run('group', 'list', '--server', `https://127.0.0.1:${port}`);
  await new Promise((resolve) => other.close(resolve));
  expect(code).toBe(EXIT.refused);
  expect(text).toContain('code: server_untrusted');
  expect(text).toContain('linnet login --ca FILE');
});

it('a_ca_file_without_a_certificate_and_files_that_are_missing_are_told_before_asking', async () => {
  const file = join(folder, 'given.token');
  const { code, text } = await login(GOOD, '--ca', file);
  expect([code, asked]).toEqual([EXIT.usage, []]);
  expect(text).toContain(`--ca ${file} holds no certificate in PEM`);
  const none = await run('login', '--server', address, '--token-file', '/no/a', '--ca', '/no/b');
  expect(none.text).toContain('/no/b: there is no such file; /no/a: there is no such file');
});

it.each(['{', '{"format":"linnet.profiles/1"}'])(
  'profiles_that_hold_%s_are_named_with_what_to_do',
  async (content) => {
    await login();
    await writeFile(profilesPath(), content);
    const { code, text } = await run('group', 'list');
    expect(code).toBe(EXIT.refused);
    expect(text).toContain(profilesPath());
    expect(text).toContain('or remove the file and run `linnet login` again');
  },
);

it('an_empty_token_file_is_named', async () => {
  await login('');
  const file = join(folder, 'given.token');
  const { code, text } = await run('group', 'list', '--server', address, '--token-file', file);
  expect([code, asked]).toEqual([EXIT.usage, []]);
  expect(text).toContain(`${file} is empty`);
});

it.each(['http://127.0.0.1:999999', 'http://[', 'http://a b'])(
  'a_server_address_that_cannot_be_read_is_refused_%s',
  async (wrong) => {
    process.env['LINNET_TOKEN'] = GOOD;
    const { code, text } = await run('group', 'list', '--server', wrong);
    expect(code).toBe(EXIT.usage);
    expect(text).toContain(`--server ${wrong} is not an http(s) URL`);
  },
);

it.each(['constructor', 'toString'])('no_profile_is_named_%s_before_it_was_made', async (name) => {
  await login();
  const before = await readFile(profilesPath(), 'utf8');
  expect((await run('profile', 'use', name)).code).toBe(EXIT.refused);
  expect((await run('logout', '--profile', name)).code).toBe(EXIT.refused);
  expect((await run('group', 'list', '--profile', name)).text).toContain('there is no profile');
  expect(await readFile(profilesPath(), 'utf8')).toBe(before);
});
