// The fleet server's state: one SQLite database behind stores that each know one concern.
// Everything durable of the server is here or in the repository folder; a restart starts from these
// two alone.
import type { Stores } from '../interfaces.js';
import { SqlAssignmentStore } from './assignments.js';
import { SqlAuditStore } from './audit.js';
import { SqlCertificateStore } from './certificates.js';
import { SqlConditionStore } from './conditions.js';
import { openDatabase, type DatabaseOptions, type Db } from './database.js';
import { SqlDeviceStore } from './devices.js';
import { SqlFleetCountStore } from './fleet-counts.js';
import { SqlMarkStore } from './marks.js';
import { SqlReleaseStore } from './releases.js';
import { SqlRolloutStore } from './rollouts.js';
import { SqlSecurityEventStore } from './security-events.js';
import { SqlTelemetryStore } from './telemetry.js';
import { SqlTokenStore } from './tokens.js';
import { SqlUploadStore } from './uploads.js';

export class Store implements Stores {
  readonly devices: SqlDeviceStore;
  readonly tokens: SqlTokenStore;
  readonly releases: SqlReleaseStore;
  readonly uploads: SqlUploadStore;
  readonly rollouts: SqlRolloutStore;
  readonly assignments: SqlAssignmentStore;
  readonly telemetry: SqlTelemetryStore;
  readonly security: SqlSecurityEventStore;
  readonly audit: SqlAuditStore;
  readonly conditions: SqlConditionStore;
  readonly marks: SqlMarkStore;
  readonly counts: SqlFleetCountStore;
  readonly certificates: SqlCertificateStore;

  private constructor(readonly db: Db) {
    this.devices = new SqlDeviceStore(db);
    this.tokens = new SqlTokenStore(db);
    this.releases = new SqlReleaseStore(db);
    this.uploads = new SqlUploadStore(db);
    this.rollouts = new SqlRolloutStore(db);
    this.assignments = new SqlAssignmentStore(db);
    this.telemetry = new SqlTelemetryStore(db);
    this.security = new SqlSecurityEventStore(db);
    this.audit = new SqlAuditStore(db);
    this.conditions = new SqlConditionStore(db);
    this.marks = new SqlMarkStore(db);
    this.counts = new SqlFleetCountStore(db);
    this.certificates = new SqlCertificateStore(db);
  }

  /** Opens, creates or migrates the database in `file`. Faults: disk_failed, disk_full. */
  static async open(file: string, options?: DatabaseOptions): Promise<Store> {
    return new Store(await openDatabase(file, options));
  }

  close(): Promise<void> {
    return this.db.destroy();
  }
}
