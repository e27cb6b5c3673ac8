// Configuration of an external broker for this fleet: mosquitto (2.0 or later) or EMQX (5.1 or
// later). A client certificate is the only login, its common name is the user name and the client
// id, and the access file confines each device to its own topics by it. Both access files are
// written from one list of rules (RULES).
//
// mosquitto grants every subscription and withholds the messages, so a device could join a group of
// shared subscriptions and take messages out of it: the server's group has a secret name
// (server/certificates/authority.ts). EMQX checks a shared subscription by the filter behind
// `$share/GROUP/`, and refuses it.
//
// Names of EMQX options, and what they do: https://docs.emqx.com/en/emqx/latest/
// guides/configuration/mqtt.md (mqtt), network/crl.md (listener, revoked certificates) and
// access-control/authz/file.html (the access file, which is read as Erlang terms).
import { limits } from '../../shared/base/limits.js';
import { topics } from '../../shared/protocol/telemetry.js';

export interface BrokerFiles {
  /** Folder on the broker's machine in which the files are. */
  readonly folder: string;
  readonly port: number;
  /** Common names of the fleet servers. */
  readonly servers: readonly string[];
  /** PEM. */
  readonly authority: string;
}

/** EMQX fetches the revocations from the address in each certificate, and reads no file. */
interface MosquittoFiles extends BrokerFiles {
  /** The file that the server writes revocations to. */
  readonly revocationList: string;
}

interface Rule {
  /** read: subscribe and receive; write: publish. */
  readonly may: 'read' | 'write';
  readonly filter: string;
}

/** What the broker lets a fleet server and a device do; everything else is refused. */
const RULES: { readonly server: readonly Rule[]; device(id: string): readonly Rule[] } = {
  server: [
    { may: 'read', filter: topics.everyUp },
    { may: 'write', filter: topics.down('+') },
  ],
  device: (id) => [
    { may: 'write', filter: topics.up(id) },
    { may: 'read', filter: topics.down(id) },
  ],
};

/** File names and their texts. */
export function mosquittoFiles(options: MosquittoFiles): Record<string, string> {
  return {
    'linnet.conf': mosquittoSettings(options),
    'linnet.acl': mosquittoAccess(options.servers),
    'device-ca.crt': options.authority,
  };
}

const mosquittoSettings = ({ folder, port, revocationList }: MosquittoFiles): string => `\
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
max_queued_messages ${limits.brokerQueuedMaxCount}
`;

const mosquittoAccess = (servers: readonly string[]): string =>
  [
    ...servers.flatMap((server) => [
      `user ${server}`,
      ...RULES.server.map(({ may, filter }) => `topic ${may} ${filter}`),
      '',
    ]),
    '# %u is the common name of the client certificate: the device id.',
    ...RULES.device('%u').map(({ may, filter }) => `pattern ${may} ${filter}`),
    '',
  ].join('\n');

/** The same for EMQX. */
export function emqxFiles(options: BrokerFiles): Record<string, string> {
  return {
    'linnet.conf': emqxSettings(options),
    'acl.conf': emqxAccess(options.servers),
    'device-ca.crt': options.authority,
  };
}

/** Fixed by EMQX's notation of sizes. */
const KB = 1024;

const emqxSettings = ({ folder, port }: BrokerFiles): string => `\
# EMQX (5.1 or later) for a Linnet fleet, made by \`linnet server broker-config --for emqx\` from
# EMQX's documentation; Linnet's tests do not run EMQX. Try it with a few devices first.
#
# Add this line at the end of emqx.conf, whose settings come before those of the dashboard, and
# restart EMQX:  include "${folder}/linnet.conf"
# broker.crt and broker.key are the broker's own, from a CA that devices trust (broker.ca_file).
# Each device certificate names the address of the list of revoked devices (broker.crl_url), which
# EMQX fetches; devices are refused while EMQX cannot, and so may be one whose certificate is from
# the time before broker.crl_url was set. A connection that is open stays so after a revocation: end
# it by  emqx ctl clients kick DEVICE
listeners.ssl.default {
  bind = "0.0.0.0:${port}"
  ssl_options {
    cacertfile = "${folder}/device-ca.crt"
    certfile = "${folder}/broker.crt"
    keyfile = "${folder}/broker.key"
    verify = verify_peer
    fail_if_no_peer_cert = true
    enable_crl_check = true
  }
}
# Nobody comes in without a certificate.
listeners.tcp.default.enable = false
listeners.ws.default.enable = false
listeners.wss.default.enable = false

crl_cache.refresh_interval = "1m"

mqtt {
  peer_cert_as_clientid = cn
  peer_cert_as_username = cn
  max_packet_size = "${limits.mqttPacketMaxBytes / KB}KB"
  max_qos_allowed = 1
  retain_available = false
  wildcard_subscription = true
  shared_subscription = true
  max_subscriptions = ${limits.brokerSubscriptionsMaxCount}
  max_mqueue_len = ${limits.brokerQueuedMaxCount}
}

# The client certificate is the login.
authentication = []
authorization {
  no_match = deny
  deny_action = disconnect
  sources = [
    { type = file, enable = true, path = "${folder}/acl.conf" }
  ]
}
`;

const EMQX_VERBS = { read: 'subscribe', write: 'publish' } as const;

function emqxAccess(servers: readonly string[]): string {
  const allow = (who: string, { may, filter }: Rule): string =>
    `{allow, ${who}, ${EMQX_VERBS[may]}, ["${filter}"]}.`;
  return [
    ...servers.flatMap((server) =>
      RULES.server.map((rule) => allow(`{clientid, "${server}"}`, rule)),
    ),
    '%% ${clientid} is the common name of the client certificate: the device id.',
    ...RULES.device('${clientid}').map((rule) => allow('all', rule)),
    '{deny, all}.',
    '',
  ].join('\n');
}
