// Client certificates that devices hold, by serial number. Whether one is revoked is the status of
// its device and stored nowhere else, so that the two never differ.
import { Fault } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import type { CertificateStore, IssuedCertificate } from '../interfaces.js';
import type { Db } from './database.js';

export class SqlCertificateStore implements CertificateStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  add(device: string, { serial, issuedAt, expiresAt }: IssuedCertificate): Promise<void> {
    return this.#db.transaction().execute(async (trx) => {
      const row = await trx
        .selectFrom('devices')
        .select('status')
        .where('id', '=', device)
        .executeTakeFirst();
      if (row?.status !== 'enrolled') throw new Fault('auth_denied', `${device} is not enrolled`);
      const { held } = await trx
        .selectFrom('device_certificates')
        .select((eb) => eb.fn.countAll<number>().as('held'))
        .where('device', '=', device)
        .where('expires_at', '>', issuedAt)
        .executeTakeFirstOrThrow();
      if (held >= limits.deviceCertificatesMaxCount)
        throw new Fault('conflict', `${device} has ${held} valid certificates already`);
      await trx
        .insertInto('device_certificates')
        .values({ serial, device, issued_at: issuedAt, expires_at: expiresAt })
        .execute();
    });
  }

  async revoked(now: number): Promise<string[]> {
    await this.#db.deleteFrom('device_certificates').where('expires_at', '<=', now).execute();
    const rows = await this.#db
      .selectFrom('device_certificates')
      .innerJoin('devices', 'devices.id', 'device_certificates.device')
      .select('serial')
      .where('devices.status', '=', 'revoked')
      .orderBy('serial')
      .execute();
    return rows.map(({ serial }) => serial);
  }
}
