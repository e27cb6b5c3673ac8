// The parser of server-sent events against the cases of the HTML standard (section 9.2.6), with the
// stream cut at every place.
import { describe, expect, it } from 'vitest';
import { EventParser, readEvents } from '../../../../server/console/app/event-stream.js';
import { limits } from '../../../../server/console/app/limits.js';

const STREAM = [
  ': a comment\n\n',
  'event: change\ndata: one\ndata: two\n\n',
  'data\r\n\r\n',
  'id: 7\nretry: 1\nunknown: x\ndata: third\n\n',
  'event: nothing\n\n',
  'data:no space\rdata:  two spaces\r\r\n',
].join('');
const EVENTS = [
  { event: 'change', data: 'one\ntwo' },
  { event: '', data: '' },
  { event: '', data: 'third' },
  { event: '', data: 'no space\n two spaces' },
];

describe('a stream of events', () => {
  it('is_read_as_the_standard_says', () => {
    expect(new EventParser().push(STREAM)).toEqual(EVENTS);
  });

  it('cut_anywhere_reads_the_same', () => {
    for (let cut = 0; cut <= STREAM.length; cut++) {
      const parser = new EventParser();
      const found = [...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))];
      expect(found, `cut at ${cut}`).toEqual(EVENTS);
    }
  });

  it('that_never_ends_an_event_is_refused', () => {
    const parser = new EventParser();
    const line = `data: ${'x'.repeat(limits.eventMaxChars / 2)}\n`;
    parser.push(line);
    expect(() => parser.push(`${line}${line}`)).toThrow('too long');
  });

  it('cut_inside_a_character_reads_the_character', async () => {
    const bytes = new TextEncoder().encode('data: \u00e9\n\n');
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    const found: unknown[] = [];
    await readEvents(body, (event) => found.push(event));
    expect(found).toEqual([{ event: '', data: '\u00e9' }]);
  });
});
