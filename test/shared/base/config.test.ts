// Configuration of agent and server: every mistake at once, environment over file, nothing guessed.
import { describe, expect, it } from 'vitest';
import { agentSettings } from '../../../agent/config.js';
import { Fault } from '../../../shared/base/fault-codes.js';

const GOOD = `
name = "gate-1"
hardware = "linux-any"
components = ["digits"]
data_dir = "/tmp/x"
[server]
url = "http://127.0.0.1:7300"
[trust]
image_root = "a"
director_root = "b"
`;

function complaintOf(toml: string, env: Record<string, string> = {}): string {
  try {
    agentSettings(toml, env);
  } catch (error) {
    if (error instanceof Fault && error.code === 'config_invalid') return error.detail;
    throw error;
  }
  return 'no complaint';
}

describe('agent settings', () => {
  it('defaults_fill_what_the_file_leaves_out', () => {
    expect(agentSettings(GOOD, {})).toMatchObject({
      api: { host: '127.0.0.1', port: 7310 },
      server: { poll_seconds: 60, mirrors: [] },
      log_level: 'info',
    });
  });

  it('environment_overrides_the_file', () => {
    const settings = agentSettings(GOOD, {
      LINNET_AGENT__API__PORT: '9000',
      LINNET_AGENT__NAME: 'other',
      LINNET_SERVER__HTTP__PORT: '1',
    });
    expect(settings).toMatchObject({ name: 'other', api: { port: 9000 } });
  });

  it('mistake_of_the_environment_names_its_variable', () => {
    const env = { LINNET_AGENT__API__PORT: 'abc', LINNET_AGENT__NAEM: 'x' };
    const complaint = complaintOf(`${GOOD}[runtime]\nintra_op_threads = 0\n`, env);
    expect(complaint).toContain('/api/port: must be integer (set by LINNET_AGENT__API__PORT)');
    expect(complaint).toContain('/: unknown key naem (set by LINNET_AGENT__NAEM)');
    expect(complaint).toMatch(/intra_op_threads: [^(]*$/m);
  });

  it('rehearsal_is_off_unless_a_component_has_its_table', () => {
    expect(agentSettings(GOOD, {}).rehearsal).toEqual({});
    expect(agentSettings(`${GOOD}[rehearsal.digits]\n`, {}).rehearsal).toEqual({
      digits: { max_mib: 16, max_age_hours: 24 },
    });
    const small = `${GOOD}[rehearsal.digits]\nmax_mib = 2\nmax_age_hours = 0.5\n`;
    expect(agentSettings(small, {}).rehearsal).toEqual({
      digits: { max_mib: 2, max_age_hours: 0.5 },
    });
    expect(complaintOf(`${GOOD}[rehearsal.digits]\nmax_mib = 0\n`)).toMatch(/max_mib/);
    expect(complaintOf(`${GOOD}[rehearsal.digit]\n`)).toMatch(/names digit, which is no/);
  });

  it('every_mistake_is_named_at_once', () => {
    const complaint = complaintOf(
      GOOD.replace('"gate-1"', '"a name"')
        .replace('http://127.0.0.1:7300', 'ftp://x')
        .replace('[trust]', 'colour = "red"\n[trust]'),
      {
        LINNET_AGENT__API__PORT: '99999',
      },
    );
    expect(complaint).toMatch(/\/name/);
    expect(complaint).toMatch(/\/server\/url/);
    expect(complaint).toMatch(/colour/);
    expect(complaint).toMatch(/\/api\/port/);
  });

  it('component_named_twice_and_addresses_that_cannot_be_used_are_all_named', () => {
    const complaint = complaintOf(
      GOOD.replace('["digits"]', '["digits", "ocr", "digits"]').replace(
        'url = "http://127.0.0.1:7300"',
        'url = "http://127.0.0.1:73000"\nmirrors = ["http://me:secret@mirror", ' +
          '"file://stick/repo", "http://[::1", "file:///ok"]',
      ),
      { LINNET_AGENT__MQTT__URL: 'mqtt://device:secret@broker' },
    );
    expect(complaint).toMatch(/\/components: names a component twice/);
    expect(complaint).toMatch(/\/server\/url: is not a URL/);
    expect(complaint).toMatch(/\/server\/mirrors\/0: must not carry a user/);
    expect(complaint).toMatch(/\/server\/mirrors\/1: names a host/);
    expect(complaint).toMatch(/\/server\/mirrors\/2: is not a URL/);
    expect(complaint).not.toMatch(/mirrors\/3/);
    expect(complaint).toMatch(/\/mqtt\/url: must not carry a user/);
    expect(complaint).not.toMatch(/secret/);
  });

  it('usual_addresses_are_taken', () => {
    const usual = GOOD.replace(
      '[trust]',
      'mirrors = ["file:///media/stick", "https://mirror:8443/linnet"]\n[trust]',
    );
    expect(agentSettings(usual, { LINNET_AGENT__MQTT__URL: 'mqtts://[::1]:8883' }).mqtt.url).toBe(
      'mqtts://[::1]:8883',
    );
  });

  it('missing_keys_are_named', () => {
    expect(complaintOf('name = "x"')).toMatch(
      /missing hardware.*components.*data_dir.*server.*trust/s,
    );
  });

  it('a_file_that_is_not_toml_is_refused_with_its_line', () => {
    expect(complaintOf('name = = 3')).toMatch(/not TOML.*1:  name = = 3/s);
  });

  it('an_override_that_cuts_through_a_value_is_refused', () => {
    expect(complaintOf(GOOD, { LINNET_AGENT__NAME__FIRST: 'x' })).toMatch(/name is not a table/);
  });

  it('settings_are_frozen', () => {
    expect(Object.isFrozen(agentSettings(GOOD, {}).server)).toBe(true);
  });
});
