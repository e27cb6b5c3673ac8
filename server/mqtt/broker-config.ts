// Configuration of an external mosquitto (2.0 or later) for this fleet. A client certificate is the
// only login, its common name is the user name and the client id, and the access file confines each
// device to its own topics by it. mosquitto grants every subscription and withholds the messages,
// so
// a device could join a group of shared subscriptions and take messages out of it: the server's
// group has a secret name (server/certificates/authority.ts).
import { limits } from '../../shared/base/limits.js';
import { topics } from '../../shared/protocol/telemetry.js';

export interface BrokerConfigOptions {
  /** Folder on the broker's machine in which the files are. */
  readonly folder: string;
  readonly port: number;
  /** Common names of the fleet servers. */
  readonly servers: readonly string[];
  /** PEM. */
  readonly authority: string;
  /** The file that the server writes revocations to. */
  readonly revocationList: string;
}

/** File names and their texts. */
export function mosquittoFiles(options: BrokerConfigOptions): Record<string, string> {
  return {
    'linnet.conf': settings(options),
    'linnet.acl': access(options.servers),
    'device-ca.crt': options.authority,
  };
}

const settings = ({ folder, port, revocationList }: BrokerConfigOptions): string => `\
# mosquitto for a Linnet fleet, made by \`linnet server broker-config\`. broker.crt and broker.key
# are the broker's own, from a CA that devices trust (broker.ca_file). After a device was revoked
# the fleet server writes the list again, and also every hour, because an expired list refuses
# everyone: let mosquitto read it (kill -HUP, or systemctl reload mosquitto) whenever the file
# changes. It refuses new connections by it; restart mosquitto to end those that are open.
listener ${port}
cafile ${folder}/device-ca.crt
certfile ${folder}/broker.crt
keyfile ${folder}/broker.key
crlfile ${revocationList}
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file ${folder}/linnet.acl
retain_available false
persistence false
max_qos 1
max_packet_size ${limits.mqttPacketMaxBytes}
max_queued_messages 100
`;

const access = (servers: readonly string[]): string =>
  [
    ...servers.flatMap((server) => [
      `user ${server}`,
      `topic read ${topics.everyUp}`,
      `topic write ${topics.down('+')}`,
      '',
    ]),
    '# %u is the common name of the client certificate: the device id.',
    `pattern write ${topics.up('%u')}`,
    `pattern read ${topics.down('%u')}`,
    '',
  ].join('\n');
