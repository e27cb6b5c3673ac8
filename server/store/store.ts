// The fleet server's state: one database (SQLite or PostgreSQL) behind stores that each know one
// concern. Everything durable of the server is here or in the repository folder; a restart starts
// from these two alone.
import type { Fence, Stores } from '../interfaces.js';
import { SqlAssignmentStore } from './assignments.js';
import { SqlAuditStore } from './audit.js';
import { SqlCertificateStore } from './certificates.js';
import { SqlConditionStore } from './conditions.js';
import { openDatabase, type DatabaseOptions, type DatabaseTarget, type Db } from './database.js';
import { SqlDeviceHistoryStore } from './device-history.js';
import { SqlDeviceStore } from './devices.js';
import { SqlFleetCountStore } from './fleet-counts.js';
import { SqlFleetVersionsStore } from './fleet-versions.js';
import { SqlLeaseStore } from './leases.js';
import { SqlMarkStore } from './marks.js';
import { SqlReleaseStore } from './releases.js';
import { SqlRolloutStore } from './rollouts.js';
import { SqlSecurityEventStore } from './security-events.js';
import { SqlTelemetryStore } from './telemetry.js';
import { SqlTokenStore } from './tokens.js';
import { SqlUploadStore } from './uploads.js';

export type { DatabaseTarget } from './database.js';

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
  readonly versions: SqlFleetVersionsStore;
  readonly certificates: SqlCertificateStore;
  readonly history: SqlDeviceHistoryStore;
  readonly leases: SqlLeaseStore;

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
    this.versions = new SqlFleetVersionsStore(db);
    this.certificates = new SqlCertificateStore(db);
    this.history = new SqlDeviceHistoryStore(db);
    this.leases = new SqlLeaseStore(db);
  }

  /**
   * Opens, creates or migrates the database. Faults: disk_failed, disk_full,
   * database_unreachable.
   */
  static async open(target: DatabaseTarget, options?: DatabaseOptions): Promise<Store> {
    return new Store(await openDatabase(target, options));
  }

  /** The stores through which a conductor writes: only while the lease is held. */
  fenced(fence: () => Fence | null): { rollouts: SqlRolloutStore; conditions: SqlConditionStore } {
    return {
      rollouts: new SqlRolloutStore(this.db, fence),
      conditions: new SqlConditionStore(this.db, fence),
    };
  }

  close(): Promise<void> {
    return this.db.destroy();
  }
}
