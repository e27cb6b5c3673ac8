// Hints from the server ("look at your assignment now"). A hint carries no authority: it only ends
// the wait before the next poll, and what is installed is decided by signed metadata.
import { decodeJson } from '../../shared/base/decode.js';
import { isFault, reason } from '../../shared/base/fault-codes.js';
import type { Log } from '../../shared/base/interfaces.js';
import { Hint, topics } from '../../shared/protocol/telemetry.js';
import type { Link } from '../interfaces.js';

export interface HintListenerOptions {
  readonly device: string;
  readonly link: Pick<Link, 'onMessage'>;
  readonly log: Log;
  readonly onHint: (hint: Hint) => void;
}

export function listenForHints({ device, link, log, onHint }: HintListenerOptions): void {
  link.onMessage((topic, payload) => {
    if (topic !== topics.hint(device)) return;
    try {
      onHint(decodeJson(Hint, payload, 'hint'));
    } catch (error) {
      if (!isFault(error, 'message_undecodable')) throw error;
      log.warn({ topic, err: reason(error) }, 'a hint from the server does not decode');
    }
  });
}
