// A model in the process of its agent: the real ONNX Runtime on the real, verified bytes, without a
// process of its own. It lets many agents share one process. What it does not have: isolation from
// a model that crashes or hangs, and a measured memory (it tells the size of the model file).
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Installed } from '../../../agent/interfaces.js';
import type { Host, HostUsage } from '../../../agent/inference/model-process/host.js';
import {
  elementsOf,
  tensorOf,
  type Tensor,
  type TypedData,
} from '../../../agent/inference/model/tensor.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { Fault, reason } from '../../../shared/base/fault-codes.js';
import { loadOnnxRuntime, ORT_TYPE, type Ort } from '../../../shared/platform/onnx-runtime.js';
import { fileOf } from '../../../shared/release/model-manifest.js';

export class InProcessHost implements Host {
  readonly pid = undefined;
  onDeath = null;
  readonly #installed: Installed;
  readonly #ort = loadOnnxRuntime();
  #session: Ort.InferenceSession | null = null;
  #running: Promise<unknown> = Promise.resolve();
  #ready = false;

  constructor(installed: Installed) {
    this.#installed = installed;
  }

  get ready(): boolean {
    return this.#ready;
  }

  async start(warmup: readonly Tensor[]): Promise<HostUsage> {
    const bytes = await this.#verifiedModel();
    try {
      this.#session = await this.#ort.InferenceSession.create(bytes, {
        executionProviders: ['cpu'],
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
      });
    } catch (error) {
      throw new Fault('model_not_onnx', `ONNX Runtime cannot load the model: ${reason(error)}`);
    }
    await this.run(warmup);
    this.#ready = true;
    return this.usage();
  }

  run(inputs: readonly Tensor[]): Promise<Tensor[]> {
    const answer = this.#answer(inputs);
    this.#running = answer.catch(() => {});
    return answer;
  }

  /** CPU time is that of all devices of this process: more than one of them used. */
  usage(): Promise<HostUsage> {
    const { length } = fileOf(this.#installed.release.manifest, 'model');
    const { user, system } = process.cpuUsage();
    const cpuMs = (user + system) / 1000;
    return Promise.resolve({ rssBytes: length, peakBytes: length, cpuMs });
  }

  async stop(): Promise<void> {
    this.#ready = false;
    await this.#running;
    await this.#session?.release();
    this.#session = null;
  }

  async #verifiedModel(): Promise<Buffer> {
    const model = fileOf(this.#installed.release.manifest, 'model');
    const bytes = await readFile(join(this.#installed.folder, model.name));
    if (sha256(bytes) !== model.sha256)
      throw new Fault('file_digest', `${model.name} is not the file that the manifest names`);
    return bytes;
  }

  async #answer(inputs: readonly Tensor[]): Promise<Tensor[]> {
    if (this.#session === null) throw new Fault('host_died', 'the model was stopped');
    const feeds: Record<string, Ort.Tensor> = {};
    for (const input of inputs) {
      const elements = elementsOf(input) as Float32Array;
      feeds[input.name] = new this.#ort.Tensor(
        ORT_TYPE[input.datatype] as 'float32',
        elements,
        input.shape,
      );
    }
    let answers: Ort.InferenceSession.OnnxValueMapType;
    try {
      answers = await this.#session.run(feeds);
    } catch (error) {
      throw new Fault('model_run_failed', `the model failed on these tensors: ${reason(error)}`);
    }
    return this.#installed.release.manifest.outputs.map(({ name, datatype }) => {
      const value = answers[name] as Ort.Tensor;
      return tensorOf(name, datatype, value.dims, value.data as TypedData);
    });
  }
}
