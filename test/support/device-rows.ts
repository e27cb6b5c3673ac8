// Rows of devices, without their agents, for tests with many of them.
import type { Insertable } from 'kysely';
import type { DevicesTable } from '../../server/store/tables.js';
import { deviceId } from '../sim/fleet.js';
import { T0 } from './rollout-rows.js';

type DeviceColumns = Insertable<DevicesTable>;

/** An enrolled device. */
export const deviceRow = (n: number, change: Partial<DeviceColumns> = {}): DeviceColumns => ({
  id: deviceId(n),
  name: `d${n}`,
  hardware: 'pi4',
  components_json: '["digits"]',
  public_key: '',
  status: 'enrolled',
  group_name: 'fleet',
  labels_json: '{}',
  first_seen_at: 1,
  enrolled_at: 1,
  last_seen_at: T0,
  assignment_revision: 0,
  ...change,
});

/** 100 devices from this number on. */
export const devicesFrom = (first: number): DeviceColumns[] =>
  Array.from({ length: 100 }, (_, n) => deviceRow(first + n));
