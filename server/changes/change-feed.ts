// Tells the open streams of operators that something changed, not what it is now: the reader asks
// for it again with its own rights. Each stream gathers changes for limits.changesGatherMs and
// names at most limits.changedIdsMaxCount of a topic, so a busy fleet costs a stream a bounded
// amount of memory and messages, also while its reader is slow. Every limits.changeBeatMs a stream
// hears that time has passed, and ends when its token is not valid any more.
import { Fault } from '../../shared/base/fault-codes.js';
import type { Cancel, Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import type { Change, ChangeTopic } from '../../shared/protocol/operator-api.js';

export interface ChangeReader {
  /** The name of the token; its streams are limited. */
  readonly operator: string;
  /** Whether a message can be sent now; while not, changes are gathered. */
  ready(): boolean;
  send(event: 'change' | 'beat', data: string): void;
  /** Resolves to false when the token is not valid any more. */
  allowed(): Promise<boolean>;
  end(): void;
}

class Stream {
  readonly reader: ChangeReader;
  readonly #clock: Clock;
  /** Null: any of the topic. */
  readonly #gathered = new Map<ChangeTopic, Set<string> | null>();
  #cancelSend: Cancel | null = null;
  #cancelBeat: Cancel;

  constructor(reader: ChangeReader, clock: Clock) {
    this.reader = reader;
    this.#clock = clock;
    this.#cancelBeat = clock.after(limits.changeBeatMs, () => this.#beat());
  }

  gather(topic: ChangeTopic, ids: readonly string[] | null): void {
    const known = this.#gathered.get(topic);
    if (known === null) return;
    const all = ids === null ? null : new Set([...(known ?? []), ...ids]);
    this.#gathered.set(topic, all === null || all.size > limits.changedIdsMaxCount ? null : all);
    this.#cancelSend ??= this.#clock.after(limits.changesGatherMs, () => this.flush());
  }

  /** Sends what was gathered, or keeps it until the reader is ready. */
  flush(): void {
    this.#cancelSend?.();
    this.#cancelSend = null;
    if (this.#gathered.size === 0 || !this.reader.ready()) return;
    const changes = [...this.#gathered].map(([topic, ids]): Change => ({
      topic,
      ids: ids === null ? null : [...ids],
    }));
    this.#gathered.clear();
    this.reader.send('change', JSON.stringify(changes));
  }

  close(): void {
    this.#cancelSend?.();
    this.#cancelBeat();
  }

  #beat(): void {
    this.#cancelBeat = this.#clock.after(limits.changeBeatMs, () => this.#beat());
    this.reader.allowed().then(
      (allowed) => {
        if (!allowed) this.reader.end();
        else if (this.reader.ready()) this.reader.send('beat', '{}');
      },
      // The database does not answer now; the next beat asks again.
      () => {},
    );
  }
}

/** An open stream, for its transport. */
export interface OpenStream {
  /** The reader is ready again. */
  flush(): void;
  close(): void;
}

export class ChangeFeed {
  readonly #clock: Clock;
  readonly #streams = new Set<Stream>();

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  /** How many streams are open. */
  get size(): number {
    return this.#streams.size;
  }

  /** `ids` null: any of the topic. Never throws. */
  changed(topic: ChangeTopic, ids: readonly string[] | null = null): void {
    for (const stream of this.#streams) stream.gather(topic, ids);
  }

  /** Fault too_many_streams: so many are open, of this token or in all. */
  open(reader: ChangeReader): OpenStream {
    const own = [...this.#streams].filter((stream) => stream.reader.operator === reader.operator);
    if (own.length >= limits.changeStreamsPerTokenMaxCount)
      throw new Fault(
        'too_many_streams',
        `${reader.operator} has ${own.length} open streams, the most for one token`,
      );
    if (this.#streams.size >= limits.changeStreamsMaxCount)
      throw new Fault('too_many_streams', `${this.#streams.size} streams are open, the most`);
    const stream = new Stream(reader, this.#clock);
    this.#streams.add(stream);
    return {
      flush: () => stream.flush(),
      close: () => {
        stream.close();
        this.#streams.delete(stream);
      },
    };
  }

  /** Ends all streams. */
  close(): void {
    for (const { reader } of [...this.#streams]) reader.end();
  }
}
