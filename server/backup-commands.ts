// `linnet server backup`, `backup verify` and `restore`.
import { counted } from '../shared/base/counted.js';
import type { Command } from 'commander';
import { Fault } from '../shared/base/fault-codes.js';
import type { VerifiedBackup } from './backup/archive.js';
import { verifyBackup } from './backup/restore.js';
import { backupServer, restoreServer } from './backup-main.js';
import type { ServerSettings } from './config.js';

interface Needs {
  /** The part of the CLI's Output (firmware-tools/cli/output.ts) that is needed here. */
  readonly out: { result(value: unknown, human: () => string): void };
  readonly readSettings: (file: string | undefined) => ServerSettings;
}

interface BackupFlags {
  readonly config?: string;
  readonly out?: string;
  readonly keys: boolean;
  readonly artifacts: boolean;
}

const BACKUP_HELP = `
Example:
  $ linnet server backup --config fleet.toml --out /backups/fleet-monday.tar
  $ linnet server backup verify /backups/fleet-monday.tar

The server may be running. The file (a tar, mode 0600) has all rows of the database, the signed
metadata, the server's online keys, the device CA and the files of releases, unless those are in a
bucket or a registry. Keys are copied as they are: sealed, where LINNET_KEY_PASSPHRASE sealed
them. Not in it: the configuration and the files that it names, and the offline keys.
`;

const VERIFY_HELP = `
Example:
  $ linnet server backup verify /backups/fleet-monday.tar
`;

const RESTORE_HELP = `
Example:
  $ linnet server restore /backups/fleet-monday.tar --config fleet.toml
  $ linnet server --config fleet.toml

data_dir, repository and database of the configuration must be empty. The old server must be off:
two servers with the same keys would sign different things. docs/operations.md says what is lost.
`;

export function registerBackupCommands(server: Command, { out, readSettings }: Needs): void {
  const backup = server
    .command('backup')
    .description('write all state of the server into one file, while it runs')
    .option('--config <file>', 'configuration file (TOML)')
    .option('--out <file>', 'the backup; must not exist')
    .option('--no-keys', 'leave out the online keys and the key of the device CA')
    .option('--no-artifacts', 'leave out the files of releases')
    .addHelpText('after', BACKUP_HELP)
    .action(async (_options: unknown, command: Command) => {
      const { config, out: to, keys, artifacts } = command.optsWithGlobals<BackupFlags>();
      // Not an option that commander requires: it would require it of `verify` as well.
      if (to === undefined) throw new Fault('usage', 'pass --out FILE');
      const parts = { out: to, keys, artifacts };
      const { file, bytes, rows, head } = await backupServer(readSettings(config), parts);
      const count = total(rows);
      out.result({ file, bytes, rows: count, ...head }, () =>
        [
          `${file}: ${bytes} bytes, ${counted(count, 'row')} of the database`,
          ...remarks(head),
        ].join('\n'),
      );
    });
  backup
    .command('verify')
    .description('read a whole backup and check every digest')
    .argument('<file>', 'the backup')
    .addHelpText('after', VERIFY_HELP)
    .action(async (file: string) => {
      const found = await verifyBackup(file);
      out.result(shown(file, found), () =>
        [
          `${file}: whole, of ${found.head.createdAt}, schema ${found.head.schema}, ` +
            `${counted(total(found.list.rows), 'row')} of the database`,
          ...remarks(found.head),
        ].join('\n'),
      );
    });
  server
    .command('restore')
    .description('put a backup back, into empty folders and an empty database')
    .argument('<file>', 'the backup')
    .option('--config <file>', 'configuration file (TOML)')
    .addHelpText('after', RESTORE_HELP)
    .action(async (file: string, _options: unknown, command: Command) => {
      const { config } = command.optsWithGlobals<{ config?: string }>();
      const found = await restoreServer(readSettings(config), file);
      out.result(shown(file, found), () =>
        [
          `restored ${counted(total(found.list.rows), 'row')} of the database, ` +
            `of ${found.head.createdAt}`,
          ...remarks(found.head),
        ].join('\n'),
      );
    });
}

const total = (rows: Readonly<Record<string, number>>): number =>
  Object.values(rows).reduce((sum, count) => sum + count, 0);

const shown = (file: string, { head, list }: VerifiedBackup): unknown => ({
  file,
  ...head,
  rows: list.rows,
});

/** What an operator has to keep in another way. */
function remarks({ keys, artifacts }: VerifiedBackup['head']): string[] {
  return [
    keys
      ? 'It has the keys of the server: keep it as secret as the server itself.'
      : 'Without keys: online/*.key.json of the repository and device-ca.key of data_dir are ' +
        'needed too.',
    ...(artifacts === 'included'
      ? []
      : artifacts === 'elsewhere'
        ? ['Files of releases are in the store that `artifacts` names, and not in it.']
        : ['Without the files of releases: copy the folder of `artifacts` too.']),
  ];
}
