// One model of the API: its protocol surface over its engine. Knows no sockets. It keeps, between
// requests, what repeats: the last request header, the last answer header, the release's label.
import type { IncomingMessage } from 'node:http';
import { Fault } from '../../../shared/base/fault-codes.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import type { Engine } from '../engine/engine.js';
import type { InferenceLimits } from '../inference-limits.js';
import { AnswerWriter, modelMetadata, type EncodedAnswer } from './answer-writer.js';
import { RequestReader } from './open-inference.js';
import { HEADER_LENGTH, headerLengthText } from './request-body.js';

export interface ServedAnswer {
  /** `component@version#digest` of the release that answered. */
  readonly release: string;
  readonly answer: EncodedAnswer;
}

export class ServedModel {
  readonly #engine: Engine;
  readonly #reader: RequestReader;
  readonly #writer = new AnswerWriter();
  #label: { readonly release: ReleaseRef; readonly text: string } | null = null;

  constructor(engine: Engine, limits: InferenceLimits) {
    this.#engine = engine;
    this.#reader = new RequestReader(limits);
  }

  /** True while a release is loaded; with `version`, only while it is that one. */
  isReady(version?: string): boolean {
    const { ready, serving } = this.#engine;
    return ready && (version === undefined || serving?.release.version === version);
  }

  /** Faults: `model_not_ready`; `model_unknown` for another version than the served one. */
  metadata(version: string | undefined): { readonly release: string; readonly body: object } {
    const { release, manifest } = this.#serving();
    const { component } = this.#engine;
    if (version !== undefined && version !== release.version) {
      throw new Fault(
        'model_unknown',
        `${component} version ${version} is not served here; served: ${release.version}`,
      );
    }
    return {
      release: this.#labelOf(release),
      body: modelMetadata(component, release, manifest),
    };
  }

  /** Faults: those of RequestReader.read and Engine.infer. */
  async infer(
    request: IncomingMessage,
    version: string | undefined,
    body: Buffer,
  ): Promise<ServedAnswer> {
    const encoding = request.headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity')
      throw new Fault('request_unsupported', `content encoding ${encoding} is not supported`);
    const { manifest } = this.#serving();
    const headerBytes = headerLength(headerLengthText(request));
    const call = this.#reader.read(body, headerBytes, manifest.inputs);
    const { outputs } = call.form;
    const plain = version === undefined && outputs === undefined;
    const answer = await this.#engine.infer(
      plain ? call : { inputs: call.inputs, version, outputs },
    );
    return {
      release: this.#labelOf(answer.release),
      answer: this.#writer.write(answer.release, answer.outputs, call.form),
    };
  }

  #serving(): NonNullable<Engine['serving']> {
    const { serving, component } = this.#engine;
    if (serving === null)
      throw new Fault('model_not_ready', `no release of ${component} is loaded yet`);
    return serving;
  }

  #labelOf(release: ReleaseRef): string {
    if (this.#label?.release !== release) {
      const { component, version, digest } = release;
      this.#label = { release, text: `${component}@${version}#${digest}` };
    }
    return this.#label.text;
  }
}

function headerLength(text: string | string[] | undefined): number | null {
  if (text === undefined) return null;
  if (typeof text !== 'string' || !/^\d{1,10}$/.test(text))
    throw new Fault('request_undecodable', `${HEADER_LENGTH} is not a number of bytes`);
  return Number(text);
}
