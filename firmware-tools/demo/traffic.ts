// The application on a device, as an integrator would write it: it sends held-out digits to the
// local inference API, all the time, over one kept-alive connection, and checks the answers against
// the true labels. It never retries: a request without an answer, in time or at all, is a lost
// request.
import { Agent, request } from 'node:http';
import { limits } from '../../shared/base/limits.js';

export interface DigitSet {
  readonly images: readonly Float32Array[];
  readonly labels: Uint8Array;
}

/** What one release answered on one device. */
export interface Tally {
  served: number;
  right: number;
}

export interface TrafficCounts {
  sent: number;
  /** No answer within REQUEST_TIMEOUT_MS, or an answer that is none. */
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
 * Twice the device's own deadline: whatever takes longer is hung, and a request that hangs for ever
 * would never count as lost.
 */
export const REQUEST_TIMEOUT_MS = 2 * limits.requestDeadlineMs;
const QUESTION_TIMEOUT_MS = 5_000;

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

  /** `first` is the digit to begin with, so that devices see different ones at a time. */
  constructor(
    private readonly port: number,
    private readonly digits: DigitSet,
    first: number,
    private readonly model = 'digits',
    private readonly timeoutMs = REQUEST_TIMEOUT_MS,
  ) {
    this.#at = first;
  }

  /** Begins as soon as the device serves a model; from then on every request must be answered. */
  async startWhenReady(perSecond: number): Promise<void> {
    while (!this.#stopped && !(await modelReady(this.port, this.model)))
      await new Promise((resolve) => setTimeout(resolve, READY_STEP_MS));
    if (!this.#stopped) this.start(perSecond);
  }

  /** Sends `perSecond` digits a second until stopped, whether or not earlier ones were answered. */
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
    const at = this.#at % this.digits.images.length;
    this.#at += 1;
    const image = this.digits.images[at];
    if (image === undefined) return;
    this.counts.sent += 1;
    try {
      const { header, digit } = await this.answer(image);
      const right = digit === this.digits.labels[at];
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
    const { header, digit } = await this.answer(image);
    return { release: nameIn(header), digit };
  }

  /**
   * The same with the whole `Linnet-Release` header. Open Inference Protocol v2, binary tensors.
   */
  answer(image: Float32Array): Promise<{ header: string; digit: number }> {
    const head = Buffer.from(
      JSON.stringify({
        inputs: [
          {
            name: 'image',
            shape: [1, 1, 28, 28],
            datatype: 'FP32',
            parameters: { binary_data_size: image.byteLength },
          },
        ],
        parameters: { binary_data_output: true },
      }),
    );
    const body = Buffer.concat([
      head,
      Buffer.from(image.buffer, image.byteOffset, image.byteLength),
    ]);
    return new Promise((resolve, reject) => {
      const sending = request(
        {
          host: '127.0.0.1',
          port: this.port,
          method: 'POST',
          path: `/v2/models/${this.model}/infer`,
          agent: this.#agent,
          signal: AbortSignal.timeout(this.timeoutMs),
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
            if (response.statusCode !== 200)
              return reject(
                new Error(
                  `HTTP ${response.statusCode ?? 0}: ${bytes.toString('utf8').slice(0, 300)}`,
                ),
              );
            const skip = Number(response.headers['inference-header-content-length'] ?? 0);
            resolve({
              header: String(response.headers['linnet-release'] ?? 'unknown'),
              digit: largest(bytes.subarray(skip)),
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

/** Whether `url` answers 2xx. Refusing the connection or hanging is a no. */
export async function answersOk(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(QUESTION_TIMEOUT_MS) })).ok;
  } catch (error) {
    // fetch's word for a connection that was refused: not up yet.
    if (error instanceof TypeError) return false;
    if (error instanceof DOMException && error.name === 'TimeoutError') return false;
    throw error;
  }
}
