import { it } from 'vitest';
import { RolloutSimulation } from '../sim/rollout-simulation.js';
it('sim', async () => {
  for (const devices of [1000]) {
    const t = Date.now();
    const e = await new RolloutSimulation({ devices, seed: 1, failureRate: () => 0 }).run();
    console.log(devices, Date.now() - t, JSON.stringify(e));
  }
}, 60000);
