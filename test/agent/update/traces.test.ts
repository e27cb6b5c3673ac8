// The trace of the operator's request, from the server's header to the log line and the report of
// an update.
import { describe, expect, it } from 'vitest';
import { Traces } from '../../../agent/update/traces.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { tracesIn, tracesText } from '../../../shared/protocol/assignment-traces.js';
import type { UpdateBody } from '../../../shared/protocol/telemetry.js';
import { bootDevice, settle } from '../../sim/device.js';
import { SimDisk } from '../../sim/disk.js';
import { assignmentFor, simRelease } from '../../sim/release.js';
import { seeded } from '../../support/random.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const OTHER = 'ab'.repeat(16);

describe('the header with the traces of assignments', () => {
  it('reads_as_it_was_written', () => {
    const traces = [
      { component: 'digits', assignmentId: 17, trace: TRACE },
      { component: 'texts-2', assignmentId: 4_000_000_000, trace: OTHER },
    ];
    expect(tracesIn(tracesText(traces))).toEqual(traces);
  });

  it.each([
    '',
    'digits',
    `digits;0;${TRACE}`,
    `digits;17;${TRACE.toUpperCase()}`,
    `digits;17;${TRACE};more`,
    `Digits;17;${TRACE}`,
    `digits;17;${TRACE}0`,
  ])('has_no_entry_of_another_form_%j', (header) => {
    expect(tracesIn(header)).toEqual([]);
    expect(tracesIn(`${header},digits;3;${OTHER}`)).toHaveLength(1);
  });
});

describe('a device', () => {
  it('knows_the_trace_of_the_very_assignment_and_keeps_it_over_an_empty_header', () => {
    const traces = new Traces();
    expect(traces.of('digits', 17)).toBeUndefined();
    traces.learn(tracesText([{ component: 'digits', assignmentId: 17, trace: TRACE }]));
    traces.learn('junk');
    expect([traces.of('digits', 17), traces.of('digits', 18), traces.of('texts', 17)]).toEqual([
      TRACE,
      undefined,
      undefined,
    ]);
    traces.learn(tracesText([{ component: 'digits', assignmentId: 18, trace: OTHER }]));
    expect([traces.of('digits', 17), traces.of('digits', 18)]).toEqual([undefined, OTHER]);
  });

  it('logs_it_with_each_step_and_reports_it', async () => {
    const v1 = simRelease('1.0.0');
    const lines: Record<string, unknown>[] = [];
    const device = await bootDevice(new SimDisk(seeded(1)), [v1], {
      traceOf: (assignmentId) => (assignmentId === 4 ? TRACE : undefined),
      log: { ...silentLog, info: (fields) => void lines.push({ ...fields }) },
    });
    await settle(device, assignmentFor(v1, 4));
    const moves = lines.filter(({ event }) => event !== undefined);
    expect(moves.map(({ event }) => event)).toContain('swapped');
    expect(new Set(moves.map(({ trace }) => trace))).toEqual(new Set([TRACE]));
    expect(new Set(moves.map(({ rollout }) => typeof rollout))).toEqual(new Set(['string']));
    const reported = device.reports.flatMap(({ kind, body }) =>
      kind === 'update' ? [body as UpdateBody] : [],
    );
    expect(reported.map((body) => [body.assignmentId, body.trace])).toContainEqual([4, TRACE]);
    for (const body of reported)
      expect(body.trace).toBe(body.assignmentId === 4 ? TRACE : undefined);
    expect(reported.some((body) => !('trace' in body))).toBe(true);
  });
});
