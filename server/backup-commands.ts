// `linnet server backup`, `backup verify` and `restore`. What they do is in run-backup.ts.
import type { Command } from 'commander';
import { lazily } from '../shared/base/lazily.js';
import type { Output } from './run-server.js';

const actions = () => import('./run-backup.js');

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

export function registerBackupCommands(server: Command, out: Output): void {
  const backup = server
    .command('backup')
    .description('write all state of the server into one file, while it runs')
    .option('--config <file>', 'configuration file (TOML)')
    .option('--out <file>', 'the backup; must not exist')
    .option('--no-keys', 'leave out the online keys and the key of the device CA')
    .option('--no-artifacts', 'leave out the files of releases')
    .addHelpText('after', BACKUP_HELP)
    .action(lazily(out, async () => (await actions()).backup));
  backup
    .command('verify')
    .description('read a whole backup and check every digest')
    .argument('<file>', 'the backup')
    .addHelpText('after', VERIFY_HELP)
    .action(lazily(out, async () => (await actions()).verify));
  server
    .command('restore')
    .description('put a backup back, into empty folders and an empty database')
    .argument('<file>', 'the backup')
    .option('--config <file>', 'configuration file (TOML)')
    .addHelpText('after', RESTORE_HELP)
    .action(lazily(out, async () => (await actions()).restore));
}
