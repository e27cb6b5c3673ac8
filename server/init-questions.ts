// What `linnet server init` needs to know, asked one after another where a person is there, else
// the defaults (`--yes`). What the command line says is not asked. A person is told at once what is
// wrong with an answer, and asked again.
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
  /** Shows what is wrong with an answer; without it, answers are taken as they are. */
  readonly tell?: (complaint: string) => void;
  readonly exists: (path: string) => boolean;
}

type Ask = (
  question: string,
  standard: string,
  complaint?: (answer: string) => string | null,
) => Promise<string>;

/** Fault usage, naming what is missing, when nobody can be asked. */
export async function initAnswers({ given, ask, tell, exists }: Questions): Promise<InitAnswers> {
  const { config, tokenOut } = given;
  const need = (option: string): Fault =>
    new Fault('usage', `pass ${option}, or --yes to take the defaults`);
  if (ask === null) {
    if (config === undefined) throw need('--config FILE');
    if (tokenOut === undefined) throw need('--token-out FILE');
    return { config, tokenOut, newConfig: null };
  }
  const asked: Ask = async (question, standard, complaint = () => null) => {
    for (;;) {
      const answer = await ask(question, standard);
      const wrong = tell === undefined ? null : complaint(answer);
      if (wrong === null) return answer;
      tell?.(wrong);
    }
  };
  const file = config ?? (await asked('Configuration file', 'fleet.toml'));
  const newConfig = exists(file) ? null : await askedConfig(asked);
  const token =
    tokenOut ??
    (await asked('File for the admin token (new)', 'admin.token', (path) =>
      exists(path) ? `${path} exists already: name a new file` : null,
    ));
  return { config: file, tokenOut: token, newConfig };
}

async function askedConfig(ask: Ask): Promise<string> {
  const dataDir = await ask('Folder for the database', 'fleet-data');
  const repository = await ask('Folder server/ of what `linnet repo init` made', 'fleet/server');
  const host = await ask('Address to serve on (0.0.0.0: the network)', '127.0.0.1', (answer) =>
    /^[\w.:%-]+$/.test(answer) ? null : `${answer} is no address: as 127.0.0.1, or a name`,
  );
  const http = await ask('HTTP port', '7300', notAPort);
  const mqtt = await ask('MQTT port', '7301', (answer) =>
    answer === http ? `${answer} is the HTTP port: choose another` : notAPort(answer),
  );
  const [data, folder, address] = [dataDir, repository, host].map((text) => JSON.stringify(text));
  return (
    `data_dir = ${data}\nrepository = ${folder}\n\n` +
    `[http]\nhost = ${address}\nport = ${http}\n\n[mqtt]\nhost = ${address}\nport = ${mqtt}\n`
  );
}

const notAPort = (answer: string): string | null =>
  /^[1-9]\d{0,4}$/.test(answer) && Number(answer) <= 65_535
    ? null
    : `${answer} is no port: a number from 1 to 65535`;
