// Every refusal of the local inference API, over real sockets. Over 400 lines because each refusal
// has its own test over one server.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../../../shared/base/limits.js';
import {
  binary,
  floats,
  INFER,
  InferenceApi,
  input,
  REQUEST_MAX_BYTES,
  UNSUPPORTED_PARAMETERS,
} from '../../../support/inference-api.js';

let api: InferenceApi;
beforeAll(async () => {
  api = await InferenceApi.start();
});
afterAll(() => api.close());

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
    ['not_json', '{"inputs":', 400, 'request_undecodable', /not JSON/],
    ['no_inputs', '{}', 400, 'request_undecodable', /missing inputs/],
    [
      'a_shape_that_is_text',
      { inputs: [input({ shape: 'x' })] },
      400,
      'request_undecodable',
      /shape/,
    ],
    [
      'a_wrong_name',
      { inputs: [input({ name: 'z' })] },
      400,
      'request_tensor',
      /unknown tensor z; the model takes x/,
    ],
    [
      'a_wrong_rank',
      { inputs: [input({ shape: [4] })] },
      400,
      'request_tensor',
      /\[4\], the model takes \[-1,4\]/,
    ],
    [
      'a_wrong_size',
      { inputs: [input({ shape: [1, 3], data: [1, 2, 3] })] },
      400,
      'request_tensor',
      /\[1,3\]/,
    ],
    [
      'a_negative_size',
      { inputs: [input({ shape: [-1, 4] })] },
      400,
      'request_tensor',
      /at least 1/,
    ],
    [
      'a_wrong_datatype',
      { inputs: [input({ datatype: 'FP64' })] },
      400,
      'request_tensor',
      /FP64\[1,4\], the model takes FP32/,
    ],
    [
      'an_unknown_datatype',
      { inputs: [input({ datatype: 'FP16' })] },
      400,
      'request_tensor',
      /FP16 is not supported/,
    ],
    [
      'too_little_data',
      { inputs: [input({ data: [1, 2, 3] })] },
      400,
      'request_tensor',
      /3 elements.*needs 4/,
    ],
    [
      'null_for_nan',
      { inputs: [input({ data: [1, null, 3, 4] })] },
      400,
      'request_tensor',
      /element 1 is null/,
    ],
    [
      'overflow_to_infinity',
      `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1e39,2,3,4]}]}`,
      400,
      'request_value',
      /Infinity/,
    ],
  ] as const)('json_request_is_refused_%s', async (_, body, status, code, reasons) => {
    const answer = await api.post(INFER, body);
    expect(answer.status).toBe(status);
    expect(answer.body).toMatchObject({ code, error: expect.stringMatching(reasons) as string });
  });

  it.each([
    ['nan', raw({}, floats(1, NaN, 3, 4)), 'request_value', /tensor x: element 1 is NaN/],
    ['infinity', raw({}, floats(1, 2, 3, Infinity)), 'request_value', /element 3 is Infinity/],
    [
      'fewer_bytes_than_the_shape',
      raw({ shape: [2, 4] }, floats(1, 2, 3, 4)),
      'request_tensor',
      /16 bytes.*needs 32/,
    ],
    [
      'a_size_beyond_the_body',
      binary(
        { inputs: [input({ data: undefined, parameters: { binary_data_size: 64 } })] },
        floats(1),
      ),
      'request_tensor',
      /only 4 bytes/,
    ],
    [
      'bytes_that_belong_to_no_tensor',
      binary({ inputs: [input()] }, floats(1)),
      'request_tensor',
      /4 bytes of the body belong to no tensor/,
    ],
    ['a_huge_shape', raw({ shape: [1_000_000_000, 4] }, floats(1)), 'request_too_large', /limit/],
    [
      'a_negative_binary_size',
      binary({ inputs: [input({ data: undefined, parameters: { binary_data_size: -4 } })] }),
      'request_undecodable',
      /binary_data_size must be a number of bytes/,
    ],
  ] as const)('binary_request_is_refused_%s', async (_, [body, headers], code, reasons) => {
    const answer = await api.post(INFER, body, headers);
    expect(answer.status).toBe(code === 'request_too_large' ? 413 : 400);
    expect(answer.body).toMatchObject({ code, error: expect.stringMatching(reasons) as string });
  });

  it('wrong_header_length_and_compressed_body_are_refused', async () => {
    const body = JSON.stringify({ inputs: [input()] });
    for (const length of ['-1', '100000']) {
      const answer = await api.post(INFER, body, { 'Inference-Header-Content-Length': length });
      expect(answer.body).toMatchObject({ code: 'request_undecodable' });
    }
    expect((await api.post(INFER, body, { 'Content-Encoding': 'gzip' })).body).toMatchObject({
      code: 'request_unsupported',
      error: 'content encoding gzip is not supported',
    });
  });

  it('model_that_fails_on_tensors_its_manifest_allows_is_a_server_error', async () => {
    const odd = await api.post('/v2/models/slow/infer', {
      inputs: [{ name: 'x', shape: [1, 2], datatype: 'FP32', data: [1, 2] }],
    });
    expect(odd.body).toMatchObject({
      code: 'model_run_failed',
      error: expect.stringContaining('the model failed on these tensors') as string,
    });
    expect(odd.status).toBe(500);
    expect(odd.headers.get('retry-after')).toBeNull();
  });

  it('body_beyond_the_limit_is_refused_announced_or_not_and_the_next_request_is_served', async () => {
    const announced = await api.exchange(
      `POST /v2/models/digits/infer HTTP/1.1\r\nHost: ` +
        `localhost\r\nInference-Header-Content-Length: 0\r\nContent-Length: ` +
        `${REQUEST_MAX_BYTES + 1}\r\n\r\n`,
      null,
    );
    expect(announced).toMatch(/^HTTP\/1.1 413 [^]*request_too_large/);
    const streamed = await api.exchange(
      'POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: ' +
        'chunked\r\n\r\n',
      'x'.repeat(0x10000),
    );
    expect(streamed).toMatch(/^HTTP\/1.1 413 [^]*request_too_large/);
    expect((await api.post(INFER, { inputs: [input()] })).status).toBe(200);
  });

  it('json_beyond_its_own_limit_is_refused_with_the_advice_to_use_binary_tensors', async () => {
    const length = limits.jsonRequestMaxBytes + 1;
    const json = await api.exchange(
      `POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: ` +
        `${length}\r\n\r\n`,
      null,
    );
    expect(json).toMatch(
      /^HTTP\/1.1 413 [^]*binary tensors \(Inference-Header-Content-Length\)[^]*request_too_large/,
    );
    const raw = Buffer.alloc(16 * Math.ceil(length / 16));
    const binaryAnswer = await api.post(INFER, raw, {
      'Inference-Header-Content-Length': '0',
    });
    expect(binaryAnswer.status).toBe(200);
  });
});

describe('nesting', () => {
  it.each([
    [
      'as_tensor_data',
      (deep: string) => `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":${deep}}]}`,
    ],
    [
      'as_a_parameter',
      (deep: string) => `{"parameters":{"p":${deep}},"inputs":[${JSON.stringify(input())}]}`,
    ],
    ['as_the_whole_body', (deep: string) => deep],
  ])('json_nested_20000_deep_%s_is_a_bad_request', async (_, body) => {
    const deep = '['.repeat(20_000) + ']'.repeat(20_000);
    const answer = await api.post(INFER, body(deep));
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual({
      error: `the inference request is nested deeper than ${limits.jsonDepthMaxCount} levels`,
      code: 'request_undecodable',
    });
    expect((await api.post(INFER, { inputs: [input()] })).status).toBe(200);
  });

  it('json_header_of_binary_tensors_nested_too_deep_is_a_bad_request', async () => {
    const deep = JSON.parse('['.repeat(60) + ']'.repeat(60)) as unknown;
    const head = Buffer.from(
      JSON.stringify({ inputs: [input()], parameters: { p: [[[deep]]] } }).padEnd(400),
    );
    const answer = await api.post(INFER, head, {
      'Inference-Header-Content-Length': String(head.length),
    });
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({
      error: expect.stringMatching(/^the inference request header is nested deeper than/) as string,
    });
  });

  it('element_that_is_itself_nested_is_named_without_being_printed', async () => {
    const answer = await api.post(INFER, { inputs: [input({ data: [1, 2, [[[3]]], 4] })] });
    expect(answer.body).toEqual({
      error: 'tensor x: element 2 is an array, FP32 takes numbers',
      code: 'request_tensor',
    });
  });
});

describe('what the API does not implement', () => {
  it.each(UNSUPPORTED_PARAMETERS)('parameter_%s_is_refused_by_name', async (name) => {
    const parameters = { [name]: 1 };
    for (const [where, body] of [
      ['the request', { parameters, inputs: [input()] }],
      ['input x', { inputs: [input({ parameters })] }],
      ['output logits', { inputs: [input()], outputs: [{ name: 'logits', parameters }] }],
    ] as const) {
      const answer = await api.post(INFER, body);
      expect(answer.status).toBe(400);
      expect(answer.body).toEqual({
        error: `parameter ${name} of ${where} is not supported`,
        code: 'request_unsupported',
      });
    }
  });

  it('unknown_parameters_of_a_client_are_ignored', async () => {
    const parameters = { trace: 'abc', sequence: 1 };
    const body = { parameters, inputs: [input({ parameters })] };
    expect((await api.post(INFER, body)).status).toBe(200);
  });

  it.each([
    [
      'a_flag_that_is_text',
      { parameters: { binary_data_output: 'yes' }, inputs: [input()] },
      'parameter binary_data_output of the request must be true or false',
    ],
    [
      'an_output_flag_that_is_a_number',
      { inputs: [input()], outputs: [{ name: 'logits', parameters: { binary_data: 1 } }] },
      'parameter binary_data of output logits must be true or false',
    ],
    [
      'a_binary_size_in_a_json_request',
      { inputs: [input({ data: undefined, parameters: { binary_data_size: 16 } })] },
      'tensor x has binary_data_size, but the request has no Inference-Header-Content-Length ' +
        'header',
    ],
  ])('%s_is_refused', async (_, body, error) => {
    expect((await api.post(INFER, body)).body).toEqual({ error, code: 'request_undecodable' });
  });

  it('tensor_with_both_json_and_binary_data_is_refused', async () => {
    const [body, headers] = binary(
      { inputs: [input({ parameters: { binary_data_size: 16 } })] },
      floats(1, 2, 3, 4),
    );
    expect((await api.post(INFER, body, headers)).body).toEqual({
      error: 'tensor x has both data and binary_data_size; give one of them',
      code: 'request_undecodable',
    });
  });
});

describe('methods', () => {
  it.each([
    ['GET', INFER, 'POST'],
    ['PUT', INFER, 'POST'],
    ['HEAD', INFER, 'POST'],
    ['OPTIONS', INFER, 'POST'],
    ['GET', '/v2/models/digits/versions/1.0.0/infer', 'POST'],
    ['POST', '/v2', 'GET, HEAD'],
    ['POST', '/v2/health/live', 'GET, HEAD'],
    ['DELETE', '/v2/health/ready', 'GET, HEAD'],
    ['POST', '/v2/models/digits', 'GET, HEAD'],
    ['PATCH', '/v2/models/digits/versions/1.0.0/ready', 'GET, HEAD'],
  ])('wrong_method_is_405_with_the_allowed_ones_%s_%s', async (method, path, allow) => {
    const text = await api.exchange(
      `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 405 /);
    expect(text).toContain(`\r\nAllow: ${allow}\r\n`);
    if (method !== 'HEAD') {
      expect(JSON.parse(text.slice(text.indexOf('{')))).toEqual({
        error: `${method} is not allowed on ${path}; allowed: ${allow}`,
        code: 'method_not_allowed',
      });
    }
  });

  it('wrong_method_on_an_unknown_path_or_model_is_not_found', async () => {
    expect(await api.post('/metrics', '')).toMatchObject({ status: 404 });
    expect(await api.post('/v2/models/nope', '')).toMatchObject({
      status: 404,
      body: {
        code: 'model_unknown',
        error: expect.stringContaining('served: digits, types') as string,
      },
    });
    expect(await api.get('/v2/models/nope/infer')).toMatchObject({ status: 404 });
  });

  it('head_is_answered_like_get_without_a_body', async () => {
    const text = await api.exchange(
      'HEAD /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    );
    expect(text).toMatch(/^HTTP\/1\.1 200 [^]*\r\nContent-Length: 13\r\n[^]*\r\n\r\n$/);
  });
});

describe('requests of other sites', () => {
  const body = JSON.stringify({ inputs: [input()] });
  const ask = (headers: string[], over: 'tcp' | 'unix' = 'tcp', version = '1.1') =>
    api.exchange(
      [
        `POST ${INFER} HTTP/${version}`,
        ...headers.map((line) => line.replace('PORT', String(api.port))),
        `Content-Length: ${body.length}`,
        '',
        body,
      ].join('\r\n'),
      null,
      over,
    );

  it.each([
    ['localhost:PORT'],
    ['LOCALHOST:PORT'],
    ['127.0.0.1:PORT'],
    ['127.8.9.1:PORT'],
    ['[::1]:PORT'],
    ['edge-1.local:PORT'],
    ['localhost'],
  ])('host_that_names_this_server_is_accepted_%s', async (host) => {
    expect(await ask([`Host: ${host}`])).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    ['evil.example'],
    ['evil.example:PORT'],
    ['localhost.evil.example:PORT'],
    ['127.0.0.1.evil.example:PORT'],
    ['localhost:1'],
    ['192.168.1.5:PORT'],
    ['user@localhost:PORT'],
    ['localhost:PORT/'],
    ['[::2]:PORT'],
    [''],
  ])('host_of_another_site_is_refused_%s', async (host) => {
    const text = await ask([`Host: ${host}`]);
    expect(text).toMatch(/^HTTP\/1\.1 403 [^]*\r\nConnection: close\r\n/);
    expect(JSON.parse(text.slice(text.indexOf('{')))).toEqual({
      error:
        `Host ${host.replace('PORT', String(api.port))} is not this server; ` +
        `it is localhost or 127.0.0.1 or edge-1.local, port ${api.port}`,
      code: 'request_foreign',
    });
  });

  it.each([
    ['http://localhost:PORT'],
    ['http://127.0.0.1:PORT'],
    ['http://edge-1.local:PORT'],
    ['https://edge-1.local:PORT'],
  ])('origin_of_this_server_is_accepted_%s', async (origin) => {
    expect(await ask(['Host: localhost:PORT', `Origin: ${origin}`])).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    ['http://evil.example'],
    ['http://evil.example:PORT'],
    ['https://localhost'],
    ['http://localhost'],
    ['http://localhost:1'],
    ['file://localhost:PORT'],
    ['null'],
    [''],
    ['localhost:PORT'],
  ])('origin_of_another_site_is_refused_%s', async (origin) => {
    const text = await ask(['Host: localhost:PORT', `Origin: ${origin}`]);
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
    expect(text).toContain('"code":"request_foreign"');
    expect(text).toContain(`Origin ${origin.replace('PORT', String(api.port))} is not this server`);
  });

  it('accepted_host_does_not_open_the_server_for_the_next_one', async () => {
    expect(await ask(['Host: localhost:PORT'])).toMatch(/^HTTP\/1\.1 200 /);
    expect(await ask(['Host: evil.example:PORT'])).toMatch(/^HTTP\/1\.1 403 /);
    expect(await ask(['Host: localhost:PORT'])).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('read_only_resources_are_protected_too', async () => {
    const text = await api.exchange('GET /v2/models/digits HTTP/1.1\r\nHost: evil.example\r\n\r\n');
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
  });

  it('request_of_http_1_0_without_a_host_is_served', async () => {
    expect(await ask([], 'tcp', '1.0')).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('unix_socket_accepts_any_host_and_origin', async () => {
    const headers = ['Host: evil.example', 'Origin: http://evil.example'];
    expect(await ask(headers, 'unix')).toMatch(/^HTTP\/1\.1 200 /);
  });
});
