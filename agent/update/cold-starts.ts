// Whether the release on trial has come through a cold start: a new process that loads it from
// disk. That is not in the record, because an agent that starts in the trial, after a power cut
// too, starts such a process itself: what this agent forgets at its end, the next one does.
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
