// Where the device package has the agent's configuration; apart from the rest, because --help shows
// it.
export const PACKAGED_CONFIG = '/etc/linnet/agent.toml';
