// Names for what the quantizer adds to a graph. Promises that no name it gives is one that the
// graph already uses, for a value or a node, in the main graph or in a subgraph; and that the same
// graph gives the same names.
import { allNodes, allValueNames } from '../onnx/nodes.js';
import type { GraphProto } from '../onnx/onnx_pb.js';

export class FreshNames {
  readonly #taken: Set<string>;

  constructor(graph: GraphProto) {
    this.#taken = new Set(allValueNames(graph));
    for (const { name } of allNodes(graph)) this.#taken.add(name);
  }

  /** `base` when it is free, else `base` with the first free number behind it. */
  of(base: string): string {
    let name = base;
    for (let count = 2; this.#taken.has(name); count++) name = `${base}_${count}`;
    this.#taken.add(name);
    return name;
  }
}
