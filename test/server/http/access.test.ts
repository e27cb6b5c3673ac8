// Who gets in and what they may do: enrolment, roles, tokens, the audit chain; and the shape of the
// API.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Type } from 'typebox';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FleetClient } from '../../../firmware-tools/fleet/fleet-client.js';
import type { AuditRow } from '../../../server/interfaces.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import {
  AuditHead,
  AuditPage,
  Device,
  DevicePage,
  NewToken,
  RevokedTokens,
  Self,
} from '../../../shared/protocol/operator-api.js';
import {
  clientAs,
  deviceGet,
  enrolBody,
  enrolled,
  makeClaim,
  newDevice,
  post,
  publish,
  securityEvents,
  startFleet,
  type TestFleet,
} from '../../support/fleet-server.js';

let fleet: TestFleet;
beforeAll(async () => {
  fleet = await startFleet();
});
afterAll(async () => {
  await fleet.close();
});

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no fault',
    (error: unknown) => (isFault(error) ? error.code : String(error)),
  );

describe('enrolment', () => {
  it('claim_enrols_into_its_group_and_again_answers_the_same', async () => {
    const device = newDevice('with-claim');
    const body = await enrolBody(device, { claim: await makeClaim(fleet, 'canary') });
    const first = await post(fleet, '/device/v1/enrol', body);
    expect(first).toEqual({
      status: 200,
      body: { device: device.id, status: 'enrolled', mqttPort: fleet.server.mqttPort },
    });
    expect(await post(fleet, '/device/v1/enrol', body)).toEqual(first);
    expect((await fleet.store.devices.get(device.id))?.group).toBe('canary');
  });

  it('claim_admits_exactly_as_many_devices_as_it_has_uses', async () => {
    const claim = await makeClaim(fleet, 'fleet', 2);
    const attempts = [1, 2, 3, 4].map(async (n) =>
      post(fleet, '/device/v1/enrol', await enrolBody(newDevice(`racer-${n}`), { claim })),
    );
    const statuses = (await Promise.all(attempts)).map(({ status, body }) =>
      status === 200 ? body['status'] : body['code'],
    );
    expect(statuses.sort()).toEqual(['enrolled', 'enrolled', 'pending', 'pending']);
  });

  it('without_claim_it_waits_for_approval', async () => {
    const device = newDevice('pending-one');
    expect((await post(fleet, '/device/v1/enrol', await enrolBody(device))).body['status']).toBe(
      'pending',
    );
    expect((await deviceGet(fleet, device, '/device/v1/director/timestamp.json')).status).toBe(403);
    const { id } = device;
    expect((await fleet.admin.request('POST', `/devices/${id}/approve`, Device)).status).toBe(
      'enrolled',
    );
    expect((await post(fleet, '/device/v1/enrol', await enrolBody(device))).body['status']).toBe(
      'enrolled',
    );
    expect((await deviceGet(fleet, device, '/device/v1/director/timestamp.json')).status).toBe(200);
  });

  it('forged_signature_is_refused_and_recorded', async () => {
    const device = newDevice('forged');
    const answer = await post(
      fleet,
      '/device/v1/enrol',
      await enrolBody(device, { signer: newDevice('thief').key }),
    );
    expect([answer.status, answer.body['code']]).toEqual([401, 'auth_missing']);
    expect(await fleet.store.devices.get(device.id)).toBeNull();
    const events = await securityEvents(fleet);
    expect(events.some((event) => event.detail.includes('enrolment of forged'))).toBe(true);
  });

  it('revoked_device_stays_out_and_cannot_be_approved', async () => {
    const device = await enrolled(fleet, 'to-revoke');
    // A token that the server has verified is refused at once as well.
    const token = await device.token('http', fleet);
    const known = { ...device, token: () => Promise.resolve(token) };
    const poll = async (): Promise<number> =>
      (await deviceGet(fleet, known, '/device/v1/director/timestamp.json')).status;
    expect([await poll(), await poll()]).toEqual([200, 200]);
    expect((await fleet.admin.request('POST', '/devices/to-revoke/revoke', Device)).status).toBe(
      'revoked',
    );
    expect(await poll()).toBe(403);
    expect((await deviceGet(fleet, device, '/device/v1/director/timestamp.json')).status).toBe(403);
    expect(
      (
        await post(
          fleet,
          '/device/v1/enrol',
          await enrolBody(device, { claim: await makeClaim(fleet) }),
        )
      ).body['status'],
    ).toBe('revoked');
    expect(await codeOf(fleet.admin.request('POST', '/devices/to-revoke/approve', Device))).toBe(
      'conflict',
    );
  });

  it('operators_token_is_no_device_and_devices_token_no_operator', async () => {
    const device = await enrolled(fleet, 'cross');
    const asDevice = await fetch(`${fleet.server.address}/device/v1/director/timestamp.json`, {
      headers: { authorization: `Bearer ${fleet.adminToken}` },
    });
    const asOperator = await deviceGet(fleet, device, '/api/v1/devices');
    expect([asDevice.status, asOperator.status]).toEqual([401, 401]);
  });
});

describe('own tokens', () => {
  it('a_viewer_revokes_the_others_of_its_name_then_all_and_nobody_elses', async () => {
    const tokenOf = async (name: string): Promise<FleetClient> => {
      const made = { name, role: 'viewer' };
      const { token } = await fleet.admin.request('POST', '/tokens', NewToken, made);
      return new FleetClient({ server: fleet.server.address, token });
    };
    const [mine, lost, another] = [
      await tokenOf('own'),
      await tokenOf('own'),
      await tokenOf('someone'),
    ];
    const self = (client: FleetClient) => client.request('GET', '/self', Self);
    const revoke = (keepThis: boolean) =>
      mine.request('POST', '/self/revoke', RevokedTokens, { keepThis });
    expect(await self(mine)).toEqual({ name: 'own', role: 'viewer', tokens: 2 });
    expect(await revoke(true)).toEqual({ revoked: 1 });
    expect(await revoke(true)).toEqual({ revoked: 0 });
    expect(await codeOf(self(lost))).toBe('auth_missing');
    expect((await self(mine)).tokens).toBe(1);
    expect(await revoke(false)).toEqual({ revoked: 1 });
    expect(await codeOf(self(mine))).toBe('auth_missing');
    expect((await self(another)).name).toBe('someone');
  });
});

describe('roles', () => {
  it('each_role_may_do_what_it_may_and_no_more', async () => {
    const device = await enrolled(fleet, 'role-target');
    const [viewer, publisher, operator] = [
      await clientAs(fleet, 'viewer'),
      await clientAs(fleet, 'publisher'),
      await clientAs(fleet, 'operator'),
    ];
    const change = (client: FleetClient): Promise<string> =>
      codeOf(client.request('PATCH', `/devices/${device.id}`, Device, { group: 'moved' }));
    const publishing = (client: FleetClient): Promise<string> =>
      codeOf(
        client.request('POST', '/releases', Type.Unknown(), { envelope: 'e30=', targets: 'e30=' }),
      );
    expect(await codeOf(viewer.request('GET', '/devices', DevicePage))).toBe('no fault');
    expect([await publishing(viewer), await change(viewer), await change(publisher)]).toEqual([
      'auth_denied',
      'auth_denied',
      'auth_denied',
    ]);
    expect(
      await codeOf(
        operator.request('POST', '/tokens', Type.Unknown(), { name: 'x', role: 'admin' }),
      ),
    ).toBe('auth_denied');
    expect(await publishing(publisher)).toBe('manifest_undecodable');
    expect(await change(operator)).toBe('no fault');
    const audit = await fleet.admin.list('/audit', AuditPage);
    expect(
      audit.filter((entry) => entry.actor === 'a-viewer').map((entry) => entry.action),
    ).toEqual(['auth_denied', 'auth_denied']);
    expect(
      audit.filter((entry) => entry.actor === 'a-publisher').map((entry) => entry.action),
    ).toEqual(['release.publish.refused', 'release.publish', 'auth_denied']);
  });

  it('a_token_that_asks_again_and_again_for_what_it_may_not_adds_one_entry', async () => {
    const viewer = await clientAs(fleet, 'viewer');
    const before = await fleet.store.audit.newest();
    for (let seq = 1; seq <= 20; seq++)
      expect(await codeOf(viewer.request('GET', `/audit/${seq}`, Type.Unknown()))).toBe(
        'auth_denied',
      );
    expect(await fleet.store.audit.newest()).toBe(before + 1);
  });

  it('revoked_token_is_refused_and_unknown_ones_too', async () => {
    const late = await clientAs(fleet, 'viewer');
    await fleet.admin.request('POST', '/tokens/a-viewer/revoke', Type.Unknown());
    expect(await codeOf(late.request('GET', '/devices', Type.Unknown()))).toBe('auth_missing');
    expect(
      await codeOf(
        new FleetClient({ server: fleet.server.address, token: `lnt_${'A'.repeat(43)}` }).request(
          'GET',
          '/devices',
          Type.Unknown(),
        ),
      ),
    ).toBe('auth_missing');
  });

  it('tokens_and_claims_are_never_stored_in_clear', async () => {
    const claim = await makeClaim(fleet);
    const data = join(fleet.folder, 'data');
    for (const name of await readdir(data)) {
      const bytes = await readFile(join(data, name));
      expect([name, bytes.includes(fleet.adminToken), bytes.includes(claim)]).toEqual([
        name,
        false,
        false,
      ]);
    }
  });
});

describe('releases over http', () => {
  it('a_published_release_is_listed_and_its_files_resume', async () => {
    const release = await publish(fleet, '1.0.0');
    const [digest, bytes] = [...release.files][0] as [string, Uint8Array];
    const url = `${fleet.server.address}/repo/image/files/${digest}`;
    const whole = await fetch(url);
    expect([whole.status, Buffer.from(await whole.arrayBuffer()).equals(bytes)]).toEqual([
      200,
      true,
    ]);
    const rest = await fetch(url, { headers: { range: 'bytes=100-' } });
    expect([rest.status, rest.headers.get('content-range')]).toEqual([
      206,
      `bytes 100-${bytes.length - 1}/${bytes.length}`,
    ]);
    expect(Buffer.from(await rest.arrayBuffer()).equals(bytes.subarray(100))).toBe(true);
    expect((await fetch(url, { headers: { range: `bytes=${bytes.length}-` } })).status).toBe(416);
    const targets = `${fleet.server.address}/repo/image/targets`;
    const target = `${targets}/digits/1.0.0/${release.digest}.release.dsse.json`;
    expect(Buffer.from(await (await fetch(target)).arrayBuffer()).equals(release.envelope)).toBe(
      true,
    );
  });

  it('a_file_that_is_not_its_digest_is_refused', async () => {
    const digest = 'ab'.repeat(32);
    const root = join(fleet.folder, 'repo', 'server', 'metadata', 'image', '1.root.json');
    const bytes = await readFile(root);
    expect(await codeOf(fleet.admin.putFile(digest, [bytes], bytes.length))).toBe('file_digest');
    expect((await fetch(`${fleet.server.address}/repo/image/files/${digest}`)).status).toBe(404);
  });
});

describe('the api', () => {
  it('openapi_document_names_every_route_with_schemas', async () => {
    const document = (await (await fetch(`${fleet.server.address}/openapi.json`)).json()) as {
      openapi: string;
      paths: Record<
        string,
        Record<
          string,
          {
            summary?: string;
            responses: Record<string, { content?: unknown }>;
            requestBody?: unknown;
            security?: unknown[];
          }
        >
      >;
    };
    expect(document.openapi).toBe('3.1.0');
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        name: `${method} ${path}`,
        path,
        method,
        operation,
      })),
    );
    expect(operations.length).toBeGreaterThan(30);
    const bare = operations.filter(
      ({ operation }) =>
        operation.summary === undefined || operation.responses['200'] === undefined,
    );
    expect(bare.map(({ name }) => name)).toEqual([]);
    const open = operations.filter(
      ({ path, operation }) => path.startsWith('/api/') && operation.security === undefined,
    );
    expect(open.map(({ name }) => name)).toEqual([]);
    const bodiless = operations.filter(
      ({ path, method, operation }) =>
        path.startsWith('/api/') &&
        ['post', 'patch'].includes(method) &&
        operation.requestBody === undefined,
    );
    expect(bodiless.map(({ name }) => name)).toEqual([]);
  });

  it('every_complaint_about_a_request_comes_at_once_in_one_shape', async () => {
    const answer = await post(fleet, '/device/v1/enrol', {
      name: 'a b',
      hardware: 'UPPER',
      extra: 1,
    });
    expect(answer.status).toBe(400);
    expect(Object.keys(answer.body).sort()).toEqual(['code', 'error', 'todo']);
    for (const part of ['name', 'hardware', 'extra', 'publicKey', 'components', 'signature'])
      expect(answer.body['error']).toContain(part);
  });

  it('unknown_route_bad_json_and_long_body_have_the_same_shape', async () => {
    const get = await fetch(`${fleet.server.address}/nowhere`);
    const badJson = await fetch(`${fleet.server.address}/device/v1/enrol`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{',
    });
    const long = await fetch(`${fleet.server.address}/device/v1/enrol`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: 'x'.repeat(9 * 1024 * 1024),
    });
    const codes = await Promise.all(
      [get, badJson, long].map(async (response) => [
        response.status,
        ((await response.json()) as { code: string }).code,
      ]),
    );
    expect(codes).toEqual([
      [404, 'not_found'],
      [400, 'message_undecodable'],
      [413, 'request_too_large'],
    ]);
  });
});

describe('the audit log', () => {
  it('the_chain_holds_and_a_changed_or_removed_row_breaks_it', async () => {
    await makeClaim(fleet);
    const good = await fleet.admin.request('GET', '/audit/head', AuditHead);
    expect(good.brokenAt).toBeNull();
    expect(good.entries).toBeGreaterThan(5);
    const { db } = fleet.store;
    const { detail } = (await fleet.store.audit.find(3)) as AuditRow;
    const setDetail = (text: string) =>
      db.updateTable('audit').set({ detail: text }).where('seq', '=', 3).execute();
    await setDetail(`${detail} `);
    expect((await fleet.admin.request('GET', '/audit/head', AuditHead)).brokenAt).toBe(3);
    await setDetail(detail);
    expect((await fleet.admin.request('GET', '/audit/head', AuditHead)).brokenAt).toBeNull();
    await db.deleteFrom('audit').where('seq', '=', 2).execute();
    expect((await fleet.admin.request('GET', '/audit/head', AuditHead)).brokenAt).toBe(2);
  });
});
