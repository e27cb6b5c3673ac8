// The W3C trace ids of the operators' requests that assignments follow from, as the server told
// them with the last metadata. They are for logs and reports only: nothing here is signed, and
// nothing is decided by it. Kept in memory: after a start the first poll tells them again.
import { tracesIn } from '../../shared/protocol/assignment-traces.js';

export class Traces {
  #known: ReadonlyMap<string, string> = new Map();

  /** The value of the header TRACES_HEADER; anything else changes nothing. */
  learn(header: string): void {
    const found = tracesIn(header);
    if (found.length > 0)
      this.#known = new Map(
        found.map(({ component, assignmentId, trace }) => [keyOf(component, assignmentId), trace]),
      );
  }

  /** Undefined: not told. */
  of(component: string, assignmentId: number): string | undefined {
    return this.#known.get(keyOf(component, assignmentId));
  }
}

const keyOf = (component: string, assignmentId: number): string => `${component} ${assignmentId}`;
