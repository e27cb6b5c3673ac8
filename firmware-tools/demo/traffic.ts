// The application on a device, as an integrator would write it: it sends held-out inputs to the
// local inference API without pause, over one kept-alive connection, and checks the answers against
// the truth. It never retries: a request without an answer, in time or at all, counts as lost.
import { Agent, request } from 'node:http';
import { limits } from '../../shared/base/limits.js';

export interface DigitSet {
  readonly images: readonly Float32Array[];
  readonly labels: Uint8Array;
}

/** What an application asks of one model, again and again. */
export interface Task {
  readonly model: string;
  /** Name of the model's input, and the shape of one. */
  readonly input: string;
  readonly shape: readonly number[];
  readonly inputs: readonly Float32Array[];
  /** Whether the bytes of the first output are the right answer to that input. */
  readonly isRight: (output: Buffer, index: number) => boolean;
}

export const digitTask = ({ images, labels }: DigitSet): Task => ({
  model: 'digits',
  input: 'image',
  shape: [1, 1, 28, 28],
  inputs: images,
  isRight: (output, index) => largest(output) === labels[index],
});

/** What one release answered on one device. */
export interface Tally {
  served: number;
  right: number;
}

export interface TrafficCounts {
  sent: number;
  /** No answer within the timeout, or one that cannot be decoded. */
  lost: number;
  /** By release, as the answer's `Linnet-Release` header names it (`digits@1.1.0`). */
  readonly byRelease: Map<string, Tally>;
  /**
   * The same by the whole header, which names the exact release by its digest
   * (`digits@1.1.0#9f...`).
   */
  readonly byHeader: Map<string, Tally>;
  readonly complaints: string[];
}

const COMPLAINTS_MAX = 5;
const CLASSES = 10;
const READY_STEP_MS = 100;
/**
 * Twice the device's own deadline: a request that takes longer hangs, and without a timeout it
 * would never count as lost.
 */
const REQUEST_TIMEOUT_MS = 2 * limits.requestDeadlineMs;
const READY_TIMEOUT_MS = 5_000;

export interface TrafficOptions {
  readonly port: number;
  readonly task: Task;
  /** Index of the input to begin with. */
  readonly first: number;
  readonly timeoutMs?: number | undefined;
}

export class Traffic {
  readonly counts: TrafficCounts = {
    sent: 0,
    lost: 0,
    byRelease: new Map(),
    byHeader: new Map(),
    complaints: [],
  };
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #stopped = false;
  #timer: NodeJS.Timeout | null = null;
  #at: number;
  #pending = new Set<Promise<void>>();

  readonly #port: number;
  readonly #task: Task;
  readonly #timeoutMs: number;

  constructor(options: TrafficOptions) {
    this.#port = options.port;
    this.#task = options.task;
    this.#at = options.first;
    this.#timeoutMs = options.timeoutMs ?? REQUEST_TIMEOUT_MS;
  }

  /** Starts as soon as the device serves a model; from then on every request must be answered. */
  async startWhenReady(perSecond: number): Promise<void> {
    while (!this.#stopped && !(await modelReady(this.#port, this.#task.model)))
      await new Promise((resolve) => setTimeout(resolve, READY_STEP_MS));
    if (!this.#stopped) this.start(perSecond);
  }

  /** Sends `perSecond` inputs a second until stopped, whether or not earlier ones were answered. */
  start(perSecond: number): void {
    this.#stopped = false;
    this.#timer = setInterval(() => {
      const sending = this.#send().finally(() => this.#pending.delete(sending));
      this.#pending.add(sending);
    }, 1000 / perSecond);
  }

  /**
   * Stops sending and waits for the last answers, for no longer than one request may take. It may
   * be started again.
   */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await Promise.all(this.#pending);
    this.#agent.destroy();
  }

  async #send(): Promise<void> {
    const at = this.#at % this.#task.inputs.length;
    this.#at += 1;
    const input = this.#task.inputs[at];
    if (input === undefined) return;
    this.counts.sent += 1;
    try {
      const { header, output } = await this.answer(input);
      const right = this.#task.isRight(output, at);
      count(this.counts.byRelease, nameIn(header), right);
      count(this.counts.byHeader, header, right);
    } catch (error) {
      this.counts.lost += 1;
      if (this.counts.complaints.length < COMPLAINTS_MAX)
        this.counts.complaints.push(error instanceof Error ? error.message : String(error));
    }
  }

  /** One digit (784 values in [0, 1]) -> the class and the name of the release that answered. */
  async classify(image: Float32Array): Promise<{ release: string; digit: number }> {
    const { header, output } = await this.answer(image);
    return { release: nameIn(header), digit: largest(output) };
  }

  /**
   * One input -> the whole `Linnet-Release` header and the bytes of the outputs. Open Inference
   * Protocol v2, binary tensors.
   */
  answer(input: Float32Array): Promise<{ header: string; output: Buffer }> {
    const head = Buffer.from(
      JSON.stringify({
        inputs: [
          {
            name: this.#task.input,
            shape: this.#task.shape,
            datatype: 'FP32',
            parameters: { binary_data_size: input.byteLength },
          },
        ],
        parameters: { binary_data_output: true },
      }),
    );
    const body = Buffer.concat([
      head,
      Buffer.from(input.buffer, input.byteOffset, input.byteLength),
    ]);
    return new Promise((resolve, reject) => {
      const sending = request(
        {
          host: '127.0.0.1',
          port: this.#port,
          method: 'POST',
          path: `/v2/models/${this.#task.model}/infer`,
          agent: this.#agent,
          signal: AbortSignal.timeout(this.#timeoutMs),
          headers: {
            'content-type': 'application/octet-stream',
            'inference-header-content-length': head.length,
            'content-length': body.length,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const bytes = Buffer.concat(chunks);
            if (response.statusCode !== 200) {
              const text = bytes.toString('utf8').slice(0, 300);
              reject(new Error(`HTTP ${response.statusCode ?? 0}: ${text}`));
              return;
            }
            const skip = Number(response.headers['inference-header-content-length'] ?? 0);
            resolve({
              header: String(response.headers['linnet-release'] ?? 'unknown'),
              output: bytes.subarray(skip),
            });
          });
        },
      );
      sending.on('error', reject);
      sending.end(body);
    });
  }
}

const nameIn = (header: string): string => header.split('#')[0] ?? header;

function count(tallies: Map<string, Tally>, key: string, right: boolean): void {
  const tally = tallies.get(key) ?? { served: 0, right: 0 };
  tally.served += 1;
  if (right) tally.right += 1;
  tallies.set(key, tally);
}

/** Index of the largest of the CLASSES little-endian floats at the start of `bytes`. */
function largest(bytes: Buffer): number {
  let best = 0;
  for (let at = 1; at < CLASSES; at += 1)
    if (bytes.readFloatLE(at * 4) > bytes.readFloatLE(best * 4)) best = at;
  return best;
}

export function modelReady(port: number, model = 'digits'): Promise<boolean> {
  return answersOk(`http://127.0.0.1:${port}/v2/models/${model}/ready`);
}

/** Whether `url` answers 2xx; false when the connection is refused or hangs. */
export async function answersOk(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(READY_TIMEOUT_MS) })).ok;
  } catch (error) {
    // fetch reports a refused connection as TypeError: not up yet.
    if (error instanceof TypeError) return false;
    if (error instanceof DOMException && error.name === 'TimeoutError') return false;
    throw error;
  }
}
