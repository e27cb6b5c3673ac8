// Rows of enrolled devices, without their agents, for tests with many of them.
import type { Insertable } from 'kysely';
import type { DevicesTable } from '../../server/store/tables.js';
import { deviceId } from '../sim/fleet.js';
import { T0 } from './rollout-rows.js';

/** 100 devices from this number on. */
export const devicesFrom = (first: number): Insertable<DevicesTable>[] =>
  Array.from({ length: 100 }, (_, n) => ({
    id: deviceId(first + n),
    name: `d${first + n}`,
    hardware: 'pi4',
    components_json: '["digits"]',
    public_key: '',
    status: 'enrolled' as const,
    group_name: 'fleet',
    labels_json: '{}',
    first_seen_at: 1,
    enrolled_at: 1,
    last_seen_at: T0,
    assignment_revision: 0,
  }));
