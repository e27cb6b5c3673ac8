// Which request of an operator an assignment follows from: the W3C trace id of that request, told
// to the device in a header beside its director metadata. Not in the signed documents: an older
// agent refuses a field there that it does not know, and a log line needs no signature.

/** Of the answer with timestamp.json. */
export const TRACES_HEADER = 'linnet-traces';

/** Of W3C Trace Context: 16 bytes in lower-case hex. */
export const TRACE_PATTERN = '^[0-9a-f]{32}$';

export interface AssignmentTrace {
  readonly component: string;
  readonly assignmentId: number;
  readonly trace: string;
}

/** `digits;17;4bf92f3577b34da6a3ce929d0e0e4736`, with commas between them. */
export const tracesText = (traces: readonly AssignmentTrace[]): string =>
  traces
    .map(({ component, assignmentId, trace }) => [component, assignmentId, trace].join(';'))
    .join();

const ENTRY = /^([a-z0-9][a-z0-9-]{0,62});([1-9][0-9]{0,9});([0-9a-f]{32})$/;

/** Entries of another form are left out. */
export function tracesIn(header: string): AssignmentTrace[] {
  return header.split(',').flatMap((entry) => {
    const [, component, id, trace] = ENTRY.exec(entry.trim()) ?? [];
    return component === undefined || trace === undefined
      ? []
      : [{ component, assignmentId: Number(id), trace }];
  });
}
