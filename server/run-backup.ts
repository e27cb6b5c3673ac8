// What `linnet server backup`, `backup verify` and `restore` do.
import type { Command } from 'commander';
import { counted } from '../shared/base/counted.js';
import { Fault } from '../shared/base/fault-codes.js';
import type { VerifiedBackup } from './backup/archive.js';
import { verifyBackup } from './backup/restore.js';
import { backupServer, restoreServer } from './backup-main.js';
import { readSettings, type Output } from './run-server.js';

interface BackupFlags {
  readonly config?: string;
  readonly out?: string;
  readonly keys: boolean;
  readonly artifacts: boolean;
}

export async function backup(out: Output, _options: unknown, command: Command): Promise<void> {
  const { config, out: to, keys, artifacts } = command.optsWithGlobals<BackupFlags>();
  // Not an option that commander requires: it would require it of `verify` as well.
  if (to === undefined) throw new Fault('usage', 'pass --out FILE');
  const parts = { out: to, keys, artifacts };
  const { file, bytes, rows, head } = await backupServer(readSettings(config), parts);
  const count = total(rows);
  out.result({ file, bytes, rows: count, ...head }, () =>
    [`${file}: ${bytes} bytes, ${counted(count, 'row')} of the database`, ...remarks(head)].join(
      '\n',
    ),
  );
}

export async function verify(out: Output, file: string): Promise<void> {
  const found = await verifyBackup(file);
  out.result(shown(file, found), () =>
    [
      `${file}: whole, of ${found.head.createdAt}, schema ${found.head.schema}, ` +
        `${counted(total(found.list.rows), 'row')} of the database`,
      ...remarks(found.head),
    ].join('\n'),
  );
}

export async function restore(
  out: Output,
  file: string,
  _options: unknown,
  command: Command,
): Promise<void> {
  const { config } = command.optsWithGlobals<{ config?: string }>();
  const found = await restoreServer(readSettings(config), file);
  out.result(shown(file, found), () =>
    [
      `restored ${counted(total(found.list.rows), 'row')} of the database, ` +
        `of ${found.head.createdAt}`,
      ...remarks(found.head),
    ].join('\n'),
  );
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
