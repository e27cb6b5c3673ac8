// The fleet server's state: one SQLite database behind stores that each know one concern.
// Everything durable of the server is here or in the repository folder; a restart starts from these
// two alone.
import type { Stores } from '../interfaces.js';
import { SqlAssignmentStore } from './assignments.js';
import { SqlAuditStore } from './audit.js';
import { SqlCertificateStore } from './certificates.js';
import { SqlConditionStore } from './conditions.js';
import { openDatabase, type Db } from './database.js';
import { SqlDeviceStore } from './devices.js';
import { SqlReleaseStore } from './releases.js';
import { SqlRolloutStore } from './rollouts.js';
import { SqlSecurityEventStore } from './security-events.js';
import { SqlTelemetryStore } from './telemetry.js';
import { SqlTokenStore } from './tokens.js';

export class Store implements Stores {
  readonly devices: SqlDeviceStore;
  readonly tokens: SqlTokenStore;
  readonly releases: SqlReleaseStore;
  readonly rollouts: SqlRolloutStore;
  readonly assignments: SqlAssignmentStore;
  readonly telemetry: SqlTelemetryStore;
  readonly security: SqlSecurityEventStore;
  readonly audit: SqlAuditStore;
  readonly conditions: SqlConditionStore;
  readonly certificates: SqlCertificateStore;

  private constructor(readonly db: Db) {
    this.devices = new SqlDeviceStore(db);
    this.tokens = new SqlTokenStore(db);
    this.releases = new SqlReleaseStore(db);
    this.rollouts = new SqlRolloutStore(db);
    this.assignments = new SqlAssignmentStore(db);
    this.telemetry = new SqlTelemetryStore(db);
    this.security = new SqlSecurityEventStore(db);
    this.audit = new SqlAuditStore(db);
    this.conditions = new SqlConditionStore(db);
    this.certificates = new SqlCertificateStore(db);
  }

  /** Opens, creates or migrates the database in `file`. Faults: disk_failed, disk_full. */
  static async open(file: string): Promise<Store> {
    return new Store(await openDatabase(file));
  }

  close(): Promise<void> {
    return this.db.destroy();
  }
}
