// The fleet server's state: one database (SQLite or PostgreSQL) behind stores that each know one
// concern. Everything durable of the server is here or in the repository folder; a restart starts
// from these two alone.
import type { Fence, Stores } from '../interfaces.js';
import { SqlAssignmentStore } from './assignments.js';
import { SqlAuditStore } from './audit.js';
import { SqlConditionStore } from './conditions.js';
import { openDatabase, type DatabaseTarget, type Db } from './database.js';
import { SqlDeviceStore } from './devices.js';
import { SqlLeaseStore } from './leases.js';
import { SqlReleaseStore } from './releases.js';
import { SqlRolloutStore } from './rollouts.js';
import { SqlSecurityEventStore } from './security-events.js';
import { SqlTelemetryStore } from './telemetry.js';
import { SqlTokenStore } from './tokens.js';

export type { DatabaseTarget } from './database.js';

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
  readonly leases: SqlLeaseStore;

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
    this.leases = new SqlLeaseStore(db);
  }

  /**
   * Opens, creates or migrates the database. Faults: disk_failed, disk_full,
   * database_unreachable.
   */
  static async open(target: DatabaseTarget): Promise<Store> {
    return new Store(await openDatabase(target));
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
