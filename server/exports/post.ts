// One POST to a target of exports, directly or through the proxy of the environment. It follows no
// redirect, because headers and body may carry a secret, and they go only where the settings say.
import type { Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { HttpConnector } from '../../shared/platform/http-connector.js';
import type { Proxies } from '../../shared/platform/proxies.js';

export interface PostNeeds {
  readonly proxies: Proxies;
  readonly clock: Clock;
}

/** Resolves with the status. Rejects with an error that says why there was no answer. */
export function post(
  url: string,
  { headers, body }: { headers: Readonly<Record<string, string>>; body: string },
  { proxies, clock }: PostNeeds,
): Promise<number> {
  const connector = new HttpConnector({ proxies, keepAlive: false });
  return new Promise((resolve, reject) => {
    const request = connector.request(url, { method: 'POST', headers });
    const cancel = clock.after(limits.exportSendMs, () =>
      request.destroy(new Error(`no answer within ${limits.exportSendMs / 1000} s`)),
    );
    request.once('response', (response) => {
      resolve(response.statusCode ?? 0);
      // Its text is not read; a target that sends on is cut off.
      response.destroy();
    });
    request.once('error', reject);
    request.once('close', () => {
      cancel();
      reject(new Error('the connection was closed'));
    });
    request.end(body);
  });
}
