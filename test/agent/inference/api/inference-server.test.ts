// The local inference API over real sockets: the protocol's surface, both forms of tensors, and
// every refusal.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Installed } from '../../../../agent/interfaces.js';
import { InferenceServer } from '../../../../agent/inference/api/inference-server.js';
import { Engine } from '../../../../agent/inference/engine/engine.js';
import type { InferenceLimits } from '../../../../agent/inference/inference-limits.js';
import { limits } from '../../../../shared/base/limits.js';
import { Fault } from '../../../../shared/base/fault-codes.js';
import { silentLog } from '../../../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../../../shared/platform/clock.js';
import { adder, childPath, everyType, install, slow } from '../../../support/inference-releases.js';

const REQUEST_MAX_BYTES = 8 * 1024 * 1024;
let root: string;
let base: string;
let unix: string;
let inferenceServer: InferenceServer;
let digits: Installed;
const engines = new Map<string, Engine>();
const engine = (component: string): Engine =>
  new Engine({
    component,
    childPath,
    home: join(root, 'home'),
    clock: realClock,
    random: realRandom,
    log: silentLog,
    limits: { requestMaxBytes: REQUEST_MAX_BYTES, requestDeadlineMs: 30_000, hostRunMs: 60_000 },
  });

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'linnet-door-'));
  digits = install(root, adder('1.0.0', [0.5, 0, 0, 0]));
  for (const [name, release] of [
    ['digits', digits],
    ['types', install(root, { ...everyType(), component: 'types' })],
    ['slow', install(root, { ...slow(), component: 'slow' })],
    ['empty', null],
  ] as const) {
    engines.set(name, engine(name));
    if (release !== null) await engines.get(name)?.serve(release, null);
  }
  unix = join(root, 'api.sock');
  inferenceServer = new InferenceServer({
    engines,
    clock: realClock,
    log: silentLog,
    version: '9.9.9',
    tcp: { host: '127.0.0.1', port: 0 },
    unix,
    limits: { requestMaxBytes: REQUEST_MAX_BYTES },
  });
  const { tcp } = await inferenceServer.listen();
  base = `http://127.0.0.1:${tcp?.port}`;
});

afterAll(async () => {
  await inferenceServer.close();
  await Promise.all([...engines.values()].map((each) => each.stop()));
  rmSync(root, { recursive: true, force: true });
});

interface Answer {
  status: number;
  headers: Headers;
  // The tests read it key by key, each with an expectation.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  body: any;
}

async function get(path: string): Promise<Answer> {
  const response = await fetch(base + path);
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as unknown,
  };
}

async function post(
  path: string,
  body: Uint8Array | string | object,
  headers: Record<string, string> = {},
): Promise<Answer & { bytes: Buffer }> {
  const payload =
    typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
  const response = await fetch(base + path, { method: 'POST', body: payload as string, headers });
  const bytes = Buffer.from(await response.arrayBuffer());
  const json =
    response.headers.get('content-type') === 'application/json'
      ? (JSON.parse(bytes.toString()) as unknown)
      : null;
  return { status: response.status, headers: response.headers, body: json, bytes };
}

const floats = (...values: number[]): Buffer => Buffer.from(Float32Array.from(values).buffer);
const input = (more: object = {}) => ({
  name: 'x',
  shape: [1, 4],
  datatype: 'FP32',
  data: [1, 2, 3, 4],
  ...more,
});

/** JSON header and binary tensors, as the binary tensor data extension says. */
function binary(header: object, ...tensors: Buffer[]): [Buffer, Record<string, string>] {
  const head = Buffer.from(JSON.stringify(header));
  return [
    Buffer.concat([head, ...tensors]),
    {
      'Inference-Header-Content-Length': String(head.length),
      'Content-Type': 'application/octet-stream',
    },
  ];
}

function unpack({ headers, bytes }: { headers: Headers; bytes: Buffer }): {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  head: any;
  rest: Buffer;
} {
  const length = Number(headers.get('inference-header-content-length'));
  return {
    head: JSON.parse(bytes.subarray(0, length).toString()) as unknown,
    rest: bytes.subarray(length),
  };
}

describe("the protocol's surface", () => {
  it('tells what is served', async () => {
    expect((await get('/v2')).body).toEqual({
      name: 'linnet',
      version: '9.9.9',
      extensions: ['binary_tensor_data'],
    });
    expect(await get('/v2/health/live')).toMatchObject({ status: 200, body: { live: true } });
    // `empty` has no release
    expect(await get('/v2/health/ready')).toMatchObject({ status: 503, body: { ready: false } });
    expect(await get('/v2/models/digits/ready')).toMatchObject({
      status: 200,
      body: { name: 'digits', ready: true },
    });
    expect(await get('/v2/models/digits/versions/1.0.0/ready')).toMatchObject({ status: 200 });
    expect(await get('/v2/models/digits/versions/2.0.0/ready')).toMatchObject({ status: 503 });
    expect(await get('/v2/models/empty/ready')).toMatchObject({
      status: 503,
      body: { name: 'empty', ready: false },
    });
    const metadata = await get('/v2/models/digits/versions/1.0.0');
    expect(metadata.body).toEqual({
      name: 'digits',
      versions: ['1.0.0'],
      platform: 'onnxruntime_onnx',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 4] }],
      outputs: [{ name: 'logits', datatype: 'FP32', shape: [-1, 4] }],
    });
  });

  it('says what is not there', async () => {
    expect(await get('/v2/models/nope')).toMatchObject({
      status: 404,
      body: { code: 'model_unknown' },
    });
    expect(await get('/v2/models/digits/versions/7.0.0')).toMatchObject({
      status: 404,
      body: { code: 'model_unknown', error: expect.stringContaining('1.0.0') as string },
    });
    expect(await get('/v2/models/empty')).toMatchObject({
      status: 503,
      body: { code: 'model_not_ready' },
    });
    expect(await get('/metrics')).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(await get('/v2/models/digits/infer')).toMatchObject({ status: 404 });
    expect(await get('/v2/models/%E0%A4%A/infer')).toMatchObject({
      status: 400,
      body: { code: 'request_undecodable' },
    });
    expect((await post('/v2/models/empty/infer', { inputs: [input()] })).body).toMatchObject({
      code: 'model_not_ready',
    });
    expect(
      (await post('/v2/models/digits/versions/7.0.0/infer', { inputs: [input()] })).status,
    ).toBe(404);
  });
});

describe('inference', () => {
  it('answers JSON with JSON, flat and nested, with id and the release', async () => {
    for (const data of [[1, 2, 3, 4], [[1, 2, 3, 4]]]) {
      const answer = await post('/v2/models/digits/infer', {
        id: 'q-1',
        inputs: [input({ data })],
      });
      expect(answer.status).toBe(200);
      expect(answer.body).toEqual({
        model_name: 'digits',
        model_version: '1.0.0',
        id: 'q-1',
        parameters: { release_digest: digits.release.digest },
        outputs: [{ name: 'logits', datatype: 'FP32', shape: [1, 4], data: [1.5, 2, 3, 4] }],
      });
      expect(answer.headers.get('linnet-release')).toBe(`digits@1.0.0#${digits.release.digest}`);
    }
    expect(
      (await post('/v2/models/digits/versions/1.0.0/infer', { inputs: [input()] })).body.outputs[0]
        .data,
    ).toEqual([1.5, 2, 3, 4]);
  });

  it("takes and gives binary tensors, wherever the header's length puts them", async () => {
    for (const name of ['', 'a', 'ab', 'abc', 'abcdefg']) {
      const [body, headers] = binary(
        {
          parameters: { binary_data_output: true, pad: name },
          inputs: [input({ data: undefined, shape: [2, 4], parameters: { binary_data_size: 32 } })],
        },
        floats(1, 2, 3, 4, 5, 6, 7, 8),
      );
      const answer = await post('/v2/models/digits/infer', body, headers);
      expect(answer.headers.get('content-type')).toBe('application/octet-stream');
      const { head, rest } = unpack(answer);
      expect(head).toMatchObject({
        model_name: 'digits',
        parameters: { release_digest: digits.release.digest },
      });
      expect(head.outputs).toEqual([
        { name: 'logits', datatype: 'FP32', shape: [2, 4], parameters: { binary_data_size: 32 } },
      ]);
      expect(rest).toEqual(floats(1.5, 2, 3, 4, 5.5, 6, 7, 8));
    }
  });

  it('takes a tensor of several megabytes in pieces', async () => {
    const rows = 100_001;
    const values = Float32Array.from({ length: rows * 4 }, (_, i) => i % 1000);
    for (const pad of ['', 'x']) {
      const [body, headers] = binary(
        {
          parameters: { pad, binary_data_output: true },
          inputs: [
            input({
              data: undefined,
              shape: [rows, 4],
              parameters: { binary_data_size: rows * 16 },
            }),
          ],
        },
        Buffer.from(values.buffer),
      );
      const { rest } = unpack(await post('/v2/models/digits/infer', body, headers));
      expect(rest.length).toBe(rows * 16);
      const got = new Float32Array(new Uint8Array(rest).buffer);
      expect(
        got.every((value, i) => value === (values[i] as number) + (i % 4 === 0 ? 0.5 : 0)),
      ).toBe(true);
    }
  });

  it('takes a raw tensor without any header', async () => {
    const answer = await post('/v2/models/digits/infer', floats(1, 2, 3, 4, 5, 6, 7, 8), {
      'Inference-Header-Content-Length': '0',
    });
    const { head, rest } = unpack(answer);
    expect(head.outputs[0].shape).toEqual([2, 4]);
    expect(rest).toEqual(floats(1.5, 2, 3, 4, 5.5, 6, 7, 8));
    expect(
      (
        await post('/v2/models/digits/infer', floats(1, 2, 3), {
          'Inference-Header-Content-Length': '0',
        })
      ).body,
    ).toMatchObject({ code: 'request_tensor' });
    expect(
      (await post('/v2/models/types/infer', floats(1), { 'Inference-Header-Content-Length': '0' }))
        .body,
    ).toMatchObject({
      code: 'request_undecodable',
    });
  });

  it('gives the outputs that were asked for, each in its form', async () => {
    const zeros: Record<string, unknown[]> = {
      BOOL: [true, false],
      INT64: [9007199254740991, -5],
      FP32: [0.5, 1],
      FP64: [1e300, 2],
    };
    const types = ['BOOL', 'UINT8', 'INT8', 'UINT16', 'INT16', 'INT32', 'INT64', 'FP32', 'FP64'];
    const inputs = types.map((datatype) => ({
      name: `in_${datatype}`,
      datatype,
      shape: [2],
      data: zeros[datatype] ?? [1, 2],
    }));
    const all = await post('/v2/models/types/infer', { inputs: [...inputs].reverse() });
    expect(all.body.outputs.map((output: { data: unknown[] }) => output.data)).toEqual(
      types.map((datatype) => zeros[datatype] ?? [1, 2]),
    );
    const some = await post('/v2/models/types/infer', {
      inputs,
      outputs: [{ name: 'out_FP32', parameters: { binary_data: true } }, { name: 'out_BOOL' }],
    });
    const { head, rest } = unpack(some);
    expect(head.outputs).toEqual([
      { name: 'out_FP32', datatype: 'FP32', shape: [2], parameters: { binary_data_size: 8 } },
      { name: 'out_BOOL', datatype: 'BOOL', shape: [2], data: [true, false] },
    ]);
    expect(rest).toEqual(floats(0.5, 1));
    expect(
      (await post('/v2/models/types/infer', { inputs, outputs: [{ name: 'out_FP16' }] })).body,
    ).toMatchObject({
      code: 'request_tensor',
      error: expect.stringContaining('out_FP16') as string,
    });
  });

  it('works over the unix socket', async () => {
    const text = await new Promise<string>((resolve, reject) => {
      httpRequest(
        { socketPath: unix, path: '/v2/models/digits/infer', method: 'POST' },
        (response) => {
          response.setEncoding('utf8').on('data', resolve);
        },
      )
        .on('error', reject)
        .end(JSON.stringify({ inputs: [input()] }));
    });
    expect(JSON.parse(text)).toMatchObject({ outputs: [{ data: [1.5, 2, 3, 4] }] });
  });
});

describe('refusals', () => {
  const raw = (more: object, tensor: Buffer) =>
    binary(
      {
        inputs: [
          input({ data: undefined, parameters: { binary_data_size: tensor.length }, ...more }),
        ],
      },
      tensor,
    );
  it.each([
    ['not JSON', '{"inputs":', 400, 'request_undecodable', /not JSON/],
    ['no inputs', '{}', 400, 'request_undecodable', /missing inputs/],
    [
      'a shape that is text',
      { inputs: [input({ shape: 'x' })] },
      400,
      'request_undecodable',
      /shape/,
    ],
    [
      'wrong name',
      { inputs: [input({ name: 'z' })] },
      400,
      'request_tensor',
      /unknown tensor z; the model takes x/,
    ],
    [
      'wrong rank',
      { inputs: [input({ shape: [4] })] },
      400,
      'request_tensor',
      /\[4\], the model takes \[-1,4\]/,
    ],
    [
      'wrong size',
      { inputs: [input({ shape: [1, 3], data: [1, 2, 3] })] },
      400,
      'request_tensor',
      /\[1,3\]/,
    ],
    ['negative size', { inputs: [input({ shape: [-1, 4] })] }, 400, 'request_tensor', /at least 1/],
    [
      'wrong datatype',
      { inputs: [input({ datatype: 'FP64' })] },
      400,
      'request_tensor',
      /FP64\[1,4\], the model takes FP32/,
    ],
    [
      'unknown datatype',
      { inputs: [input({ datatype: 'FP16' })] },
      400,
      'request_tensor',
      /FP16 is not served/,
    ],
    [
      'too little data',
      { inputs: [input({ data: [1, 2, 3] })] },
      400,
      'request_tensor',
      /3 elements.*means 4/,
    ],
    [
      'null for NaN',
      { inputs: [input({ data: [1, null, 3, 4] })] },
      400,
      'request_tensor',
      /element 1 is null/,
    ],
    [
      'overflow to infinity',
      `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1e39,2,3,4]}]}`,
      400,
      'request_value',
      /Infinity/,
    ],
  ] as const)('in JSON: %s', async (_, body, status, code, reasons) => {
    const answer = await post('/v2/models/digits/infer', body);
    expect(answer.status).toBe(status);
    expect(answer.body.code).toBe(code);
    expect(answer.body.error).toMatch(reasons);
  });

  it.each([
    ['NaN', raw({}, floats(1, NaN, 3, 4)), 'request_value', /tensor x: element 1 is NaN/],
    ['infinity', raw({}, floats(1, 2, 3, Infinity)), 'request_value', /element 3 is Infinity/],
    [
      'fewer bytes than the shape',
      raw({ shape: [2, 4] }, floats(1, 2, 3, 4)),
      'request_tensor',
      /16 bytes.*means 32/,
    ],
    [
      'a size beyond the body',
      binary(
        { inputs: [input({ data: undefined, parameters: { binary_data_size: 64 } })] },
        floats(1),
      ),
      'request_tensor',
      /only 4 bytes/,
    ],
    [
      'bytes that belong to nothing',
      binary({ inputs: [input()] }, floats(1)),
      'request_tensor',
      /4 bytes of the body belong to no tensor/,
    ],
    ['a huge shape', raw({ shape: [1_000_000_000, 4] }, floats(1)), 'request_too_large', /bound/],
    [
      'a size that is none',
      binary({ inputs: [input({ data: undefined, parameters: { binary_data_size: -4 } })] }),
      'request_undecodable',
      /not a size/,
    ],
  ] as const)('in binary form: %s', async (_, [body, headers], code, reasons) => {
    const answer = await post('/v2/models/digits/infer', body, headers);
    expect(answer.body.code).toBe(code);
    expect(answer.status).toBe(code === 'request_too_large' ? 413 : 400);
    expect(answer.body.error).toMatch(reasons);
  });

  it('of a header length that is none, of a compressed body, of tensors that the model itself refuses', async () => {
    const body = JSON.stringify({ inputs: [input()] });
    expect(
      (await post('/v2/models/digits/infer', body, { 'Inference-Header-Content-Length': '-1' }))
        .body.code,
    ).toBe('request_undecodable');
    expect(
      (await post('/v2/models/digits/infer', body, { 'Inference-Header-Content-Length': '100000' }))
        .body.code,
    ).toBe('request_undecodable');
    expect(
      (await post('/v2/models/digits/infer', body, { 'Content-Encoding': 'gzip' })).body.code,
    ).toBe('request_undecodable');
    const odd = await post('/v2/models/slow/infer', {
      inputs: [{ name: 'x', shape: [1, 2], datatype: 'FP32', data: [1, 2] }],
    });
    expect(odd.body).toMatchObject({
      code: 'request_tensor',
      error: expect.stringContaining('does not run') as string,
    });
  });

  it('of more bytes than the bound, announced or not, and the API goes on', async () => {
    const announced = await exchange(
      `POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: 0\r\nContent-Length: ${REQUEST_MAX_BYTES + 1}\r\n\r\n`,
      null,
    );
    expect(announced).toMatch(/^HTTP\/1.1 413 [^]*request_too_large/);
    const streamed = await exchange(
      'POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n',
      'x'.repeat(0x10000),
    );
    expect(streamed).toMatch(/^HTTP\/1.1 413 [^]*request_too_large/);
    expect((await post('/v2/models/digits/infer', { inputs: [input()] })).status).toBe(200);
  });

  it('of JSON beyond its own bound, where binary tensors are the way', async () => {
    const length = limits.jsonRequestMaxBytes + 1;
    const json = await exchange(
      `POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`,
      null,
    );
    expect(json).toMatch(
      /^HTTP\/1.1 413 [^]*binary tensors \(Inference-Header-Content-Length\)[^]*request_too_large/,
    );
    const raw = Buffer.alloc(16 * Math.ceil(length / 16));
    const binaryAnswer = await post('/v2/models/digits/infer', raw, {
      'Inference-Header-Content-Length': '0',
    });
    expect(binaryAnswer.status).toBe(200);
  });
});

describe('a client that takes its time', () => {
  /**
   * A door of its own on a unix socket (whose buffers are small); `rings` holds what its clock was
   * asked to call.
   */
  async function ownDoor(
    limits: Partial<InferenceLimits>,
  ): Promise<{ path: string; rings: { ms: number; ring: () => void }[] }> {
    const rings: { ms: number; ring: () => void }[] = [];
    const clock = {
      ...realClock,
      after: (ms: number, ring: () => void) => (rings.push({ ms, ring }), () => {}),
    };
    const path = join(root, `own-${Object.keys(limits).join('-')}.sock`);
    const own = new InferenceServer({
      engines,
      clock,
      log: silentLog,
      version: '9.9.9',
      unix: path,
      limits,
    });
    await own.listen();
    owned.push(own);
    return { path, rings };
  }
  const owned: InferenceServer[] = [];
  afterEach(async () => {
    for (const own of owned.splice(0)) await own.close();
  });
  const closing = (socket: Socket): Promise<void> =>
    new Promise((resolve) => socket.on('error', () => {}).once('close', () => resolve()));

  it('in the middle of its body is cut off, and its bytes no longer count', async () => {
    const { path } = await ownDoor({ requestTransferMs: 60, connectionCheckMs: 10 });
    const socket = connect({ path });
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
    socket.write(
      'POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{',
    );
    await closing(socket);
    expect(text).toMatch(/^HTTP\/1.1 408 /);
  });

  it('to take its answer is cut off in the middle of it', async () => {
    const transferMs = 12_345;
    const { path, rings } = await ownDoor({
      requestTransferMs: transferMs,
      requestMaxBytes: REQUEST_MAX_BYTES,
    });
    const socket = connect({ path }).pause();
    const rows = 200_000;
    socket.write(
      `POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: 0\r\nContent-Length: ${rows * 16}\r\n\r\n`,
    );
    socket.write(Buffer.alloc(rows * 16));
    await until(() => rings.some(({ ms }) => ms === transferMs), 'the answer waits for its reader');
    rings.find(({ ms }) => ms === transferMs)?.ring();
    let got = 0;
    socket.on('data', (chunk: Buffer) => (got += chunk.length));
    await closing(socket.resume());
    expect(got).toBeGreaterThan(0);
    expect(got).toBeLessThan(rows * 16);
  });

  it('finds no place beyond the bound of connections', async () => {
    const { path } = await ownDoor({ connectionsMaxCount: 1 });
    const first = connect({ path });
    first.write('GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n');
    await new Promise((resolve) => first.once('data', resolve));
    await closing(connect({ path }).resume());
    expect(first.destroyed).toBe(false);
    first.destroy();
  });
});

/** Sends `head` and then chunks of `piece` without end; what came back until the server hung up. */
async function exchange(head: string, piece: string | null): Promise<string> {
  const socket: Socket = connect(Number(new URL(base).port), '127.0.0.1');
  let text = '';
  socket
    .setEncoding('latin1')
    .on('data', (chunk: string) => {
      text += chunk;
    })
    .on('error', () => {});
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.write(head);
  while (piece !== null && !text.includes('\r\n\r\n') && !socket.destroyed) {
    socket.write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
    await pause(1);
  }
  for (let i = 0; i < 500 && !text.includes('}') && !socket.closed; i += 1) await pause(10);
  socket.destroy();
  await closed;
  return text;
}

describe('one connection', () => {
  const body = JSON.stringify({ inputs: [input()] });
  const plain = `POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const metadata = 'GET /v2/models/digits HTTP/1.1\r\nHost: x\r\n\r\n';
  const chunked = `POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

  /** Writes the pieces, each after a turn of the loop, and gathers until `answers` answers came. */
  async function converse(pieces: string[], answers: number): Promise<string> {
    const socket = connect({ path: unix });
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    for (const piece of pieces) {
      socket.write(piece, 'latin1');
      await pause(2);
    }
    const complete = () =>
      (text.match(/HTTP\/1\.1 \d+/g)?.length ?? 0) >= answers && text.trimEnd().endsWith('}');
    await until(complete, `${answers} answers, got ${text}`);
    socket.destroy();
    return text;
  }

  const statuses = (text: string): string[] =>
    [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status as string);

  it('carries requests of every kind after one another', async () => {
    const text = await converse([plain, plain, metadata, plain, chunked, plain], 6);
    expect(statuses(text)).toEqual(['200', '200', '200', '200', '200', '200']);
    expect(text.match(/"data":\[1\.5,2,3,4\]/g)).toHaveLength(5);
  });

  it('answers pipelined requests in order', async () => {
    const named = (id: string) => {
      const own = JSON.stringify({ id, inputs: [input()] });
      return `POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: ${own.length}\r\n\r\n${own}`;
    };
    const text = await converse([named('a') + named('b') + named('c') + metadata], 4);
    expect([...text.matchAll(/"id":"(.)"/g)].map(([, id]) => id)).toEqual(['a', 'b', 'c']);
    expect(statuses(text)).toEqual(['200', '200', '200', '200']);
  });

  it('may bring a request in any pieces', async () => {
    for (const at of [
      1,
      4,
      30,
      plain.indexOf('\r\n\r\n') + 2,
      plain.indexOf('\r\n\r\n') + 4,
      plain.length - 1,
    ]) {
      expect(statuses(await converse([plain.slice(0, at), plain.slice(at)], 1))).toEqual(['200']);
    }
    expect(statuses(await converse([...plain], 1))).toEqual(['200']);
  });

  it('gets what HTTP owes it: 100 Continue, and a refusal of what is ambiguous', async () => {
    const expecting = plain.replace('Host: x', 'Host: x\r\nExpect: 100-continue');
    expect(statuses(await converse([expecting], 2))).toEqual(['100', '200']);
    for (const bad of ['Content-Length: 5', 'Transfer-Encoding: chunked', 'Bad Name: x']) {
      const text = await exchange(plain.replace('Host: x', `Host: x\r\n${bad}`), null);
      expect(text).toMatch(/^HTTP\/1\.1 400/);
    }
    expect(await exchange(plain.replace('Host: x\r\n', ''), null)).toMatch(/^HTTP\/1\.1 400/);
  });
});

describe('an address', () => {
  const make = (where: { tcp?: { host: string; port: number }; unix?: string }) =>
    new InferenceServer({
      engines: new Map(),
      clock: realClock,
      log: silentLog,
      version: '0',
      ...where,
    });

  it('that is in use is named', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    await expect(make({ tcp: { host: '127.0.0.1', port } }).listen()).rejects.toMatchObject({
      code: 'port_in_use',
      detail: expect.stringContaining(`127.0.0.1:${port}`) as string,
    });
    other.close();
    await expect(make({ unix }).listen()).rejects.toMatchObject({
      code: 'port_in_use',
      detail: expect.stringContaining(unix) as string,
    });
    await expect(make({ unix: join(root, 'x'.repeat(120)) }).listen()).rejects.toBeInstanceOf(
      Fault,
    );
  });

  it('whose socket file was left by a killed process is taken over, a plain file is not', async () => {
    const path = join(root, 'left.sock');
    const { spawnSync } = await import('node:child_process');
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    const again = make({ unix: path });
    expect(await again.listen()).toMatchObject({ unix: path });
    await again.close();
    const file = join(root, 'plain');
    writeFileSync(file, 'not a socket');
    await expect(make({ unix: file }).listen()).rejects.toBeInstanceOf(Fault);
  });
});

describe('closing', () => {
  it('answers what was received, ends idle connections, and takes no more', async () => {
    const second = new InferenceServer({
      engines,
      clock: realClock,
      log: silentLog,
      version: '0',
      tcp: { host: '127.0.0.1', port: 0 },
    });
    const { tcp } = await second.listen();
    const url = `http://127.0.0.1:${tcp?.port}/v2/models/slow/infer`;
    const idle = connect(tcp?.port ?? 0, '127.0.0.1');
    await new Promise((resolve) => idle.once('connect', resolve));
    idle.on('error', () => {});
    const side = 900;
    const data = Buffer.alloc(side * side * 4);
    const head = Buffer.from(
      JSON.stringify({
        inputs: [
          {
            name: 'x',
            shape: [side, side],
            datatype: 'FP32',
            parameters: { binary_data_size: data.length },
          },
        ],
        parameters: { binary_data_output: true },
      }),
    );
    const answers = [1, 2].map(() =>
      fetch(url, {
        method: 'POST',
        body: Buffer.concat([head, data]),
        headers: { 'Inference-Header-Content-Length': String(head.length) },
      }),
    );
    // Both were received once one runs and one waits.
    await until(() => engines.get('slow')?.waiting === 2, 'both requests are admitted');
    await second.close();
    for (const answer of await Promise.all(answers))
      expect((await answer.arrayBuffer()).byteLength).toBeGreaterThan(data.length);
    await expect(fetch(url, { method: 'POST', body: '{}' })).rejects.toThrow();
    expect(
      idle.destroyed ||
        idle.readableEnded ||
        (await new Promise((resolve) => idle.once('close', () => resolve(true)))),
    ).toBe(true);
  });
});

async function until(fact: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 3000; i += 1) {
    if (fact()) return;
    await pause(10);
  }
  throw new Error(`never: ${what}`);
}
