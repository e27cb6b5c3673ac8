// W3C trace context (www.w3.org/TR/trace-context): a request belongs to the trace that its
// `traceparent` names, or begins one. The result is the request's id: it is in the log lines of the
// request and in the answer's `traceparent`, so that an operator's tool finds both by the trace id.
import { hex } from '../../shared/base/bytes.js';
import type { Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';

const TRACEPARENT =
  /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})/;
const NOT_SAMPLED = '00';

/** The trace id in what traceparentOf returned. */
export const traceOf = (traceparent: string): string => traceparent.split('-')[1] ?? '';

/** What the server answers to `header`: the same trace, and a span of its own. */
export function traceparentOf(header: string | string[] | undefined, random: Random): string {
  const given = typeof header === 'string' ? TRACEPARENT.exec(header) : null;
  // One draw: each costs more than the rest of this, and every request has one.
  const drawn = random.bytes(limits.spanIdBytes + limits.traceIdBytes);
  const span = hex(drawn.subarray(0, limits.spanIdBytes));
  const trace = given?.[1] ?? hex(drawn.subarray(limits.spanIdBytes));
  return `00-${trace}-${span}-${given?.[2] ?? NOT_SAMPLED}`;
}
