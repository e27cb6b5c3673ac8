// A running inference API on real sockets (loopback TCP and a unix socket) with four models, and
// clients for it: `digits` adds a bias, `types` passes every datatype through, `slow` multiplies
// matrices, `empty` has no release.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { InferenceServer } from '../../agent/inference/api/inference-server.js';
import type { Engine } from '../../agent/inference/engine/engine.js';
import type { Installed } from '../../agent/interfaces.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realClock } from '../../shared/platform/clock.js';
import { testEngine } from './inference-engines.js';
import { adder, everyType, install, slow } from './inference-releases.js';

/** Of the protocol and its extensions. A list of its own: the one in the code could lose one. */
export const UNSUPPORTED_PARAMETERS = [
  'sequence_id',
  'sequence_start',
  'sequence_end',
  'timeout',
  'priority',
  'classification',
  'class_count',
  'shared_memory_region',
  'shared_memory_byte_size',
  'shared_memory_offset',
];

export const REQUEST_MAX_BYTES = 8 * 1024 * 1024;
export const INFER = '/v2/models/digits/infer';

export interface Answer {
  status: number;
  headers: Headers;
  /** JSON; null when it is something else. */
  body: unknown;
}

export class InferenceApi {
  readonly root = mkdtempSync(join(tmpdir(), 'linnet-inference-api-'));
  readonly unix = join(this.root, 'api.sock');
  readonly engines = new Map<string, Engine>();
  readonly digits: Installed = install(this.root, adder('1.0.0', [0.5, 0, 0, 0]));
  port = 0;
  readonly #server: InferenceServer;

  private constructor() {
    for (const component of ['digits', 'types', 'slow', 'empty']) {
      const limits = {
        requestMaxBytes: REQUEST_MAX_BYTES,
        requestDeadlineMs: 30_000,
        hostRunMs: 60_000,
      };
      this.engines.set(component, testEngine(this.root, { component, limits }));
    }
    this.#server = new InferenceServer({
      engines: this.engines,
      clock: realClock,
      log: silentLog,
      version: '9.9.9',
      tcp: { host: '127.0.0.1', port: 0, hostNames: ['edge-1.local'] },
      unix: this.unix,
      limits: { requestMaxBytes: REQUEST_MAX_BYTES },
    });
  }

  static async start(): Promise<InferenceApi> {
    const api = new InferenceApi();
    await api.engines.get('digits')?.serve(api.digits, null);
    for (const recipe of [
      { ...everyType(), component: 'types' },
      { ...slow(), component: 'slow' },
    ])
      await api.engines.get(recipe.component)?.serve(install(api.root, recipe), null);
    api.port = (await api.#server.listen()).tcp?.port ?? 0;
    return api;
  }

  async close(): Promise<void> {
    await this.#server.close();
    await Promise.all([...this.engines.values()].map((engine) => engine.stop()));
    rmSync(this.root, { recursive: true, force: true });
  }

  async get(path: string, method = 'GET'): Promise<Answer> {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, { method });
    const { status, headers } = response;
    return { status, headers, body: await response.json() };
  }

  /** `body`: bytes and text are sent as they are, objects as JSON. */
  async post(
    path: string,
    body: Uint8Array | string | object,
    headers: Record<string, string> = {},
  ): Promise<Answer & { bytes: Buffer }> {
    const payload =
      typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method: 'POST',
      body: payload as string,
      headers,
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const json =
      response.headers.get('content-type') === 'application/json'
        ? (JSON.parse(bytes.toString()) as unknown)
        : null;
    return { status: response.status, headers: response.headers, body: json, bytes };
  }

  /**
   * Sends `head` over TCP, or over the unix socket, and then, with `piece`, chunks of it without
   * end. Returns what came back until the server closed the connection or answered with JSON.
   */
  async exchange(
    head: string,
    piece: string | null = null,
    over: 'tcp' | 'unix' = 'tcp',
  ): Promise<string> {
    const socket = over === 'tcp' ? connect(this.port, '127.0.0.1') : connect({ path: this.unix });
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
}

export const floats = (...values: number[]): Buffer =>
  Buffer.from(Float32Array.from(values).buffer);

/** The input of `digits` in a request. */
export const input = (more: object = {}) => ({
  name: 'x',
  shape: [1, 4],
  datatype: 'FP32',
  data: [1, 2, 3, 4],
  ...more,
});

/** JSON header and binary tensors, as the binary tensor data extension says. */
export function binary(header: object, ...tensors: Buffer[]): [Buffer, Record<string, string>] {
  const head = Buffer.from(JSON.stringify(header));
  return [
    Buffer.concat([head, ...tensors]),
    {
      'Inference-Header-Content-Length': String(head.length),
      'Content-Type': 'application/octet-stream',
    },
  ];
}

export function unpack({ headers, bytes }: { headers: Headers; bytes: Buffer }): {
  head: unknown;
  rest: Buffer;
} {
  const length = Number(headers.get('inference-header-content-length'));
  return {
    head: JSON.parse(bytes.subarray(0, length).toString()) as unknown,
    rest: bytes.subarray(length),
  };
}
