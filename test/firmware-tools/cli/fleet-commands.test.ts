// The fleet commands against a real server: what they print, what they send, and how they end. Over
// 400 lines because each command has its own test over one server.
import { Command } from 'commander';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EXIT, makeOutput } from '../../../firmware-tools/cli/output.js';
import { FleetClient } from '../../../firmware-tools/fleet/fleet-client.js';
import { registerFleetCommands } from '../../../firmware-tools/cli/commands/fleet.js';
import { registerServerCommands } from '../../../server/commands.js';
import { fingerprintOf } from '../../../shared/trust/device-token.js';
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import { RolloutDetail, type Device } from '../../../shared/protocol/operator-api.js';
import type { TelemetryRecord, UpdateBody } from '../../../shared/protocol/telemetry.js';
import { openApiClient } from '../../support/openapi-client.js';
import {
  batchOf,
  clientAs,
  deviceGet,
  enrolled,
  enrolBody,
  idleUpdate,
  mqttOf,
  newDevice,
  post,
  publish,
  startFleet,
  type TestDevice,
  type TestFleet,
} from '../../support/fleet-server.js';
import { trialEvidence } from '../../support/trial-evidence.js';

let fleet: TestFleet;
let devices: TestDevice[];
let tokenFile: string;
let folder: string;

beforeAll(async () => {
  fleet = await startFleet();
  folder = await mkdtemp(join(tmpdir(), 'linnet-cli-'));
  tokenFile = join(folder, 'admin.token');
  await writeFile(tokenFile, `${fleet.adminToken}\n`);
  await publish(fleet, '1.0.0');
  devices = [
    await enrolled(fleet, 'cam-1', 'canary'),
    await enrolled(fleet, 'cam-2', 'fleet'),
    await enrolled(fleet, 'cam-3', 'fleet'),
  ];
});
afterAll(async () => {
  await fleet.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  process.exitCode = undefined;
});

interface Ran {
  out: string;
  err: string;
  code: string | null;
  exit: number | string | null | undefined;
}

async function run(
  args: string[],
  options: { json?: boolean; plain?: boolean } = {},
): Promise<Ran> {
  const ran: Ran = { out: '', err: '', code: null, exit: undefined };
  const streams = {
    out: (text: string) => {
      ran.out += text;
    },
    err: (text: string) => {
      ran.err += text;
    },
  };
  const program = new Command('linnet')
    .exitOverride()
    .configureOutput({ writeOut: streams.out, writeErr: streams.err });
  registerFleetCommands(program, makeOutput(options.json ?? false, streams));
  registerServerCommands(program, makeOutput(options.json ?? false, streams));
  const inherit = (command: Command): void =>
    command.commands.forEach((inner) => {
      inner.copyInheritedSettings(command);
      inherit(inner);
    });
  inherit(program);
  try {
    await program.parseAsync(
      options.plain === true
        ? args
        : [...args, '--server', fleet.server.address, '--token-file', tokenFile],
      { from: 'user' },
    );
  } catch (error) {
    ran.code = isFault(error)
      ? `${error.code}: ${error.detail}`
      : String((error as { code?: string }).code ?? error);
  }
  ran.exit = process.exitCode;
  process.exitCode = undefined;
  return ran;
}

describe('devices and groups', () => {
  it('list_and_show_name_what_there_is', async () => {
    const list = await run(['device', 'list']);
    expect(list.out).toMatch(/^NAME +GROUP +STATUS/);
    expect(list.out).toMatch(/cam-1 +canary +enrolled/);
    const json = JSON.parse(
      (await run(['device', 'list', '--group', 'fleet'], { json: true })).out,
    ) as Device[];
    expect(json.map((device) => device.name)).toEqual(['cam-2', 'cam-3']);
    expect((await run(['device', 'show', 'cam-1'])).out).toContain((devices[0] as TestDevice).id);
    expect((await run(['device', 'show', 'nobody'])).code).toBe(
      'not_found: no device has the id or name nobody; `linnet device list` lists the devices',
    );
  });

  it('claim_approve_revoke_and_group_set_do_what_they_say', async () => {
    const claim = (await run(['device', 'claim', '--group', 'late', '--uses', '1'])).out.trim();
    expect(claim).toMatch(/^lnc_/);
    await post(fleet, '/device/v1/enrol', await enrolBody(newDevice('late-1'), { claim }));
    const second = newDevice('late-2');
    await post(fleet, '/device/v1/enrol', await enrolBody(second, { claim }));
    expect((await run(['device', 'list', '--status', 'pending'])).out).toMatch(/late-2 .*used up/);
    const approve = ['device', 'approve', 'late-2', '--group', 'late'];
    expect((await run(approve)).code).toMatch(/^fingerprint_mismatch: late-2 is only a name/);
    expect((await run([...approve, '--fingerprint', '0'.repeat(16)])).code).toMatch(
      /^fingerprint_mismatch: the key of late-2/,
    );
    const fingerprint = fingerprintOf(second.key.publicKey);
    expect((await run([...approve, '--fingerprint', fingerprint.slice(0, 16)])).out).toMatch(
      /late-2 .* is enrolled, in group late/,
    );
    expect((await run(['group', 'list'])).out).toMatch(/late +2/);
    expect(
      (await run(['group', 'set', 'later', 'late-1', 'late-2'])).out.trim().split('\n').length,
    ).toBe(2);
    expect((await run(['group', 'list'])).out).toMatch(/later +2/);
    const fresh = newDevice('unboxed');
    await post(fleet, '/device/v1/enrol', await enrolBody(fresh));
    expect((await run(['device', 'replace', 'late-2', fresh.id])).out).toMatch(
      new RegExp(`late-2 is ${fresh.id} now, in group later; late-2 is revoked`),
    );
    expect((await run(['device', 'show', second.id])).out).toMatch(/status +revoked/);
    for (const name of ['late-1', 'late-2'])
      expect((await run(['device', 'revoke', name])).out).toMatch(/is revoked/);
  });
});

/** 0 when it has none. */
async function assignmentOf(rollout: string, { id }: TestDevice): Promise<number> {
  const members = await fleet.store.rollouts.members(rollout);
  return members.find(({ device }) => device === id)?.assignmentId ?? 0;
}

/** The report of a device that updates nothing. */
function idle(seq: number, more: Partial<UpdateBody>): TelemetryRecord {
  return { seq, at: seq, kind: 'update', body: idleUpdate(more) };
}

describe('rollouts', () => {
  it('members_on_which_the_release_failed_are_listed_also_when_they_are_back', async () => {
    const id = (await run(['rollout', 'create', 'digits@1.0.0'])).out.trim();
    expect((await run(['rollout', 'members', id, '--failed'])).out).toBe('no devices\n');
    await fleet.store.db
      .updateTable('members')
      .set({ failed: 1, state: 'reverted' })
      .where('rollout', '=', id)
      .where('name', '=', 'cam-2')
      .execute();
    const { out } = await run(['rollout', 'members', id, '--failed']);
    expect(out).toMatch(/^WAVE.*\n\d +cam-2 +fleet +reverted/);
    expect(out).not.toContain('cam-1');
    await run(['rollout', 'drop', id]);
  });

  it('create_start_pause_resume_watch_abort', async () => {
    const made = await run([
      'rollout',
      'create',
      'digits@1.0.0',
      '--groups',
      'canary',
      'fleet',
      '--canary',
      'canary',
      '--then',
      '50,100',
      '--soak',
      '5',
    ]);
    expect(made.out).toMatch(/^ro-[0-9a-f]{16}\n$/);
    const id = made.out.trim();
    const view = JSON.parse(
      (await run(['rollout', 'show', id], { json: true })).out,
    ) as RolloutDetail;
    expect(view.policy.waves.map((wave) => [wave.group ?? wave.percent, wave.soakSeconds])).toEqual(
      [
        ['canary', 5],
        [50, 5],
        [100, 0],
      ],
    );
    const members = await run(['rollout', 'members', id, '--wave', '1', '--state', 'waiting']);
    expect(members.out).toMatch(/^WAVE +DEVICE +GROUP +STATE +REASONS\n1 +\S+ +canary +waiting/);
    expect((await run(['rollout', 'members', id, '--state', 'failed'])).out).toBe('no devices\n');
    expect((await run(['rollout', 'start', id])).out).toContain('rolling');
    expect((await run(['rollout', 'pause', id, '--reason', 'lunch'])).out).toContain('held');
    const watched = await run(['rollout', 'watch', id, '--until-held']);
    expect([watched.exit, watched.code]).toEqual([EXIT.badNews, null]);
    expect(watched.out).toContain('lunch');
    expect((await run(['rollout', 'drop', id])).code).toMatch(/^conflict: /);
    const accept = async (percent: string) =>
      (await run(['rollout', 'resume', id, '--accept-difference', percent])).code;
    expect(await accept('much')).toMatch(/^usage: much is not a percentage/);
    expect(await accept('12.5')).toMatch(/^conflict: .*when devices went back for it/);
    expect((await run(['rollout', 'resume', id])).out).toContain('rolling');
    expect((await run(['rollout', 'list'])).out).toMatch(
      new RegExp(`${id} +digits@1.0.0 +rolling +1/3 +3`),
    );
    const aborting = await run(['rollout', 'abort', id]);
    expect(aborting.code).toBeNull();
    expect((await run(['audit', 'list'])).out).toMatch(
      /first-admin +rollout\.pause +ro-[0-9a-f]+ +\{"reason":"lunch"\}/,
    );
    // End it for the next test: the touched device says that it runs nothing and follows the
    // withdrawal.
    const canary = devices[0] as TestDevice;
    const link = await mqttOf(fleet, canary);
    let seq = 0;
    await expect
      .poll(
        async () => {
          seq += 1;
          const assignmentId = await assignmentOf(id, canary);
          await link.send(JSON.stringify(batchOf([idle(seq, { assignmentId })])));
          return (await fleet.store.rollouts.rollout(id))?.state;
        },
        { timeout: 30_000, interval: 100 },
      )
      .toBe('reverted');
    await link.client.endAsync(true);
  });

  it('watch_ends_with_0_when_completed_and_tells_each_change_as_ndjson', async () => {
    expect((await run(['standing', 'list'])).out).toMatch(/^no standing releases/);
    const id = (
      await run(['rollout', 'create', 'digits@1.0.0', '--groups', 'fleet', '--then', '100'])
    ).out.trim();
    await run(['rollout', 'start', id]);
    const watching = run(['rollout', 'watch', id], { json: true });
    const ref = (await fleet.store.rollouts.rollout(id))?.release ?? null;
    const links = await Promise.all(devices.slice(1).map((device) => mqttOf(fleet, device)));
    let seq = 100;
    await expect
      .poll(
        async () => {
          for (const [index, device] of devices.slice(1).entries()) {
            // It asks for its metadata: only then it takes the release.
            await deviceGet(fleet, device, '/device/v1/director/timestamp.json');
            const assignment = await assignmentOf(id, device);
            if (assignment === 0 || ref === null) continue;
            seq += 1;
            const outcome = {
              result: 'confirmed' as const,
              code: null,
              detail: 'well',
              release: ref,
              assignmentId: assignment,
            };
            const evidence = trialEvidence({
              seconds: 60,
              served: 500,
              replaces: false,
              comparable: false,
            });
            await links[index]?.send(
              JSON.stringify(
                batchOf([
                  {
                    seq: 2 * seq,
                    at: seq,
                    kind: 'trial',
                    body: { release: ref, previous: null, assignmentId: assignment, evidence },
                  },
                  idle(2 * seq + 1, {
                    running: ref,
                    updatingTo: ref,
                    assignmentId: assignment,
                    outcome,
                  }),
                ]),
              ),
            );
          }
          return (await fleet.store.rollouts.rollout(id))?.state;
        },
        { timeout: 40_000, interval: 100 },
      )
      .toBe('completed');
    const watched = await watching;
    expect([watched.exit, watched.code]).toEqual([EXIT.done, null]);
    const lines = watched.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as RolloutDetail);
    expect(lines.at(-1)?.state).toBe('completed');
    const standing = await run(['standing', 'list']);
    expect(standing.out).toMatch(/^RELEASE +FOR +ROLLOUT +SINCE +NOW\n/);
    expect(standing.out).toMatch(new RegExp(`digits@1.0.0 +groups fleet +${id} .* taken\n$`));
    for (const { client } of links) await client.endAsync(true);
  });

  it('specification_gives_the_whole_rollout_and_refuses_options_beside_it', async () => {
    const file = join(folder, 'rollout.toml');
    await writeFile(
      file,
      'autoRevert = false\n[[waves]]\nname = "everyone"\npercent = 100\n[trial]\nminPairs = 7\n',
    );
    const id = (await run(['rollout', 'create', 'digits@1.0.0', '--spec', file])).out.trim();
    const view = await fleet.admin.request('GET', `/rollouts/${id}`, RolloutDetail);
    expect(view.policy).toMatchObject({
      autoRevert: false,
      waves: [{ name: 'everyone', percent: 100, soakSeconds: 60, approval: false }],
      trial: { minPairs: 7, maxSeconds: 3600 },
    });
    const beside = ['--soak', '3', '--groups', 'a'];
    expect(
      (await run(['rollout', 'create', 'digits@1.0.0', '--spec', file, ...beside])).code,
    ).toMatch(/^usage: .*--groups, --soak/);
    await writeFile(file, 'colour = 1\n[[waves]]\nname = 3\n');
    const wrong = (await run(['rollout', 'create', 'digits@1.0.0', '--spec', file])).code;
    expect(wrong).toMatch(/^usage: .*colour/);
    expect(wrong).toMatch(/name/);
    expect((await run(['rollout', 'drop', id])).out).toContain('dropped');
  });

  it('a_release_that_declares_more_than_the_policy_is_drafted_when_somebody_accepts_it', async () => {
    const [base, evaluationSha256] = ['b'.repeat(64), 'e'.repeat(64)];
    const outputs = [{ output: 'logits', sum: 75, count: 500 }];
    const expectedDifferences = [{ base, version: '1.0.0', evaluationSha256, outputs }];
    await publish(fleet, '1.1.0', { expectedDifferences });
    const create = ['rollout', 'create', 'digits@1.1.0'];
    const numbers = 'answers of logits differ from 1.0.0 by 15 % (n 500; limit 20.9 %)';
    expect((await run([...create, '--dry-run'])).out).toContain(`note: ${numbers}\n`);
    const { code } = await run(create);
    expect(code?.startsWith(`difference_not_accepted: ${numbers}; `)).toBe(true);
    expect(code).toMatch(/; the policy's limit is 10 %$/);
    const policy = join(folder, 'accept.toml');
    await writeFile(policy, '[[waves]]\nname = "everyone"\npercent = 100\n');
    const made = await run([...create, '--spec', policy, '--accept-difference']);
    expect(made.err).toContain(numbers);
    const id = made.out.trim();
    expect((await run(['audit', 'list'])).out).toMatch(
      new RegExp(`first-admin +rollout\\.difference_accepted +${id} +answers of logits differ`),
    );
    const { history } = await fleet.admin.request('GET', `/rollouts/${id}`, RolloutDetail);
    expect(history[0]?.reasons.at(-1)).toContain(`first-admin accepts: ${numbers}; `);
    expect((await run(['rollout', 'drop', id])).out).toContain('dropped');
  });

  it('mistakes_are_usage_faults_or_the_servers_own', async () => {
    expect((await run(['rollout', 'create', 'digits'])).code).toMatch(
      /^usage: digits: name the release/,
    );
    expect((await run(['rollout', 'create', 'digits@1.0.0', '--then', '100,50'])).code).toMatch(
      /^usage: /,
    );
    expect((await run(['rollout', 'create', 'digits@9.0.0'])).code).toMatch(/^not_found: /);
    expect((await run(['rollout', 'start', 'ro-none'])).code).toMatch(/^not_found: /);
  });
});

describe('what the commands print', () => {
  it('escape_sequences_of_a_device_are_shown_and_have_no_effect', async () => {
    const device = devices[1] as TestDevice;
    const link = await mqttOf(fleet, device);
    const detail = 'red \u001b[31m\u0007 text\nand \u202e a second line';
    await link.send(
      JSON.stringify(
        batchOf([{ seq: 9001, at: 1, kind: 'security', body: { code: 'file_digest', detail } }]),
      ),
    );
    await expect.poll(() => link.acks.length, { timeout: 20_000 }).toBe(1);
    await link.client.endAsync(true);
    const shown = (await run(['device', 'show', device.name])).out;
    expect(shown).toContain('red \\u{1b}[31m\\u{7} text\\nand \\u{202e} a second line');
    expect(shown).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    const json = JSON.parse((await run(['device', 'show', device.name], { json: true })).out) as {
      security: { detail: string }[];
    };
    expect(json.security[0]?.detail).toBe(detail);
  });

  it('counts_have_the_right_plural', async () => {
    const claim = (uses: string) => run(['device', 'claim', '--group', 'late', '--uses', uses]);
    expect((await claim('1')).err).toContain('enrols 1 device into group late');
    expect((await claim('2')).err).toContain('enrols 2 devices into group late');
    expect((await run(['token', 'create', 'once', '--role', 'viewer'])).out).toMatch(/^lnt_/);
    expect((await run(['token', 'revoke', 'once'])).out).toBe('1 token revoked\n');
  });

  it('a_group_without_devices_is_not_found_and_the_remedy_names_the_list', async () => {
    const none = await run(['device', 'list', '--group', 'nosuch']);
    expect(none.code).toBe(
      'not_found: no device is in group nosuch; `linnet group list` lists the groups',
    );
    expect((await run(['token', 'revoke', 'nobody'])).code).toMatch(/`linnet token list`/);
  });

  it('a_list_is_what_the_generated_client_reads', async () => {
    const listed = JSON.parse((await run(['device', 'list'], { json: true })).out) as unknown[];
    const { data } = await openApiClient(fleet).GET('/api/v1/devices', {
      params: { query: { limit: 1000 } },
    });
    expect(listed).toEqual(data?.items);
    expect(listed.length).toBeGreaterThan(2);
  });

  it('audit_verify_reports_a_whole_chain_and_a_cut_one', async () => {
    const whole = await run(['audit', 'verify']);
    expect(whole.out).toMatch(/^\d+ entries, head [0-9a-f]{64}: the chain is whole\n$/);
    expect(whole.exit).toBeUndefined();
    const entries = Number(/^\d+/.exec(whole.out)?.[0]);
    await fleet.store.db.deleteFrom('audit').where('seq', '=', entries).execute();
    const cut = await run(['audit', 'verify']);
    expect([cut.out, cut.exit]).toEqual([
      `the chain is broken: entry ${entries} is missing or was changed\n`,
      EXIT.badNews,
    ]);
  });
});

describe('the client', () => {
  it('unreachable_servers_and_missing_tokens_are_faults', async () => {
    expect(
      (
        await run(['device', 'list', '--server', 'http://127.0.0.1:1', '--token-file', tokenFile], {
          plain: true,
        })
      ).code,
    ).toMatch(/^server_unreachable: /);
    expect(
      (
        await run(['device', 'list', '--server', 'ftp://x', '--token-file', tokenFile], {
          plain: true,
        })
      ).code,
    ).toMatch(/^usage: /);
    expect(
      (
        await run(
          ['device', 'list', '--server', fleet.server.address, '--token-file', '/nowhere'],
          { plain: true },
        )
      ).code,
    ).toBe('file_unreadable: cannot read the token file /nowhere: there is no such file');
    const lost = new FleetClient({ server: 'http://127.0.0.1:1', token: fleet.adminToken });
    await expect(lost.putFile('ab'.repeat(32), [Buffer.alloc(10)], 10)).rejects.toSatisfy((error) =>
      isFault(error, 'server_unreachable'),
    );
  });

  it('an_upload_whose_source_fails_throws_the_error_of_the_source', async () => {
    const unreadable = createReadStream('/nowhere');
    await expect(fleet.admin.putFile('ab'.repeat(32), unreadable, 10)).rejects.toMatchObject({
      code: 'ENOENT',
    });
    const changed = function* (): Iterable<Uint8Array> {
      yield Buffer.alloc(5);
      throw new Fault('file_digest', 'changed');
    };
    await expect(fleet.admin.putFile('ab'.repeat(32), changed(), 10)).rejects.toSatisfy((error) =>
      isFault(error, 'file_digest'),
    );
  });

  it('a_refused_upload_tells_the_servers_reason', async () => {
    const viewer = await clientAs(fleet, 'viewer');
    const big = [Buffer.alloc(3_000_000)];
    await expect(viewer.putFile('ab'.repeat(32), big, 3_000_000)).rejects.toSatisfy((error) =>
      isFault(error, 'auth_denied'),
    );
  });

  it('every_command_helps_with_an_example', async () => {
    const program = new Command('linnet');
    registerFleetCommands(program, makeOutput(false, { out: () => {}, err: () => {} }));
    registerServerCommands(program, makeOutput(false, { out: () => {}, err: () => {} }));
    const names: string[][] = [];
    const walk = (command: Command, path: string[]): void =>
      command.commands.forEach((inner) => {
        names.push([...path, inner.name()]);
        walk(inner, [...path, inner.name()]);
      });
    walk(program, []);
    expect(names.length).toBeGreaterThan(25);
    for (const name of names) {
      const help = await run([...name, '--help'], { plain: true });
      expect([name.join(' '), /Example:\n {2}\$ .*linnet /.test(help.out)]).toEqual([
        name.join(' '),
        true,
      ]);
    }
  });
});

describe('the server command', () => {
  it('init_writes_the_token_once_and_print_config_shows_what_holds', async () => {
    const config = join(folder, 'fleet.toml');
    const out = join(folder, 'fresh.token');
    await writeFile(config, `data_dir = "${folder}/data"\nrepository = "${folder}/repo"\n`);
    expect(
      (await run(['server', 'init', '--config', config, '--token-out', out], { plain: true })).code,
    ).toBeNull();
    const { readFile, stat } = await import('node:fs/promises');
    expect(await readFile(out, 'utf8')).toMatch(/^lnt_[A-Za-z0-9_-]{43}\n$/);
    expect((await stat(out)).mode & 0o777).toBe(0o600);
    expect(
      (await run(['server', 'init', '--config', config, '--token-out', out], { plain: true })).code,
    ).toMatch(/^conflict: .*exists already/);
    expect(
      (await run(['server', 'init', '--config', config, '--token-out', `${out}2`], { plain: true }))
        .code,
    ).toMatch(/^conflict: .*already has an admin token/);
    expect(
      await stat(`${out}2`).then(
        () => true,
        () => false,
      ),
    ).toBe(false);
    expect(
      JSON.parse(
        (await run(['server', '--config', config, '--print-config'], { plain: true })).out,
      ),
    ).toMatchObject({
      http: { port: 7300 },
      mqtt: { port: 7301 },
    });
    await writeFile(config, 'data_dir = 1\n');
    expect((await run(['server', '--config', config], { plain: true })).code).toMatch(
      /^config_invalid: 2 mistake/,
    );
  });
});
