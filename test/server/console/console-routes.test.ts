// The console as the server serves it: what a browser gets before any script runs.
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KIB } from '../../../shared/base/units.js';
import { startFleet, type TestFleet } from '../../support/fleet-server.js';

const FIRST_LOAD_MAX_BYTES = 150 * KIB;

let fleet: TestFleet;
let html: string;
let paths: string[];
beforeAll(async () => {
  fleet = await startFleet();
  html = await (await fetch(`${fleet.server.address}/console`)).text();
  paths = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]!);
});
afterAll(async () => {
  await fleet.close();
});

const get = (path: string, init?: RequestInit): Promise<Response> =>
  fetch(`${fleet.server.address}${path}`, init);

describe('the page', () => {
  it('is_the_same_at_every_path_below_the_console', async () => {
    for (const path of ['/console/rollouts/ro-1', '/console/devices?group=a']) {
      const response = await get(path);
      expect([response.status, await response.text()]).toEqual([200, html]);
    }
  });

  it('forbids_inline_script_and_style_foreign_resources_and_frames', async () => {
    const response = await get('/console/rollouts');
    const policy = response.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("style-src 'self';");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain('unsafe');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('cache-control')).toBe('no-store');
  });

  it('has_no_inline_script_or_style_and_names_only_files_of_this_server', () => {
    expect(html).not.toMatch(/<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)/);
    expect(paths).toHaveLength(3);
    for (const path of paths)
      expect(path).toMatch(/^\/console\/assets\/(console|icon)-[A-Z0-9]{8}\./);
  });

  it('is_where_the_root_of_the_server_leads', async () => {
    const response = await get('/', { redirect: 'manual' });
    expect([response.status, response.headers.get('location')]).toEqual([302, '/console']);
  });
});

describe('its files', () => {
  it('are_kept_for_ever_because_their_names_carry_their_content', async () => {
    for (const path of paths) {
      const response = await get(path);
      expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
      expect(response.headers.get('content-type')).toMatch(
        /^(?:text\/(?:javascript|css)|image\/svg\+xml)/,
      );
    }
  });

  it('are_compressed_for_those_who_take_it', async () => {
    const plain = await (
      await get(paths[0]!, { headers: { 'accept-encoding': 'identity' } })
    ).text();
    const { payload } = await rawGet(paths[0]!);
    expect(gunzipSync(payload).toString('utf8')).toBe(plain);
  });

  it('are_at_most_150_kib_at_the_first_load', async () => {
    const sizes = await Promise.all(paths.map(async (path) => (await rawGet(path)).payload.length));
    const total = sizes.reduce((sum, size) => sum + size, html.length);
    console.log(`console: first load ${(total / KIB).toFixed(1)} KiB compressed`);
    expect(total).toBeLessThan(FIRST_LOAD_MAX_BYTES);
  });

  it('that_do_not_exist_are_not_found', async () => {
    for (const name of ['console-00000000.js', '..%2f..%2fpackage.json'])
      expect((await get(`/console/assets/${name}`)).status).toBe(404);
  });
});

/** Without the decompression of fetch. */
async function rawGet(path: string): Promise<{ payload: Buffer }> {
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    const url = `${fleet.server.address}${path}`;
    request(url, { headers: { 'accept-encoding': 'gzip' } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        expect(response.headers['content-encoding']).toBe('gzip');
        resolve({ payload: Buffer.concat(chunks) });
      });
    })
      .on('error', reject)
      .end();
  });
}
