// The local inference API over real sockets: the protocol's resources, both forms of tensors, its
// addresses, and closing.
import { readFileSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InferenceServer } from '../../../../agent/inference/api/inference-server.js';
import { Fault } from '../../../../shared/base/fault-codes.js';
import { silentLog } from '../../../../shared/base/interfaces.js';
import { realClock } from '../../../../shared/platform/clock.js';
import {
  binary,
  floats,
  INFER,
  InferenceApi,
  input,
  unpack,
} from '../../../support/inference-api.js';
import { until } from '../../../support/inference-engines.js';

let api: InferenceApi;
beforeAll(async () => {
  api = await InferenceApi.start();
});
afterAll(() => api.close());

describe("the protocol's surface", () => {
  it('server_and_models_report_what_is_served', async () => {
    expect((await api.get('/v2')).body).toEqual({
      name: 'linnet',
      version: '9.9.9',
      extensions: ['binary_tensor_data'],
    });
    expect(await api.get('/v2/health/live')).toMatchObject({ status: 200, body: { live: true } });
    expect(await api.get('/v2/health/ready')).toMatchObject({
      status: 503,
      body: { ready: false },
    });
    expect(await api.get('/v2/models/digits/ready')).toMatchObject({
      status: 200,
      body: { name: 'digits', ready: true },
    });
    expect(await api.get('/v2/models/digits/versions/1.0.0/ready')).toMatchObject({ status: 200 });
    expect(await api.get('/v2/models/digits/versions/2.0.0/ready')).toMatchObject({ status: 503 });
    expect(await api.get('/v2/models/empty/ready')).toMatchObject({
      status: 503,
      body: { name: 'empty', ready: false },
    });
    const metadata = await api.get('/v2/models/digits/versions/1.0.0');
    expect(metadata.body).toEqual({
      name: 'digits',
      versions: ['1.0.0'],
      platform: 'onnxruntime_onnx',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 4] }],
      outputs: [{ name: 'logits', datatype: 'FP32', shape: [-1, 4] }],
    });
  });

  it('what_does_not_exist_is_refused_by_name', async () => {
    expect(await api.get('/v2/models/nope')).toMatchObject({
      status: 404,
      body: { code: 'model_unknown' },
    });
    expect(await api.get('/v2/models/digits/versions/7.0.0')).toMatchObject({
      status: 404,
      body: { code: 'model_unknown', error: expect.stringContaining('1.0.0') as string },
    });
    expect(await api.get('/v2/models/empty')).toMatchObject({
      status: 503,
      body: { code: 'model_not_ready' },
    });
    expect(await api.get('/metrics')).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(await api.get('/v2/models/%E0%A4%A/infer')).toMatchObject({
      status: 400,
      body: { code: 'request_undecodable' },
    });
    expect((await api.post('/v2/models/empty/infer', { inputs: [input()] })).body).toMatchObject({
      code: 'model_not_ready',
    });
    expect(
      (await api.post('/v2/models/digits/versions/7.0.0/infer', { inputs: [input()] })).status,
    ).toBe(404);
  });
});

describe('inference', () => {
  it('json_is_answered_with_json_and_with_id_and_release', async () => {
    for (const data of [[1, 2, 3, 4], [[1, 2, 3, 4]]]) {
      const answer = await api.post(INFER, {
        id: 'q-1',
        inputs: [input({ data })],
      });
      expect(answer.status).toBe(200);
      expect(answer.body).toEqual({
        model_name: 'digits',
        model_version: '1.0.0',
        id: 'q-1',
        parameters: { release_digest: api.digits.release.digest },
        outputs: [{ name: 'logits', datatype: 'FP32', shape: [1, 4], data: [1.5, 2, 3, 4] }],
      });
      expect(answer.headers.get('linnet-release')).toBe(
        `digits@1.0.0#${api.digits.release.digest}`,
      );
    }
    expect(
      (await api.post('/v2/models/digits/versions/1.0.0/infer', { inputs: [input()] })).body,
    ).toMatchObject({ outputs: [{ data: [1.5, 2, 3, 4] }] });
  });

  it('binary_tensors_are_read_at_every_alignment', async () => {
    for (const name of ['', 'a', 'ab', 'abc', 'abcdefg']) {
      const [body, headers] = binary(
        {
          parameters: { binary_data_output: true, pad: name },
          inputs: [input({ data: undefined, shape: [2, 4], parameters: { binary_data_size: 32 } })],
        },
        floats(1, 2, 3, 4, 5, 6, 7, 8),
      );
      const answer = await api.post(INFER, body, headers);
      expect(answer.headers.get('content-type')).toBe('application/octet-stream');
      const { head, rest } = unpack(answer);
      expect(head).toMatchObject({
        model_name: 'digits',
        parameters: { release_digest: api.digits.release.digest },
      });
      expect(head).toHaveProperty('outputs', [
        { name: 'logits', datatype: 'FP32', shape: [2, 4], parameters: { binary_data_size: 32 } },
      ]);
      expect(rest).toEqual(floats(1.5, 2, 3, 4, 5.5, 6, 7, 8));
    }
  });

  it('tensor_of_several_megabytes_arrives_in_chunks', async () => {
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
      const { rest } = unpack(await api.post(INFER, body, headers));
      expect(rest.length).toBe(rows * 16);
      const got = new Float32Array(new Uint8Array(rest).buffer);
      expect(
        got.every((value, i) => value === (values[i] as number) + (i % 4 === 0 ? 0.5 : 0)),
      ).toBe(true);
    }
  });

  it('raw_tensor_needs_no_header', async () => {
    const answer = await api.post(INFER, floats(1, 2, 3, 4, 5, 6, 7, 8), {
      'Inference-Header-Content-Length': '0',
    });
    const { head, rest } = unpack(answer);
    expect(head).toMatchObject({ outputs: [{ shape: [2, 4] }] });
    expect(rest).toEqual(floats(1.5, 2, 3, 4, 5.5, 6, 7, 8));
    expect(
      (
        await api.post(INFER, floats(1, 2, 3), {
          'Inference-Header-Content-Length': '0',
        })
      ).body,
    ).toMatchObject({ code: 'request_tensor' });
    expect(
      (
        await api.post('/v2/models/types/infer', floats(1), {
          'Inference-Header-Content-Length': '0',
        })
      ).body,
    ).toMatchObject({
      code: 'request_undecodable',
    });
  });

  it('requested_outputs_come_in_the_requested_form', async () => {
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
    const all = await api.post('/v2/models/types/infer', { inputs: [...inputs].reverse() });
    expect(all.body).toMatchObject({
      outputs: types.map((datatype) => ({ data: zeros[datatype] ?? [1, 2] })),
    });
    const some = await api.post('/v2/models/types/infer', {
      inputs,
      outputs: [{ name: 'out_FP32', parameters: { binary_data: true } }, { name: 'out_BOOL' }],
    });
    const { head, rest } = unpack(some);
    expect(head).toHaveProperty('outputs', [
      { name: 'out_FP32', datatype: 'FP32', shape: [2], parameters: { binary_data_size: 8 } },
      { name: 'out_BOOL', datatype: 'BOOL', shape: [2], data: [true, false] },
    ]);
    expect(rest).toEqual(floats(0.5, 1));
    expect(
      (await api.post('/v2/models/types/infer', { inputs, outputs: [{ name: 'out_FP16' }] })).body,
    ).toMatchObject({
      code: 'request_tensor',
      error: expect.stringContaining('out_FP16') as string,
    });
  });

  it('unix_socket_serves_the_same_api', async () => {
    const text = await new Promise<string>((resolve, reject) => {
      httpRequest({ socketPath: api.unix, path: INFER, method: 'POST' }, (response) => {
        response.setEncoding('utf8').on('data', resolve);
      })
        .on('error', reject)
        .end(JSON.stringify({ inputs: [input()] }));
    });
    expect(JSON.parse(text)).toMatchObject({ outputs: [{ data: [1.5, 2, 3, 4] }] });
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

  it('address_in_use_is_named', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    await expect(make({ tcp: { host: '127.0.0.1', port } }).listen()).rejects.toMatchObject({
      code: 'port_in_use',
      detail: expect.stringContaining(`127.0.0.1:${port}`) as string,
    });
    other.close();
    await expect(make({ unix: api.unix }).listen()).rejects.toMatchObject({
      code: 'port_in_use',
      detail: expect.stringContaining(api.unix) as string,
    });
    await expect(make({ unix: join(api.root, 'x'.repeat(120)) }).listen()).rejects.toBeInstanceOf(
      Fault,
    );
  });

  it('socket_file_left_by_a_killed_process_is_replaced_a_plain_file_is_not', async () => {
    const path = join(api.root, 'left.sock');
    const { spawnSync } = await import('node:child_process');
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => ` +
        `process.kill(process.pid, 'SIGKILL'))`,
    ]);
    const again = make({ unix: path });
    expect(await again.listen()).toMatchObject({ unix: path });
    await again.close();
    const file = join(api.root, 'plain');
    writeFileSync(file, 'not a socket');
    await expect(make({ unix: file }).listen()).rejects.toMatchObject({
      code: 'config_invalid',
      detail: `${file} exists and is not a unix socket; remove it`,
    });
    expect(readFileSync(file, 'utf8')).toBe('not a socket');
  });
});

describe('closing', () => {
  it('received_requests_are_answered_idle_connections_end_and_new_ones_are_refused', async () => {
    const second = new InferenceServer({
      engines: api.engines,
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
    // Both were received when one runs and one waits.
    await until(() => api.engines.get('slow')?.waiting === 2, 'both requests are admitted');
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
