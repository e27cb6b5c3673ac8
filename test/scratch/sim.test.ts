import { it } from 'vitest';
import { RolloutSimulation } from '../sim/rollout-simulation.js';
import { scenarios, measure, lineOf } from '../sim/rollout-tables.js';
it('sim', async () => {
  for (const s of scenarios.filter((s) => /silent|cuts|open at/.test(s.name))) {
    const row = await measure(s, s.fleet.devices === 1000 ? 10 : 10, 5);
    console.log(lineOf(row), row.endings.map((e) => e.state + ' ' + e.reasons[0] + e.takes).join('\n'));
  }
}, 100000);
