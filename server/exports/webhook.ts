// An HTTP endpoint as a target: a page of events in one POST, signed as Standard Webhooks says
// (standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`. The id names the changes and is the
// same for each try, so that a receiver can leave out what it has; the timestamp is of the try, so
// that it can refuse what somebody replays. Everything but a 2xx is a failure, redirects too: a
// signed body goes only where the settings say.
import { createHmac } from 'node:crypto';
import { Fault, reason } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import type { SecurityEventChangeRow } from '../interfaces.js';
import type { ExportTarget } from './exporter.js';
import { post, type PostNeeds } from './post.js';

const SECRET_PREFIX = 'whsec_';

export interface WebhookOptions extends PostNeeds {
  readonly url: string;
  readonly secret: Uint8Array;
}

/** From the text of a secret file: `whsec_` and base64. Faults: config_invalid. */
export function webhookSecret(text: string): Uint8Array {
  const trimmed = text.trim();
  const secret = trimmed.startsWith(SECRET_PREFIX)
    ? Buffer.from(trimmed.slice(SECRET_PREFIX.length), 'base64')
    : Buffer.alloc(0);
  if (secret.length < limits.webhookSecretMinBytes)
    throw new Fault(
      'config_invalid',
      `webhook.secret_file must hold ${SECRET_PREFIX} and at least ` +
        `${limits.webhookSecretMinBytes} bytes in base64`,
    );
  return secret;
}

export function webhookTarget({ url, secret, ...needs }: WebhookOptions): ExportTarget {
  return {
    name: 'webhook',
    send: async (events) => {
      const id = `linnet-${events.at(0)?.revision ?? 0}-${events.at(-1)?.revision ?? 0}`;
      const timestamp = String(Math.floor(needs.clock.now() / 1000));
      const body = JSON.stringify({ type: 'security_events', events: events.map(eventJson) });
      const signature = createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`);
      let status: number;
      try {
        const headers = {
          'content-type': 'application/json',
          'webhook-id': id,
          'webhook-timestamp': timestamp,
          'webhook-signature': `v1,${signature.digest('base64')}`,
        };
        status = await post(url, { headers, body }, needs);
      } catch (error) {
        const detail = `webhook ${new URL(url).host}: ${reason(error)}`;
        throw new Fault('server_unreachable', detail, { cause: error });
      }
      if (status < 200 || status > 299)
        throw new Fault('server_unreachable', `webhook ${new URL(url).host} answered ${status}`);
    },
  };
}

const eventJson = ({ firstAt, lastAt, ...row }: SecurityEventChangeRow) => ({
  ...row,
  firstAt: new Date(firstAt).toISOString(),
  lastAt: new Date(lastAt).toISOString(),
});
