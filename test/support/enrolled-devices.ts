// Devices of a store, enrolled without their agents.
import type { Store } from '../../server/store/store.js';
import { by } from './audit-actions.js';
import { newDevice } from './fleet-server.js';

/** Their ids. */
export async function enrolledIn(store: Store, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    const { id, key, name } = newDevice(`d${n}`);
    const request = {
      publicKey: key.publicKey,
      name,
      hardware: 'sim',
      components: ['digits'],
      signature: 'not checked here',
    };
    await store.devices.enrol(id, request, null, 1);
    await store.devices.approve(id, by('anna'), 1);
    ids.push(id);
  }
  return ids;
}
