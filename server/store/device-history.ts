// What happened to one device, for its page: the rollouts that it took part in, its client
// certificates, and what it served over time. Each read walks rows of this device only.
import type {
  DeviceCertificate,
  DeviceHistoryStore,
  DeviceRollout,
  InferencePoint,
} from '../interfaces.js';
import type { MemberState } from '../../shared/protocol/states.js';
import type { InferenceBody } from '../../shared/protocol/telemetry.js';
import type { Db } from './database.js';

export class SqlDeviceHistoryStore implements DeviceHistoryStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  async rollouts(device: string, limit: number): Promise<DeviceRollout[]> {
    const rows = await this.#db
      .selectFrom('members')
      .innerJoin('rollouts', 'rollouts.id', 'members.rollout')
      .where('members.device', '=', device)
      .select([
        'rollouts.id as rollout',
        'rollouts.component',
        'rollouts.version',
        'rollouts.digest',
        'members.wave',
        'members.state',
        'members.since',
        'members.reasons',
      ])
      .orderBy('members.since', 'desc')
      .orderBy('rollouts.id')
      .limit(limit)
      .execute();
    return rows.map(({ component, version, digest, state, ...row }) => ({
      ...row,
      state: state as MemberState,
      release: { component, version, digest },
    }));
  }

  async certificates(device: string, limit: number): Promise<DeviceCertificate[]> {
    const rows = await this.#db
      .selectFrom('device_certificates')
      .where('device', '=', device)
      .select(['serial', 'issued_at as issuedAt', 'expires_at as expiresAt'])
      .orderBy('expires_at', 'desc')
      .limit(limit)
      .execute();
    return rows;
  }

  async inference(device: string, limit: number, before: number | null): Promise<InferencePoint[]> {
    let query = this.#db
      .selectFrom('telemetry')
      .where('device', '=', device)
      .where('kind', '=', 'inference')
      .select(['id', 'at', 'body_json']);
    if (before !== null) query = query.where('id', '<', before);
    const rows = await query.orderBy('id', 'desc').limit(limit).execute();
    return rows.map(({ id, at, body_json }) => ({
      id,
      at,
      body: JSON.parse(body_json) as InferenceBody,
    }));
  }
}
