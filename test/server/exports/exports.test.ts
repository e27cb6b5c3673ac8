// Security events to the outside: real sockets, a real receiver that fails first, and events that
// try to forge lines.
import { createHmac } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer as createHttp, type IncomingMessage } from 'node:http';
import { createServer as createTcp, type AddressInfo } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cef, rfc5424 } from '../../../server/exports/event-formats.js';
import { SecurityExporter, type ExportTarget } from '../../../server/exports/exporter.js';
import { syslogTarget } from '../../../server/exports/syslog.js';
import { webhookSecret, webhookTarget } from '../../../server/exports/webhook.js';
import type { SecurityEvent, SecurityEventChangeRow } from '../../../server/interfaces.js';
import { Store } from '../../../server/store/store.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { Proxies } from '../../../shared/platform/proxies.js';
import { startFleet } from '../../support/fleet-server.js';
import { scrape } from '../../support/metrics.js';
import { tempFolder } from '../../support/temp-folders.js';

const row = (change: Partial<SecurityEventChangeRow> = {}): SecurityEventChangeRow => ({
  id: 7,
  sourceKind: 'device',
  source: 'dev-1',
  code: 'file_digest',
  detail: 'model.onnx',
  count: 2,
  firstAt: 0,
  lastAt: 1000,
  revision: 3,
  ...change,
});

const event = (detail: string): SecurityEvent => ({
  source: { kind: 'server' },
  code: 'file_digest',
  detail,
  count: 1,
  firstAt: 1,
  lastAt: 1,
});

describe('formats', () => {
  const HOSTILE = 'a"]b\\c|d=e\r\n<34>1 forged\u2028\u0000\u0085x';

  it('an_event_is_a_syslog_line_with_structured_data', () => {
    expect(rfc5424('srv')(row())).toBe(
      '<36>1 1970-01-01T00:00:01.000Z srv linnet-server - security [linnet@32473 ' +
        'code="file_digest" source="dev-1" sourceKind="device" count="2" id="7"] model.onnx',
    );
  });

  it('a_hostile_event_ends_no_syslog_line_and_no_field', () => {
    const hostile = row({ code: HOSTILE, source: HOSTILE, detail: HOSTILE });
    const line = rfc5424('srv\n<0>1')(hostile);
    expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
    const value = /(?:[^"\\\]]|\\["\\\]])*/.source;
    const head = '<36>1 \\S+ srv<0>1 linnet-server - security \\[linnet@32473 ';
    const data = new RegExp(`^${head}((?:\\w+="${value}" ?)+)\\] `);
    expect(data.exec(line)?.[1]).toContain('code="a\\"\\]b\\\\c|d=e  <34>1 forged   x"');
  });

  it('a_hostile_event_starts_no_cef_header_and_no_extension', () => {
    const hostile = row({ code: HOSTILE, source: HOSTILE, detail: HOSTILE });
    const line = cef('srv')(hostile);
    expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
    const head = line.slice(line.indexOf('CEF:0'));
    const parts = head.split(/(?<!\\)\|/);
    expect(parts.slice(0, 4)).toEqual(['CEF:0', 'Linnet', 'fleet server', '1']);
    // Bars need no escape behind the header, nor equals signs in it.
    expect(
      parts
        .slice(7)
        .join('|')
        .match(/(?<!\\)=/g),
    ).toHaveLength(8);
  });

  it('a_long_text_is_cut_before_it_is_escaped', () => {
    const line = rfc5424('srv')(row({ source: ']'.repeat(5_000) }));
    expect(line).toContain(`source="${'\\]'.repeat(limits.exportedTextMaxChars)}" `);
  });
});

describe('syslog over real sockets', () => {
  const two = [row(), row({ detail: 'zweite: ä' })];
  const lines = two.map(rfc5424('srv'));
  const options = { host: '127.0.0.1', ca: null, format: rfc5424('srv') };

  it('one_datagram_an_event_over_udp', async () => {
    const got: string[] = [];
    const socket = createSocket('udp4');
    const both = new Promise<void>((resolve) =>
      socket.on('message', (message) => {
        got.push(message.toString('utf8'));
        if (got.length === 2) resolve();
      }),
    );
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    await syslogTarget({ ...options, transport: 'udp', port: socket.address().port }).send(two);
    await both;
    socket.close();
    expect(got).toEqual(lines);
  });

  it('a_long_page_over_udp_adds_one_listener_to_its_socket', async () => {
    const warnings: string[] = [];
    const note = ({ name }: Error): void => void warnings.push(name);
    process.on('warning', note);
    const socket = createSocket('udp4').on('message', () => {});
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const target = syslogTarget({ ...options, transport: 'udp', port: socket.address().port });
    await target.send(Array.from({ length: 10 }, () => two).flat());
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', note);
    socket.close();
    expect(warnings).toEqual([]);
  });

  it('octet_counting_over_tcp_and_a_fault_when_nobody_listens', async () => {
    let text = '';
    const server = createTcp((socket) => socket.on('data', (some) => (text += some.toString())));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const target = syslogTarget({ ...options, transport: 'tcp', port });
    await target.send(two);
    await new Promise((resolve) => server.close(resolve));
    expect(text).toBe(lines.map((line) => `${Buffer.byteLength(line)} ${line}`).join(''));
    await expect(target.send(two)).rejects.toMatchObject({ code: 'server_unreachable' });
  });
});

interface Received {
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

async function receiver(statuses: number[]) {
  const received: Received[] = [];
  const server = createHttp((request, response) => {
    let body = '';
    request.on('data', (some: Buffer) => (body += some.toString()));
    request.on('end', () => {
      received.push({ headers: request.headers, body });
      response.writeHead(statuses.shift() ?? 204, { location: '/elsewhere' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = (): Promise<unknown> => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { received, close, url: `http://127.0.0.1:${port}/hook` };
}

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

function verified({ headers, body }: Received): boolean {
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
  const mac = createHmac('sha256', Buffer.alloc(32, 5)).update(signed).digest('base64');
  return headers['webhook-signature'] === `v1,${mac}`;
}

it('a_receiver_that_fails_first_gets_every_event_again_signed_under_the_same_id', async () => {
  const hook = await receiver([500, 302, 204]);
  const target = webhookTarget({
    url: hook.url,
    secret: webhookSecret(`${SECRET}\n`),
    clock: realClock,
    proxies: new Proxies({}),
  });
  await expect(target.send([row()])).rejects.toMatchObject({ code: 'server_unreachable' });
  await expect(target.send([row()])).rejects.toMatchObject({ code: 'server_unreachable' });
  await target.send([row()]);
  await hook.close();
  expect(hook.received.map(verified)).toEqual([true, true, true]);
  expect(new Set(hook.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  expect(JSON.parse(hook.received[2]?.body ?? '')).toMatchObject({
    events: [{ code: 'file_digest', detail: 'model.onnx', lastAt: '1970-01-01T00:00:01.000Z' }],
  });
});

it('a_short_secret_is_refused', () => {
  expect(() => webhookSecret('whsec_YQ==')).toThrow(/whsec_/);
  expect(() => webhookSecret('a text of more than twenty-four bytes')).toThrow(/whsec_/);
});

/** An exporter on a clock that the test moves: `turn` runs the next turn to its end. */
function exporterOver(store: Store, send: ExportTarget['send']) {
  const counted = { sent: 0, dropped: 0, failed: 0 };
  let timer: (() => void) | null = null;
  const pauses: number[] = [];
  let wake = (): void => {};
  const exporter = new SecurityExporter({
    target: { name: 'test', send },
    events: store.security,
    marks: store.marks,
    random: realRandom,
    log: silentLog,
    clock: {
      now: () => 0,
      monotonic: () => 0,
      after: (ms, fn) => {
        timer = fn;
        pauses.push(ms);
        wake();
        return () => (timer = null);
      },
    },
    counts: {
      sent: (_target, events) => (counted.sent += events),
      dropped: (_target, changes) => (counted.dropped += changes),
      failed: () => (counted.failed += 1),
      behind: () => {},
    },
  });
  const turn = async (): Promise<void> => {
    const done = new Promise<void>((resolve) => (wake = resolve));
    if (timer === null) exporter.start();
    else timer();
    await done;
  };
  return { exporter, turn, counted, pauses: () => pauses.splice(0) };
}

describe('the exporter', () => {
  it('begins_at_the_end_and_a_restart_goes_on_where_the_last_one_stopped', async () => {
    const store = await Store.open(':memory:');
    await store.security.add([event('before the first start')]);
    const got: string[] = [];
    let fails = false;
    const send: ExportTarget['send'] = (events) => {
      if (fails) return Promise.reject(new Error('down'));
      got.push(...events.map(({ detail }) => detail));
      return Promise.resolve();
    };
    const first = exporterOver(store, send);
    await first.turn();
    await store.security.add([event('a')]);
    await first.turn();
    fails = true;
    await store.security.add([event('b')]);
    await first.turn();
    await first.exporter.stop();
    fails = false;
    const second = exporterOver(store, send);
    await second.turn();
    await second.exporter.stop();
    await store.close();
    expect(got).toEqual(['a', 'b']);
    expect([first.counted.failed, second.counted.sent]).toEqual([1, 1]);
  });

  it('a_target_that_stays_down_is_tried_less_and_less', async () => {
    const store = await Store.open(':memory:');
    const { exporter, turn, pauses } = exporterOver(store, () => Promise.reject(new Error('x')));
    await turn();
    await store.security.add([event('a')]);
    pauses();
    for (let tries = 0; tries < 12; tries += 1) await turn();
    await exporter.stop();
    await store.close();
    const waited = pauses();
    expect(waited[0]).toBeLessThanOrEqual(limits.exportBackoffFirstMs);
    expect(waited.at(-1)).toBeGreaterThanOrEqual(limits.exportBackoffMaxMs / 2);
    expect(Math.max(...waited)).toBeLessThanOrEqual(limits.exportBackoffMaxMs);
  });

  it('one_that_is_too_far_behind_goes_on_with_the_newest_and_counts_the_rest', async () => {
    const store = await Store.open(':memory:');
    const { exporter, turn, counted } = exporterOver(store, () => Promise.resolve());
    await store.marks.set('export test', 5);
    await store.marks.set('security revision', limits.exportBehindMaxCount + 12);
    await turn();
    await exporter.stop();
    await store.close();
    expect(counted.dropped).toBe(7);
  });

  it('a_repeat_is_sent_again_with_its_new_count', async () => {
    const store = await Store.open(':memory:');
    const got: number[] = [];
    const { exporter, turn } = exporterOver(store, (events) => {
      got.push(...events.map(({ count }) => count));
      return Promise.resolve();
    });
    await turn();
    for (let repeat = 0; repeat < 2; repeat += 1) {
      await store.security.add([event('same')]);
      await turn();
    }
    await exporter.stop();
    await store.close();
    expect(got).toEqual([1, 2]);
  });
});

it('a_wrong_token_at_a_real_server_reaches_a_receiver_that_was_down_at_first', async () => {
  const hook = await receiver([503]);
  const secretFile = join(tempFolder(), 'webhook.secret');
  writeFileSync(secretFile, SECRET);
  const fleet = await startFleet(`[webhook]\nurl = "${hook.url}"\nsecret_file = "${secretFile}"\n`);
  const wrong = { headers: { authorization: 'Bearer lnt_wrong' } };
  while (hook.received.length < 2) {
    await fetch(`${fleet.server.address}/api/v1/devices`, wrong);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  const counted = await scrape(fleet);
  await fleet.close();
  await hook.close();
  expect(hook.received.every(verified)).toBe(true);
  expect(hook.received[1]?.body).toContain('auth_missing');
  expect(counted.get('linnet_export_failures_total{exporter="webhook"}')).toBe(1);
});
