import { it } from 'vitest';
import { SimFleet, policyOf, releaseOf, type Nature } from '../sim/fleet.js';
const BAD = releaseOf('1.2.0').digest;
it('good', async () => {
  const fleet = new SimFleet({ canaries: 2, fleet: 48 });
  for (const n of [10, 20, 30, 40, 45]) fleet.devices[n]!.silent = true;
  fleet.clock.advance(60_000);
  for (const d of fleet.devices) if (!d.silent) d.report(fleet.clock.now());
  const id = await fleet.begin('1.1.0');
  const t0 = fleet.clock.now();
  await fleet.until(() => fleet.row(id).state === 'completed' || fleet.row(id).state === 'held');
  console.log((fleet.clock.now() - t0) / 1000, fleet.row(id).state, fleet.row(id).reasons, fleet.states(id));
  console.log((await fleet.operators.view(id)).history.map((h) => [h.at, h.state, h.wave, h.reasons.join(' | ')].join(' ')).join('\n'));
  for (const d of fleet.devices) d.silent = false;
  await fleet.seconds(60);
  console.log(fleet.states(id), fleet.versions());
  await fleet.operators.command(id, 'undo', { actor: 'ann' } as never);
  await fleet.until(() => fleet.row(id).state === 'reverted');
  console.log(fleet.row(id).reasons, fleet.versions());
});
for (const nature of ['bad', 'liar', 'dead', 'crashing'] as Nature[])
  it(nature, async () => {
    const fleet = new SimFleet({ canaries: 2, fleet: 98, nature: (n, r) => (r.digest === BAD ? nature : 'good') });
    const id = await fleet.begin('1.2.0');
    await fleet.until(() => ['held', 'reverted'].includes(fleet.row(id).state));
    console.log(nature, (await fleet.operators.view(id)).reasons, fleet.store.takeRows.get(BAD)?.length);
  });
