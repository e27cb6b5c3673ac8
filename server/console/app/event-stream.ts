// Reads server-sent events from a response body. EventSource cannot send the header Authorization,
// and a token in a URL would end up in logs; so the stream is fetched, and parsed here as the HTML
// standard says (section 9.2.6): fields `event` and `data`, comments, any line ending, a blank line
// dispatches. `id` and `retry` are ignored: the page reads everything again after a reconnection.
import { limits } from './limits.js';

export interface StreamEvent {
  readonly event: string;
  readonly data: string;
}

export class EventParser {
  #rest = '';
  #event = '';
  #data: string[] = [];

  /** The events that this piece of text completes. Throws when a line or an event is too long. */
  push(text: string): StreamEvent[] {
    const found: StreamEvent[] = [];
    this.#rest += text;
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this.#rest);
      if (end === null) break;
      const line = this.#rest.slice(0, end.index);
      this.#rest = this.#rest.slice(end.index + end[0].length);
      const event = this.#line(line);
      if (event !== null) found.push(event);
    }
    const length = this.#data.reduce((sum, line) => sum + line.length, this.#rest.length);
    if (length > limits.eventMaxChars) throw new Error('an event of the stream is too long');
    return found;
  }

  #line(line: string): StreamEvent | null {
    if (line === '') {
      const event = { event: this.#event, data: this.#data.join('\n') };
      const isEvent = this.#data.length > 0;
      this.#event = '';
      this.#data = [];
      return isEvent ? event : null;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (name === 'event') this.#event = value ?? '';
    if (name === 'data') this.#data.push(value ?? '');
    return null;
  }
}

/** Calls `onEvent` for each event, until the stream ends. */
export async function readEvents(
  body: ReadableStream<Uint8Array>,
  onEvent: (event: StreamEvent) => void,
): Promise<void> {
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const event of parser.push(decoder.decode(value, { stream: true }))) onEvent(event);
  }
}
