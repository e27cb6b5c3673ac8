// What only the store in an OCI registry promises, against a strict double and, where it is
// installed, Debian's docker-registry: manifests that keep files from garbage collection, logins,
// redirects, chunks that go on after a broken connection with bounded memory, clear faults. The
// clock passes waits at once and fires the limits of idleness only when told to. Over 400 lines
// because the store and its double are prepared the same way for every situation.
import http from 'node:http';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OciArtifactStore } from '../../../server/artifacts/oci.js';
import { OciLogin } from '../../../server/artifacts/oci-login.js';
import { ociCredentials, ociLocation } from '../../../server/artifacts/oci-settings.js';
import { checkTogether, serverSettings } from '../../../server/config.js';
import type { ArtifactStore } from '../../../server/interfaces.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { reason } from '../../../shared/base/fault-codes.js';
import { silentLog, type Clock, type Log } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { MIB } from '../../../shared/base/units.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { Proxies } from '../../../shared/platform/proxies.js';
import { DockerRegistry, hasDockerRegistry } from '../../support/docker-registry.js';
import {
  OCI_LOGIN,
  OciDouble,
  openOci,
  type OciSeen,
  type OciTrouble,
} from '../../support/oci-double.js';

let double: OciDouble;
let idle: Set<() => void>;
let nowMs: number;
let folder: string;
const open: ArtifactStore[] = [];

const clock: Clock = {
  now: () => nowMs,
  monotonic: () => nowMs,
  after: (ms, fn) => {
    if (ms < limits.storeIdleMs) {
      setImmediate(fn);
      return () => {};
    }
    idle.add(fn);
    return () => idle.delete(fn);
  },
};
const random = { bytes: (count: number) => new Uint8Array(count), fraction: () => 0.5 };

beforeEach(async () => {
  idle = new Set();
  nowMs = Date.UTC(2026, 10, 2);
  folder = mkdtempSync(join(tmpdir(), 'linnet-oci-'));
  double = await new OciDouble().start();
});
afterEach(async () => {
  for (const store of open.splice(0)) store.close?.();
  await double.stop();
  rmSync(folder, { recursive: true });
});

type Options = Partial<Parameters<typeof OciArtifactStore.open>[0]>;
async function opened(options: Options = {}): Promise<OciArtifactStore> {
  const store = await openOci(double.host, { clock, random, ...options });
  open.push(store);
  double.seen.length = 0;
  return store;
}

const SMALL = Buffer.from('a small model');
const LARGE = Buffer.alloc(2 * limits.ociChunkBytes + 5, 'linnet');

async function* inChunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += MIB)
    yield await Promise.resolve(bytes.subarray(at, at + MIB));
}
const put = (store: ArtifactStore, bytes: Uint8Array): Promise<{ stored: boolean }> =>
  store.put(sha256(bytes), inChunks(bytes), { maxBytes: 100 * MIB });
const read = async (store: ArtifactStore, bytes: Uint8Array, start = 0): Promise<Buffer> => {
  const found = await store.get(sha256(bytes), { start, end: null });
  return Buffer.concat((await found?.stream.toArray()) ?? []);
};
const blobOf = (bytes: Uint8Array): string => `sha256:${sha256(bytes)}`;

/** Trouble with the first requests that match. */
function troubled(matches: (seen: OciSeen) => boolean, trouble: OciTrouble, times = 1): void {
  let left = times;
  double.trouble = (seen) => (matches(seen) && left-- > 0 ? trouble : null);
}
const isChunk = ({ method }: OciSeen): boolean => method === 'PATCH';
const isEnd = ({ method, path }: OciSeen): boolean =>
  method === 'PUT' && path.startsWith('blobs/uploads/');

describe('what a registry keeps', () => {
  test('file_is_a_blob_by_its_digest_that_a_tagged_manifest_names', async () => {
    const store = await opened();
    await put(store, SMALL);
    expect(double.blobs.get(blobOf(SMALL))).toEqual(SMALL);
    const digest = double.tags.get(`file-${sha256(SMALL)}`) ?? '';
    expect(JSON.parse(double.manifests.get(digest)?.toString() ?? '')).toEqual({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      artifactType: 'application/vnd.linnet.file',
      config: {
        mediaType: 'application/vnd.oci.empty.v1+json',
        digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
        size: 2,
      },
      layers: [{ mediaType: 'application/octet-stream', digest: blobOf(SMALL), size: 13 }],
    });
  });

  test('blob_without_a_manifest_is_absent_and_is_stored_again', async () => {
    const store = await opened();
    double.blobs.set(blobOf(SMALL), SMALL);
    expect(await store.stat(sha256(SMALL))).toBeNull();
    expect(await put(store, SMALL)).toEqual({ stored: true });
    expect(await store.stat(sha256(SMALL))).not.toBeNull();
  });

  test('blob_that_a_manifest_names_and_that_is_gone_is_stored_again', async () => {
    const store = await opened();
    await put(store, SMALL);
    double.blobs.delete(blobOf(SMALL));
    expect(await put(store, SMALL)).toEqual({ stored: true });
    expect(await read(store, SMALL)).toEqual(SMALL);
  });

  test('registry_that_deletes_no_blobs_loses_the_manifest_and_that_is_a_deletion', async () => {
    const store = await opened();
    double.deletesBlobs = false;
    await put(store, SMALL);
    expect(await store.delete(sha256(SMALL))).toBe(true);
    expect([double.tags.size, double.manifests.size]).toEqual([0, 0]);
    expect(await store.stat(sha256(SMALL))).toBeNull();
  });

  test('registry_that_deletes_nothing_says_so', async () => {
    const store = await opened();
    await put(store, SMALL);
    troubled(({ method }) => method === 'DELETE', { kind: 'status', status: 405, code: 'NOPE' });
    await expect(store.delete(sha256(SMALL))).rejects.toMatchObject({
      code: 'artifact_store_refused',
      detail: expect.stringContaining('DELETE answered 405 (NOPE of the double)') as string,
    });
  });

  test('list_follows_pages_and_leaves_out_tags_of_others', async () => {
    const store = await opened();
    const files = Array.from({ length: 8 }, (_, index) => Buffer.from(`file ${index}`));
    for (const file of files) await put(store, file);
    double.tags.set('latest', [...double.tags.values()][0] ?? '');
    const found: string[] = [];
    for await (const { digest } of store.list()) found.push(digest);
    expect(found.sort()).toEqual(files.map(sha256).sort());
  });

  test('manifest_of_another_file_at_the_tag_is_refused', async () => {
    const store = await opened();
    await put(store, SMALL);
    double.tags.set(`file-${sha256('x')}`, double.tags.get(`file-${sha256(SMALL)}`) ?? '');
    await expect(store.stat(sha256('x'))).rejects.toMatchObject({ code: 'artifact_store_refused' });
  });
});

describe('uploads', () => {
  test('large_file_goes_in_chunks_and_comes_back', async () => {
    const store = await opened();
    await put(store, LARGE);
    const lengths = double.seen.filter(isChunk).map(({ headers }) => headers['content-length']);
    // The last is the config of all manifests.
    expect(lengths).toEqual([...Array<string>(2).fill(`${limits.ociChunkBytes}`), '5', '2']);
    expect((await read(store, LARGE)).equals(LARGE)).toBe(true);
  });

  test('chunks_are_as_long_as_the_registry_asks_for', async () => {
    const store = await opened();
    double.chunkMinBytes = limits.ociChunkBytes + 1;
    await put(store, LARGE);
    const [first] = double.seen.filter(isChunk);
    expect(first?.headers['content-length']).toBe(`${limits.ociChunkBytes + 1}`);
    double.chunkMinBytes = limits.ociChunkMaxBytes + 1;
    await expect(put(store, SMALL)).rejects.toMatchObject({ code: 'artifact_store_refused' });
  });

  test.each(['cut within', 'cut after work'] as const)(
    'chunk_whose_connection_was_%s_goes_on_where_the_registry_stopped',
    async (kind) => {
      const store = await opened();
      let chunks = 0;
      double.trouble = (seen) => (isChunk(seen) && ++chunks === 2 ? { kind } : null);
      await put(store, LARGE);
      expect((await read(store, LARGE)).equals(LARGE)).toBe(true);
      // Less than a chunk was sent again.
      expect(double.received).toBeLessThan(LARGE.length + limits.ociChunkBytes);
    },
  );

  test('end_whose_answer_was_lost_is_an_end', async () => {
    const store = await opened();
    troubled(isEnd, { kind: 'cut after work' });
    expect(await put(store, SMALL)).toEqual({ stored: true });
  });

  test('manifest_that_collides_with_that_of_another_writer_is_put_again', async () => {
    const store = await opened();
    const isManifest = ({ method, path }: OciSeen): boolean =>
      method === 'PUT' && path.startsWith('manifests/');
    troubled(isManifest, { kind: 'status', status: 400, code: 'DIGEST_INVALID' });
    expect(await put(store, SMALL)).toEqual({ stored: true });
    troubled(isManifest, { kind: 'status', status: 400, code: 'MANIFEST_INVALID' });
    await expect(put(store, LARGE)).rejects.toMatchObject({ code: 'artifact_store_refused' });
  });

  test('upload_that_disappeared_is_no_success', async () => {
    const store = await opened();
    double.trouble = (seen) => {
      if (isEnd(seen)) double.uploads.clear();
      return null;
    };
    await expect(put(store, SMALL)).rejects.toMatchObject({ code: 'artifact_store_unreachable' });
    expect(double.tags.size).toBe(0);
  });

  test('registry_that_has_other_bytes_than_were_sent_is_refused', async () => {
    const store = await opened();
    let chunks = 0;
    double.trouble = (seen) => {
      if (!isChunk(seen) || ++chunks !== 2) return null;
      for (const upload of double.uploads.values()) upload.length = 0;
      return { kind: 'status', status: 500, code: 'LOST' };
    };
    await expect(put(store, LARGE)).rejects.toMatchObject({
      detail: expect.stringMatching(/has 0 bytes of an upload/) as string,
    });
  });

  test('upload_that_fails_is_cancelled', async () => {
    const store = await opened();
    const wrong = store.put(sha256('other'), inChunks(LARGE), { maxBytes: 100 * MIB });
    await expect(wrong).rejects.toMatchObject({ code: 'file_digest' });
    expect(double.uploads.size).toBe(0);
    expect([double.blobs.size, double.tags.size]).toEqual([0, 0]);
  });

  test('tries_are_limited', async () => {
    const store = await opened();
    troubled(isChunk, { kind: 'status', status: 503, code: 'BUSY' }, Infinity);
    await expect(put(store, SMALL)).rejects.toMatchObject({ code: 'artifact_store_unreachable' });
    expect(double.seen.filter(isChunk).length).toBe(limits.storeTriesMaxCount);
    expect(double.uploads.size).toBe(0);
  });

  test('upload_of_64_mebibytes_holds_two_chunks_at_most', async () => {
    const store = await opened();
    const [piece, count] = [Buffer.alloc(MIB, 7), 64];
    let [read, most] = [0, 0];
    const stream = (async function* () {
      for (let at = 0; at < count; at += 1) {
        read += piece.length;
        most = Math.max(most, read - double.received);
        yield await Promise.resolve(piece);
      }
    })();
    const digest = sha256(Buffer.alloc(count * MIB, 7));
    await store.put(digest, stream, { maxBytes: 100 * MIB });
    expect(most).toBeLessThanOrEqual(2 * limits.ociChunkBytes);
  });
});

describe('reading', () => {
  test('registry_without_ranges_sends_the_whole_and_the_range_is_cut_out', async () => {
    const store = await opened();
    await put(store, LARGE);
    double.hasRanges = false;
    expect((await read(store, LARGE, 70_001)).equals(LARGE.subarray(70_001))).toBe(true);
    const found = await store.get(sha256(LARGE), { start: 3, end: 8 });
    expect(Buffer.concat((await found?.stream.toArray()) ?? [])).toEqual(LARGE.subarray(3, 9));
    expect(found?.lengthBytes).toBe(LARGE.length);
  });

  test('answer_cut_short_is_a_fault_of_the_stream', async () => {
    const store = await opened();
    await put(store, LARGE);
    troubled(({ path }) => path.startsWith('blobs/sha256'), { kind: 'truncated' });
    await expect(read(store, LARGE)).rejects.toMatchObject({ code: 'artifact_store_unreachable' });
  });

  test('download_waits_for_its_reader', async () => {
    const store = await opened();
    const bytes = Buffer.alloc(32 * MIB, 3);
    double.blobs.set(blobOf(bytes), bytes);
    const found = await store.get(sha256(bytes));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(double.sent).toBeLessThan(16 * MIB);
    found?.stream.destroy();
  });

  test('registry_that_goes_silent_is_given_up', async () => {
    const store = await opened();
    double.trouble = () => ({ kind: 'silent' });
    const asked = store.stat(sha256(SMALL));
    asked.catch(() => {});
    for (let tries = 1; tries <= limits.storeTriesMaxCount; tries += 1) {
      await expect.poll(() => double.seen.length).toBe(tries);
      for (const fire of idle) fire();
    }
    await expect(asked).rejects.toMatchObject({ code: 'artifact_store_unreachable' });
  });
});

describe('logins', () => {
  test.each(['basic', 'bearer'] as const)('registry_asks_for_%s_and_gets_it', async (login) => {
    double.login = login;
    const store = await opened({ credentials: OCI_LOGIN });
    await put(store, LARGE);
    expect((await read(store, LARGE)).equals(LARGE)).toBe(true);
    expect(await store.delete(sha256(LARGE))).toBe(true);
    // Once it is known how, no request is made without.
    expect(double.seen.filter(({ headers }) => headers.authorization === undefined)).toEqual([]);
    expect(double.tokenRequests).toBe(login === 'bearer' ? 1 : 0);
  });

  test('token_is_renewed_before_its_end_and_when_it_is_refused', async () => {
    double.login = 'bearer';
    const store = await opened({ credentials: OCI_LOGIN });
    nowMs += 300_000 - limits.ociTokenMarginMs;
    double.tokens.clear();
    await put(store, SMALL);
    expect(double.tokenRequests).toBe(2);
    double.tokens.clear();
    expect(await read(store, SMALL)).toEqual(SMALL);
    expect(double.tokenRequests).toBe(3);
  });

  test.each(['basic', 'bearer'] as const)('wrong_password_for_%s_ends_the_start', async (login) => {
    double.login = login;
    const credentials = { username: 'fleet', password: 'wr0ng-secret' };
    const error = await opened({ credentials }).catch((refusal: unknown) => refusal);
    expect(error).toMatchObject({ code: 'artifact_store_refused' });
    expect(reason(error)).not.toContain('wr0ng-secret');
    await expect(opened()).rejects.toMatchObject({ code: 'artifact_store_refused' });
  });

  test('token_service_without_tls_gets_no_password_of_a_registry_with_tls', () => {
    const login = new OciLogin({
      location: ociLocation('oci://registry.example/a', { plain_http: false }),
      credentials: OCI_LOGIN,
      clock,
      fetchText: () => Promise.reject(new Error('asked')),
    });
    const challenge = (realm: string): string => `Bearer realm="${realm}",service="x"`;
    for (const realm of ['http://token.example/', 'file:///etc/passwd', ''])
      expect(() => login.learn(challenge(realm), null)).toThrow(/not https/);
    expect(login.learn(challenge('https://token.example/t'), null)).toBe(true);
  });
});

describe('redirects', () => {
  let elsewhere: http.Server;
  let asked: http.IncomingMessage[];
  beforeEach(async () => {
    asked = [];
    elsewhere = http.createServer((request, response) => {
      asked.push(request);
      const digest = /sha256:\w+/.exec(request.url ?? '')?.[0] ?? '';
      const blob = double.blobs.get(digest);
      response.writeHead(blob === undefined ? 404 : 200, { 'content-length': blob?.length ?? 0 });
      response.end(blob);
    });
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
    double.redirect = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
  });
  afterEach(() => new Promise((resolve) => elsewhere.close(resolve)));

  test('registry_that_keeps_its_bytes_elsewhere_is_followed_without_the_login', async () => {
    double.login = 'basic';
    const store = await opened({ credentials: OCI_LOGIN });
    await put(store, SMALL);
    expect(await read(store, SMALL)).toEqual(SMALL);
    expect(asked.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  test('endless_redirects_are_refused', async () => {
    const store = await opened();
    await put(store, SMALL);
    double.redirect = `http://${double.host}/v2/some/models/blobs/${blobOf(SMALL)}#`;
    await expect(read(store, SMALL)).rejects.toMatchObject({
      detail: expect.stringContaining('redirects more than') as string,
    });
  });

  test('absence_behind_a_redirect_is_temporary', async () => {
    const store = await opened();
    await put(store, SMALL);
    elsewhere.removeAllListeners('request');
    elsewhere.on('request', (_request, response: http.ServerResponse) => {
      response.writeHead(404).end();
    });
    await expect(read(store, SMALL)).rejects.toMatchObject({ code: 'artifact_store_unreachable' });
  });
});

describe('devices that are sent to the registry', () => {
  test('link_is_the_address_of_the_blob_where_anybody_may_read', async () => {
    double.login = 'basic';
    double.isPublic = true;
    const store = await opened({ credentials: OCI_LOGIN, links: true });
    await put(store, SMALL);
    const link = store.link(sha256(SMALL)) ?? '';
    expect(link).toBe(`http://${double.host}/v2/some/models/blobs/${blobOf(SMALL)}`);
    const headers = { range: 'bytes=2-' };
    const answer = await fetch(link, { headers });
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(SMALL.subarray(2));
    expect((await opened({ credentials: OCI_LOGIN })).link(sha256(SMALL))).toBeNull();
  });

  test.each(['basic', 'bearer'] as const)(
    'redirects_to_a_registry_that_wants_%s_end_the_start',
    async (login) => {
      double.login = login;
      await expect(opened({ credentials: OCI_LOGIN, links: true })).rejects.toMatchObject({
        code: 'config_invalid',
        detail: expect.stringContaining('answers 401 to who has no secret') as string,
      });
    },
  );

  test('registry_that_does_not_answer_is_a_warning_and_no_links_are_given', async () => {
    const warnings: string[] = [];
    const log: Log = { ...silentLog, warn: (_fields, message) => void warnings.push(message) };
    double.trouble = () => ({ kind: 'status', status: 503, code: 'BUSY' });
    const store = await opened({ links: true, log });
    expect(warnings).toEqual(['the artifact store does not answer']);
    expect(store.link(sha256(SMALL))).toBeNull();
  });

  test('server_that_is_no_registry_ends_the_start', async () => {
    troubled(() => true, { kind: 'status', status: 404, code: 'PAGE' }, Infinity);
    await expect(opened()).rejects.toMatchObject({ code: 'artifact_store_refused' });
  });
});

describe('settings', () => {
  const settingsWith = (line: string) =>
    serverSettings(`data_dir = "/d"\nrepository = "/r"\n${line}\n`, {});

  test('login_comes_from_a_file_or_from_the_environment', () => {
    const file = join(folder, 'login');
    writeFileSync(file, '# robot\nusername = fleet\npassword=a = b c \n');
    expect(ociCredentials(file, {})).toEqual({ username: 'fleet', password: 'a = b c' });
    const env = { LINNET_OCI_USERNAME: 'u', LINNET_OCI_PASSWORD: 'p' };
    expect(ociCredentials(undefined, env)).toEqual({ username: 'u', password: 'p' });
    expect(ociCredentials(undefined, {})).toBeNull();
  });

  test('half_a_login_is_refused_without_showing_it', () => {
    expect(() => ociCredentials(undefined, { LINNET_OCI_PASSWORD: 'hidden' })).toThrow(/together$/);
    const file = join(folder, 'login');
    writeFileSync(file, 'password = hidden\n');
    expect(() => ociCredentials(file, {})).toThrow(/must name username [^:]*password$/);
    writeFileSync(file, 'password = hidden1\npassword = hidden2\nusername = u\n');
    expect(() => ociCredentials(file, {})).toThrow(/names password twice$/);
  });

  test('settings_of_a_registry_belong_to_one', () => {
    expect(() => checkTogether(settingsWith('[oci]\nplain_http = true'))).toThrow(/oci needs/);
    const both = 'artifacts = "oci://r.example:5000/a/b"\nartifacts_redirect = true\n[oci]\n';
    expect(() => checkTogether(settingsWith(both))).not.toThrow();
    const wrong = 'artifacts = "oci://r.example/a"\n[s3]\nregion = "r"\n';
    expect(() => checkTogether(settingsWith(wrong))).toThrow(/s3 needs/);
    const plain = { plain_http: true, ca_file: '/x' };
    expect(() => ociLocation('oci://r.example/a', plain)).toThrow(/of no use/);
    expect(() => ociLocation('oci://r.example:99999/a', { plain_http: true })).toThrow(/no host/);
  });
});

describe.skipIf(!hasDockerRegistry)("Debian's docker-registry", () => {
  let registry: DockerRegistry;
  beforeEach(() => {
    registry = new DockerRegistry();
  });
  afterEach(async () => {
    await registry.stop();
    registry.remove();
  });

  test('garbage_collection_keeps_what_is_stored_and_takes_what_was_deleted', async () => {
    await registry.start();
    const store = await openOci(registry.host);
    open.push(store);
    await put(store, SMALL);
    await put(store, LARGE);
    await store.delete(sha256(SMALL));
    await registry.stop();
    registry.collectGarbage();
    expect([registry.holds(sha256(SMALL)), registry.holds(sha256(LARGE))]).toEqual([false, true]);
    await registry.start();
    expect((await read(store, LARGE)).equals(LARGE)).toBe(true);
    expect(await store.stat(sha256(SMALL))).toBeNull();
    // The empty config may be gone as well: it comes back with the next file.
    await store.delete(sha256(LARGE));
    await registry.stop();
    registry.collectGarbage();
    await registry.start();
    expect(await put(store, SMALL)).toEqual({ stored: true });
    expect(await read(store, SMALL)).toEqual(SMALL);
  });

  test('upload_that_was_cut_is_temporary_and_goes_through_again', async () => {
    await registry.start();
    // Passes everything on, but for the end of the second chunk.
    let chunks = 0;
    const proxy = http.createServer((request, response) => {
      const [host = '', port = ''] = registry.host.split(':');
      const { url, method, headers } = request;
      const passed = http.request({ host, port, path: url, method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      });
      passed.on('error', () => request.socket.destroy());
      if (method === 'PATCH' && ++chunks === 2) {
        let passedBytes = 0;
        request.on('data', (chunk: Buffer) => {
          passedBytes += chunk.length;
          passed.write(chunk);
          if (passedBytes < MIB) return;
          passed.destroy();
          request.socket.destroy();
        });
      } else request.pipe(passed);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const store = await openOci(`127.0.0.1:${(proxy.address() as AddressInfo).port}`);
    try {
      await expect(put(store, LARGE)).rejects.toMatchObject({ code: 'artifact_store_unreachable' });
      expect(await store.stat(sha256(LARGE))).toBeNull();
      expect(await put(store, LARGE)).toEqual({ stored: true });
      expect((await read(store, LARGE)).equals(LARGE)).toBe(true);
    } finally {
      store.close();
      proxy.closeAllConnections();
      proxy.close();
    }
  });

  test('registry_with_tls_and_a_password_is_used_by_the_ca_file_and_the_login', async () => {
    const at = (name: string): string => join(folder, name);
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
        ...['-subj', '/CN=registry', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2'],
        ...['-keyout', at('key.pem'), '-out', at('cert.pem')],
      ],
      { stdio: 'ignore' },
    );
    // bcrypt of the password `fleet-pass`
    writeFileSync(
      at('htpasswd'),
      'fleet:$2b$04$0.uz6lmLi1zyBTmCZ6J/V.COYbaky8kyRVPpDF/8EvCb9brA6dkrq\n',
    );
    await registry.start(
      `  tls: {certificate: "${at('cert.pem')}", key: "${at('key.pem')}"}\n` +
        `auth: {htpasswd: {realm: x, path: "${at('htpasswd')}"}}\n`,
    );
    const settings = { plain_http: false, ca_file: at('cert.pem') };
    const common = {
      ...{ links: false, proxies: new Proxies({}) },
      ...{ clock: realClock, random: realRandom, log: silentLog },
    };
    const location = ociLocation(`oci://${registry.host}/a/b`, settings);
    const credentials = { username: 'fleet', password: 'fleet-pass' };
    const store = await OciArtifactStore.open({ ...common, location, credentials });
    open.push(store);
    await put(store, SMALL);
    expect(await read(store, SMALL)).toEqual(SMALL);
    await expect(
      OciArtifactStore.open({ ...common, location, credentials: null }),
    ).rejects.toMatchObject({ code: 'artifact_store_refused' });
  });
});
