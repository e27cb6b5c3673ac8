// Which resource of the API a request names: pure, from method and URL. The paths are those of the
// Open Inference Protocol v2. A path that does not exist is `not_found`, a model that is not served
// is `model_unknown`, and a wrong method on an existing path is `method_not_allowed` with the
// methods that are allowed.
import { Fault } from '../../../shared/base/fault-codes.js';

type ServerResource = 'server' | 'live' | 'ready';
type ModelResource = 'model' | 'model-ready' | 'infer';

/** `version` is undefined when the path names none. */
export type Route<Model> =
  | { readonly resource: ServerResource }
  | {
      readonly resource: ModelResource;
      readonly name: string;
      readonly model: Model;
      readonly version: string | undefined;
    };

export class MethodNotAllowed extends Fault {
  constructor(
    method: string,
    path: string,
    /** For the Allow header. */
    readonly allowed: readonly string[],
  ) {
    super(
      'method_not_allowed',
      `${method} is not allowed on ${path}; allowed: ${allowed.join(', ')}`,
    );
  }
}

const MODEL_PATH = /^\/v2\/models\/([^/?]+)(?:\/versions\/([^/?]+))?(?:\/(ready|infer))?$/;
const SERVER_PATHS: ReadonlyMap<string, ServerResource> = new Map([
  ['/v2', 'server'],
  ['/v2/health/live', 'live'],
  ['/v2/health/ready', 'ready'],
]);
const READ = ['GET', 'HEAD'];
const INFER = ['POST'];

export class Router<Model> {
  readonly #models: ReadonlyMap<string, Model>;
  /** The usual requests: found by their whole URL, without parsing it. */
  readonly #inferRoutes = new Map<string, Route<Model>>();

  /** `models`: by name in the protocol, which is the component. */
  constructor(models: ReadonlyMap<string, Model>) {
    this.#models = models;
    for (const [name, model] of models) {
      this.#inferRoutes.set(`/v2/models/${name}/infer`, {
        resource: 'infer',
        name,
        model,
        version: undefined,
      });
    }
  }

  /**
   * Faults: `not_found`, `model_unknown`, `method_not_allowed` (a MethodNotAllowed),
   * `request_undecodable` (broken percent-encoding).
   */
  route(method: string, url: string): Route<Model> {
    const usual = method === 'POST' ? this.#inferRoutes.get(url) : undefined;
    if (usual !== undefined) return usual;
    const query = url.indexOf('?');
    const path = (query < 0 ? url : url.slice(0, query)).replace(/(.)\/$/, '$1');
    const route = this.#find(path);
    const allowed = route.resource === 'infer' ? INFER : READ;
    if (!allowed.includes(method)) throw new MethodNotAllowed(method, path, allowed);
    return route;
  }

  #find(path: string): Route<Model> {
    const resource = SERVER_PATHS.get(path);
    if (resource !== undefined) return { resource };
    const match = MODEL_PATH.exec(path);
    if (match === null)
      throw new Fault(
        'not_found',
        `there is no ${path}; the API is the Open Inference Protocol v2, under /v2`,
      );
    const [, encodedName = '', encodedVersion, verb] = match;
    const name = decodeSegment(encodedName);
    const version = encodedVersion === undefined ? undefined : decodeSegment(encodedVersion);
    const model = this.#models.get(name);
    if (model === undefined) {
      const served = [...this.#models.keys()].join(', ') || 'none';
      throw new Fault('model_unknown', `model ${name} is not served here; served: ${served}`);
    }
    const modelResource =
      verb === 'infer' ? 'infer' : verb === 'ready' ? 'model-ready' : ('model' as const);
    return { resource: modelResource, name, model, version };
  }
}

function decodeSegment(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError)
      throw new Fault('request_undecodable', 'the path is not percent-encoded UTF-8', {
        cause: error,
      });
    throw error;
  }
}
