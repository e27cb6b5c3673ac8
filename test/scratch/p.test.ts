import { it } from 'vitest';
import { boundariesOf, haltReport } from '../../server/rollout/halt.js';
import { failuresToHalt } from '../../shared/statistics/halt-boundary.js';
import { policyOf } from '../sim/fleet.js';
import { member, rollout, situation, takesOf } from '../support/rollout-rows.js';
it('x', () => {
  for (const n of [1, 2, 3, 4, 5, 6, 10, 20, 30, 50, 100, 500, 1000]) {
    const { halt, hold } = boundariesOf(new Map([['pi4', n]]), policyOf());
    const steps = (b: typeof hold) => { const out = []; let last = 0; for (let t = 1; t <= n; t++) { const f = failuresToHalt(b, t); if (f !== last) { out.push(`${t}:${f}`); last = f; } if (out.length > 8) break; } return out.join(' '); };
    console.log(n, 'halt', halt.pooled.chance.toFixed(4), steps(halt.pooled), '| hold', hold.chance.toFixed(4), steps(hold));
  }
  const f = (bad: boolean[]) => bad.map((b, n) => member(n, { failed: b, state: b ? 'failed' : 'confirmed', reasons: 'x' }));
  for (const bad of [[true], [true, true], [true, false, true], [true, true, ...Array(38).fill(false)], Array(5).fill(false)]) {
    const members = f(bad as boolean[]);
    console.log(haltReport(situation({ rollout: rollout(), members, takes: takesOf(members) })));
  }
  const more = [...f([true, true]), ...Array.from({ length: 18 }, (_, n) => member(n + 2, { state: 'waiting', assignmentId: null, hardware: n % 2 ? 'a' : 'pi4' }))];
  console.log(haltReport(situation({ members: more, takes: takesOf(more) })));
});
