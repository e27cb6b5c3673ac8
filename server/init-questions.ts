// What `linnet server init` needs to know, asked one after another where a person is there, else
// the defaults (`--yes`). What the command line says is not asked.
import { Fault } from '../shared/base/fault-codes.js';

export interface InitAnswers {
  readonly config: string;
  readonly tokenOut: string;
  /** Text of a new configuration file; null when there is one at `config`. */
  readonly newConfig: string | null;
}

export interface Questions {
  readonly given: { readonly config?: string; readonly tokenOut?: string };
  /** The answer, or the default for an empty one; null: nobody can be asked. */
  readonly ask: ((question: string, standard: string) => Promise<string>) | null;
  readonly exists: (path: string) => boolean;
}

/** Fault usage, naming what is missing, when nobody can be asked. */
export async function initAnswers({ given, ask, exists }: Questions): Promise<InitAnswers> {
  const { config, tokenOut } = given;
  const need = (option: string): Fault =>
    new Fault('usage', `pass ${option}, or --yes to take the defaults`);
  if (ask === null) {
    if (config === undefined) throw need('--config FILE');
    if (tokenOut === undefined) throw need('--token-out FILE');
    return { config, tokenOut, newConfig: null };
  }
  const file = config ?? (await ask('Configuration file', 'fleet.toml'));
  const newConfig = exists(file) ? null : await askedConfig(ask);
  const token = tokenOut ?? (await ask('File for the admin token (new)', 'admin.token'));
  return { config: file, tokenOut: token, newConfig };
}

async function askedConfig(ask: NonNullable<Questions['ask']>): Promise<string> {
  const dataDir = await ask('Folder for the database', 'fleet-data');
  const repository = await ask('Folder server/ of what `linnet repo init` made', 'fleet/server');
  const host = await ask('Address to serve on (0.0.0.0: the network)', '127.0.0.1');
  const http = await ask('HTTP port', '7300');
  const mqtt = await ask('MQTT port', '7301');
  const [data, folder, address] = [dataDir, repository, host].map((text) => JSON.stringify(text));
  return (
    `data_dir = ${data}\nrepository = ${folder}\n\n` +
    `[http]\nhost = ${address}\nport = ${http}\n\n[mqtt]\nhost = ${address}\nport = ${mqtt}\n`
  );
}
