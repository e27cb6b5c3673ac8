// The fleet server's memory: one SQLite file behind stores that each know one concern. Everything
// durable of the server is here or in the image repository's folder; a restart begins from these
// two and nothing else.
import { SqlAssignmentStore } from './assignments.js';
import { AuditStore } from './audit.js';
import { openDatabase, type Db } from './database.js';
import { DeviceStore } from './devices.js';
import { ReleaseStore } from './releases.js';
import { SqlRolloutStore } from './rollouts.js';
import { SecurityStore } from './security-events.js';
import { TelemetryStore } from './telemetry.js';
import { TokenStore } from './tokens.js';

export class Store {
  readonly devices: DeviceStore;
  readonly tokens: TokenStore;
  readonly releases: ReleaseStore;
  readonly rollouts: SqlRolloutStore;
  readonly assignments: SqlAssignmentStore;
  readonly telemetry: TelemetryStore;
  readonly security: SecurityStore;
  readonly audit: AuditStore;

  private constructor(readonly db: Db) {
    this.devices = new DeviceStore(db);
    this.tokens = new TokenStore(db);
    this.releases = new ReleaseStore(db);
    this.rollouts = new SqlRolloutStore(db);
    this.assignments = new SqlAssignmentStore(db);
    this.telemetry = new TelemetryStore(db);
    this.security = new SecurityStore(db);
    this.audit = new AuditStore(db);
  }

  /** Opens, makes or migrates the database in `file`. Faults: disk_failed, disk_full. */
  static async open(file: string): Promise<Store> {
    return new Store(await openDatabase(file));
  }

  close(): Promise<void> {
    return this.db.destroy();
  }
}
