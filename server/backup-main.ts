// Composition root of `linnet server backup` and `restore`: connects server/backup with the
// database and the folders that the settings name, the real clock and randomness. A backup may run
// beside the server, on its machine or, with PostgreSQL and a shared repository, on any other.
import { access } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Fault } from '../shared/base/fault-codes.js';
import { realClock, realRandom } from '../shared/platform/clock.js';
import { folderOfArtifacts } from './artifacts/open-store.js';
import type { VerifiedBackup } from './backup/archive.js';
import { requireFolderOf, writeBackup, type BackupSummary } from './backup/backup.js';
import type { BackupPlaces } from './backup/places.js';
import { restoreBackup } from './backup/restore.js';
import { checkTogether, type ServerSettings } from './config.js';
import { ARTIFACTS, databaseOf } from './main.js';
import { openExport } from './store/database-export.js';
import { DatabaseImport, requireKnownSchema } from './store/database-import.js';

/** Faults: conflict (the file exists), not_found, schema_newer, file_digest, disk_*. */
export async function backupServer(
  settings: ServerSettings,
  parts: { readonly out: string; readonly keys: boolean; readonly artifacts: boolean },
): Promise<BackupSummary> {
  checkTogether(settings);
  await requireFolderOf(parts.out);
  const target = databaseOf(settings);
  if (typeof target === 'string') await requireDatabase(target);
  const database = await openExport(target);
  try {
    return await writeBackup({
      ...parts,
      places: placesOf(settings),
      kind: typeof target === 'string' ? 'sqlite' : 'postgresql',
      database,
      clock: realClock,
      random: realRandom,
    });
  } finally {
    await database.close();
  }
}

async function requireDatabase(file: string): Promise<void> {
  await access(file).catch((error: unknown) => {
    throw new Fault('not_found', `there is no database ${file}`, { cause: error });
  });
}

/** Faults: backup_invalid, conflict (something is there), file_unreadable, schema_newer, disk_*. */
export async function restoreServer(
  settings: ServerSettings,
  file: string,
): Promise<VerifiedBackup> {
  checkTogether(settings);
  const target = databaseOf(settings);
  return restoreBackup({
    file,
    places: placesOf(settings),
    databaseFile: typeof target === 'string' ? target : null,
    openDatabase: async (schema) => {
      await requireKnownSchema(file, schema);
      return DatabaseImport.open(target, schema);
    },
    random: realRandom,
  });
}

function placesOf({ data_dir, repository, artifacts }: ServerSettings): BackupPlaces {
  const folder = folderOfArtifacts(artifacts, join(repository, ARTIFACTS));
  return {
    dataDir: resolve(data_dir),
    repository: resolve(repository),
    artifacts: folder === null ? null : resolve(folder),
  };
}
