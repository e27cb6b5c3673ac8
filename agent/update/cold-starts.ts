// Whether the release on trial has come through a cold start: a new process that loads it from disk.
// That is not in the record, because an agent that starts in the trial, after a power cut too,
// starts such a process itself. So what is forgotten with this agent is done again by the next one.
export class ColdStarts {
  #last: { readonly assignmentId: number; readonly how: string } | null = null;

  /** How it came through, for an operator; null: it has not. */
  of(assignmentId: number): string | null {
    return this.#last?.assignmentId === assignmentId ? this.#last.how : null;
  }

  note(assignmentId: number, how: string): void {
    this.#last = { assignmentId, how };
  }
}
