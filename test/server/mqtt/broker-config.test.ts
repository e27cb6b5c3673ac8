// The files of `linnet server broker-config`: what the access files let each client do, read by the
// rules of each broker's manual, and that a list of revocations can be fetched by what a
// certificate names. mosquitto.test.ts runs the real mosquitto; EMQX is not run here.
import { X509Certificate } from 'node:crypto';
import { describe, expect, it, test } from 'vitest';
import { CertificateAuthority, newAuthority } from '../../../server/certificates/authority.js';
import { emqxFiles, mosquittoFiles } from '../../../server/mqtt/broker-config.js';
import { limits } from '../../../shared/base/limits.js';
import { realRandom as random } from '../../../shared/platform/clock.js';
import { topics } from '../../../shared/protocol/telemetry.js';
import { certificateRequest, newKeyPair, x509 } from '../../../shared/trust/x509.js';

const [A, B] = [`dev-${'aa'.repeat(10)}`, `dev-${'bb'.repeat(10)}`] as const;
const SERVER = 'linnet-server';
const FILES = { folder: '/etc/b', port: 8883, servers: [SERVER, 'second'], authority: 'PEM' };
const emqx = emqxFiles(FILES);
const mosquitto = mosquittoFiles({ ...FILES, revocationList: '/etc/b/list.crl' });

type Action = 'subscribe' | 'publish';
interface Rule {
  readonly allow: boolean;
  readonly client: string | null;
  readonly action: Action | null;
  readonly filter: string;
}

const TUPLE =
  /^\{(allow|deny), (?:all|\{clientid, "([^"\\]+)"\}), (subscribe|publish), \["([^"\\]+)"\]\}\.$/;

/** Each line is a comment or one complete Erlang term of the forms that EMQX's manual lists. */
const rules: readonly Rule[] = (emqx['acl.conf'] ?? '')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('%%'))
  .map((line) => {
    if (line === '{deny, all}.') return { allow: false, client: null, action: null, filter: '#' };
    const [, verdict, client, action, filter] = TUPLE.exec(line) ?? [];
    if (filter === undefined) throw new Error(`no rule: ${line}`);
    return {
      allow: verdict === 'allow',
      client: client ?? null,
      action: action as Action,
      filter,
    };
  });

/** MQTT 3.1.1, section 4.7; a wildcard of `topic` is an ordinary level, as EMQX reads filters. */
function isCovered(topic: string, filter: string): boolean {
  const [levels, wanted] = [topic.split('/'), filter.split('/')];
  for (const [index, level] of wanted.entries()) {
    if (level === '#') return true;
    if (levels[index] === undefined || (level !== '+' && level !== levels[index])) return false;
  }
  return levels.length === wanted.length;
}

/** The first rule that matches decides; EMQX checks a shared subscription by its real filter. */
function mayAtEmqx(client: string, action: Action, topic: string): boolean {
  const real = topic.replace(/^\$share\/[^/]+\//, '');
  const rule = rules.find(
    (each) =>
      (each.client ?? client) === client &&
      (each.action ?? action) === action &&
      isCovered(real, each.filter.replace('${clientid}', client)),
  );
  return rule?.allow ?? false;
}

describe('the access file for EMQX', () => {
  test('a_device_may_use_its_own_topics_and_the_server_what_it_needs', () => {
    expect(mayAtEmqx(A, 'publish', topics.telemetry(A))).toBe(true);
    expect(mayAtEmqx(A, 'subscribe', topics.down(A))).toBe(true);
    for (const server of FILES.servers) {
      expect(mayAtEmqx(server, 'subscribe', topics.everyUp)).toBe(true);
      expect(mayAtEmqx(server, 'subscribe', `$share/linnet-1/${topics.everyUp}`)).toBe(true);
      expect(mayAtEmqx(server, 'publish', topics.hint(A))).toBe(true);
      expect(mayAtEmqx(server, 'publish', topics.ack(B))).toBe(true);
    }
  });

  it.each<[Action, string]>([
    ['subscribe', '#'],
    ['subscribe', '+/+/+/+/+'],
    ['subscribe', '$SYS/#'],
    ['subscribe', 'linnet/v1/+/down/#'],
    ['subscribe', topics.down(A)],
    ['subscribe', topics.up(A)],
    ['subscribe', topics.everyUp],
    ['subscribe', `$share/linnet-1/${topics.everyUp}`],
    ['publish', topics.telemetry(A)],
    ['publish', topics.hint(A)],
    ['publish', topics.ack(B)],
    ['publish', '$SYS/brokers'],
  ])('a_device_may_not_%s_%s', (action, topic) => {
    expect(mayAtEmqx(B, action, topic)).toBe(false);
  });

  test('a_server_may_not_speak_as_a_device', () => {
    expect(mayAtEmqx(SERVER, 'publish', topics.telemetry(A))).toBe(false);
  });

  test('it_says_the_same_as_the_one_for_mosquitto', () => {
    let user = '';
    const said: string[] = [];
    for (const line of (mosquitto['linnet.acl'] ?? '').split('\n')) {
      const [kind, may = '', filter] = line.split(' ');
      if (kind === 'user') user = may;
      const action = may === 'read' ? 'subscribe' : 'publish';
      if (kind === 'topic') said.push(`${user} ${action} ${filter}`);
      if (kind === 'pattern') said.push(`all ${action} ${filter?.replace('%u', '${clientid}')}`);
    }
    expect(said).toHaveLength(6);
    expect(rules.filter(({ allow }) => allow).map(asLine)).toEqual(said);
    expect(rules.at(-1)).toMatchObject({ allow: false, client: null, action: null });
  });
});

const asLine = ({ client, action, filter }: Rule): string =>
  `${client ?? 'all'} ${action} ${filter}`;

/** `a.b.c = value` of HOCON that has one setting or one bracket a line. */
function flattened(hocon: string): Record<string, string> {
  const path: string[] = [];
  const settings: Record<string, string> = {};
  for (const raw of hocon.split('\n')) {
    const line = raw.trim();
    const opened = /^([a-z_.]+) (?:\{|= \[)$/.exec(line);
    const set = /^([a-z_.]+) = (\[\]|"[^"\\$]*"|[a-z_]+|\d+)$/.exec(line);
    if (line === '' || line.startsWith('#')) continue;
    else if (opened?.[1] !== undefined) path.push(opened[1]);
    else if (line === '}' || line === ']') expect(path.pop()).toBeDefined();
    else if (set?.[1] !== undefined) settings[[...path, set[1]].join('.')] = set[2] ?? '';
    else if (/^\{ [^{}]+ \}$/.test(line)) settings[path.join('.')] = line;
    else throw new Error(`not understood: ${line}`);
  }
  expect(path).toEqual([]);
  return settings;
}

describe('the settings for EMQX', () => {
  const settings = flattened(emqx['linnet.conf'] ?? '');
  const ssl = 'listeners.ssl.default.ssl_options';

  test('only_who_shows_a_certificate_that_is_not_revoked_comes_in_under_its_name', () => {
    expect(settings).toMatchObject({
      'listeners.ssl.default.bind': '"0.0.0.0:8883"',
      [`${ssl}.cacertfile`]: '"/etc/b/device-ca.crt"',
      [`${ssl}.verify`]: 'verify_peer',
      [`${ssl}.fail_if_no_peer_cert`]: 'true',
      [`${ssl}.enable_crl_check`]: 'true',
      'mqtt.peer_cert_as_clientid': 'cn',
      'mqtt.peer_cert_as_username': 'cn',
    });
    for (const open of ['tcp', 'ws', 'wss'])
      expect(settings[`listeners.${open}.default.enable`]).toBe('false');
  });

  test('what_no_rule_allows_is_refused_and_clients_are_limited', () => {
    expect(settings).toMatchObject({
      'authorization.no_match': 'deny',
      'authorization.sources': '{ type = file, enable = true, path = "/etc/b/acl.conf" }',
      'mqtt.retain_available': 'false',
      'mqtt.max_qos_allowed': '1',
      'mqtt.max_subscriptions': '4',
    });
    const kilobytes = /^"(\d+)KB"$/.exec(settings['mqtt.max_packet_size'] ?? '')?.[1];
    expect(Number(kilobytes) * 1024).toBe(limits.mqttPacketMaxBytes);
  });

  test('the_head_says_that_it_was_not_run', () => {
    expect(emqx['linnet.conf']).toContain("Linnet's tests do not run EMQX");
  });
});

describe('a list of revocations that brokers fetch', () => {
  const listUrl = 'http://lists.example/device-ca.crl';
  const [DISTRIBUTION_POINTS, SCOPE] = ['2.5.29.31', '2.5.29.28'];
  const made = async (url?: string): Promise<{ certificate: string; list: string }> => {
    const nowMs = Date.now();
    const files = await newAuthority(random, nowMs, null);
    const options = { random, nowMs, passphrase: null, what: 'key', listUrl: url };
    const authority = await CertificateAuthority.open(files, options);
    const request = await certificateRequest(A, await newKeyPair());
    const { pem: certificate, serial } = await authority.issue(request, A, nowMs);
    return { certificate, list: await authority.revocationList([serial], nowMs) };
  };

  test('is_named_in_each_certificate_and_says_its_scope', async () => {
    const { certificate, list } = await made(listUrl);
    expect(new X509Certificate(certificate).toString()).toBe(certificate);
    const points = new x509.X509Certificate(certificate).getExtension(DISTRIBUTION_POINTS);
    expect(Buffer.from(points?.value ?? new ArrayBuffer(0)).toString('latin1')).toContain(listUrl);
    const scope = new x509.X509Crl(list.replace(/X509 CRL/g, 'CRL')).extensions.find(
      ({ type }) => type === SCOPE,
    );
    expect(scope?.critical).toBe(true);
  });

  test('is_not_named_where_none_is_offered', async () => {
    const { certificate, list } = await made();
    expect(new x509.X509Certificate(certificate).getExtension(DISTRIBUTION_POINTS)).toBeNull();
    const { extensions } = new x509.X509Crl(list.replace(/X509 CRL/g, 'CRL'));
    expect(extensions.map(({ type }) => type)).not.toContain(SCOPE);
  });
});
