// A sensor application: asks the model on this device about every reading. Readings come on stdin,
// one a line, numbers separated by spaces; answers go to stdout. It needs nothing but Node.js.
//   ./read-sensor | node sensor.ts digits [http://127.0.0.1:7310]
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

interface TensorInfo {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

interface Answer {
  readonly model_version: string;
  readonly outputs: readonly { readonly name: string; readonly data: readonly number[] }[];
}

const [component = 'digits', address = 'http://127.0.0.1:7310'] = process.argv.slice(2);
const model = `${address}/v2/models/${component}`;
const TRIES = 10;

/** Asks again while the model is being loaded or has too much to do (503). */
async function asked(url: string, body?: object): Promise<unknown> {
  for (let tries = 1; ; tries += 1) {
    const request = body && { method: 'POST', body: JSON.stringify(body) };
    const response = await fetch(url, request ?? {});
    if (response.ok) return response.json();
    const text = await response.text();
    if (response.status !== 503 || tries === TRIES)
      throw new Error(`${url} answered ${response.status}: ${text}`);
    await pause(1000 * Number(response.headers.get('retry-after') ?? 1));
  }
}

const { inputs } = (await asked(model)) as { readonly inputs: readonly TensorInfo[] };
const [input] = inputs;
if (input === undefined) throw new Error(`${component} has no input`);
// A dimension of -1 is any number; here one reading is asked about at a time.
const shape = input.shape.map((size) => (size === -1 ? 1 : size));

for await (const line of createInterface({ input: process.stdin })) {
  const data = line.trim().split(/\s+/).map(Number);
  const tensor = { name: input.name, datatype: input.datatype, shape, data };
  const answer = (await asked(`${model}/infer`, { inputs: [tensor] })) as Answer;
  const scores = answer.outputs[0]?.data ?? [];
  const best = scores.indexOf(Math.max(...scores));
  process.stdout.write(`${best} ${scores[best]} ${answer.model_version}\n`);
}
