// What lets the conductor work from what changed, kept by the database itself, so that no writer
// can forget it, also not a server of the previous version beside this one:
//
// - member_counts: how many members of a rollout are in a state, by wave and kind of hardware.
// - member_looks: which members are to be looked at, and when at the latest (`at` 0: now). A row is
//   made or made due when a member or what its device reported changes. `mark` rises whenever it is
//   made due, so that who looked does not put aside what changed meanwhile.
import { sql, type Kysely, type Migration } from 'kysely';
import { isPostgres, postgresDdl } from './dialect.js';

/** The release is on the device, and the rollout is not done with it. */
const UNSETTLED = `(state in ('taken', 'trial', 'unproven', 'silent')
  or (state = 'confirmed' and proven = 0))`;

const TABLES = [
  `create table member_counts (
    rollout text not null,
    wave integer not null,
    hardware text not null,
    state text not null,
    proven integer not null,
    count integer not null,
    primary key (rollout, wave, hardware, state, proven)
  ) strict`,
  `create table member_looks (
    rollout text not null,
    device text not null,
    at integer not null,
    mark integer not null,
    primary key (rollout, device)
  ) strict`,
  'create index member_looks_by_time on member_looks (at, rollout)',
  'create index members_in_turn on members (rollout, state, wave, rank, device)',
  'create index takes_failed on takes (series, seq) where failed = 1',
  `insert into member_counts (rollout, wave, hardware, state, proven, count)
    select rollout, wave, hardware, state, proven, count(*) from members
    group by rollout, wave, hardware, state, proven`,
  `insert into member_looks (rollout, device, at, mark)
    select rollout, device, 0, 1 from members where ${UNSETTLED} or state in ('reverting', 'lost')`,
];

const COUNT_NEW = `insert into member_counts (rollout, wave, hardware, state, proven, count)
  values (new.rollout, new.wave, new.hardware, new.state, new.proven, 1)
  on conflict (rollout, wave, hardware, state, proven)
  do update set count = member_counts.count + 1`;

const UNCOUNT_OLD = `update member_counts set count = count - 1
  where rollout = old.rollout and wave = old.wave and hardware = old.hardware
    and state = old.state and proven = old.proven`;

const DUE = `on conflict (rollout, device) do update set at = 0, mark = member_looks.mark + 1`;

const LOOK_AT_NEW = `insert into member_looks (rollout, device, at, mark)
  select new.rollout, new.device, 0, 1 where new.state <> 'waiting' ${DUE}`;

const LOOK_AT_CHANGED = `insert into member_looks (rollout, device, at, mark)
  values (new.rollout, new.device, 0, 1) ${DUE}`;

/** In the rollouts that a conductor works on. */
const lookAt = (which: string): string => `insert into member_looks (rollout, device, at, mark)
  select members.rollout, members.device, 0, 1
  from members join rollouts on rollouts.id = members.rollout
  where ${which} and (rollouts.state in ('rolling', 'held', 'reverting')
    or (rollouts.state = 'completed' and exists (
      select 1 from member_counts
      where member_counts.rollout = rollouts.id and count > 0 and ${UNSETTLED})))
  ${DUE}`;

interface Trigger {
  readonly name: string;
  /** "after insert on members". */
  readonly on: string;
  readonly when: string | null;
  readonly statements: readonly string[];
}

const COUNTED = ['wave', 'hardware', 'state', 'proven'];
const LOOK_AT_REPORTING = lookAt(
  'members.device = new.device and rollouts.component = new.component',
);
const TRIGGERS: Trigger[] = [
  {
    name: 'member_added',
    on: 'after insert on members',
    when: null,
    statements: [COUNT_NEW, LOOK_AT_NEW],
  },
  {
    name: 'member_counted',
    on: `after update of ${COUNTED.join(', ')} on members`,
    when: COUNTED.map((column) => `old.${column} <> new.${column}`).join(' or '),
    statements: [UNCOUNT_OLD, COUNT_NEW],
  },
  {
    name: 'member_changed',
    on: 'after update on members',
    when: null,
    statements: [LOOK_AT_CHANGED],
  },
  {
    name: 'device_reported',
    on: 'after insert on facts',
    when: `new.kind <> 'health'`,
    statements: [LOOK_AT_REPORTING],
  },
  {
    name: 'device_reported_again',
    on: 'after update on facts',
    when: `new.kind <> 'health' and old.body_json <> new.body_json`,
    statements: [LOOK_AT_REPORTING],
  },
  {
    // These change when they are only heard again.
    name: 'device_heard',
    on: 'after update of last_seen_at on devices',
    when: null,
    statements: [
      lookAt(`members.device = new.id and members.state in ('silent', 'lost', 'reverting')`),
    ],
  },
  {
    name: 'device_status',
    on: 'after update of status on devices',
    when: 'old.status <> new.status',
    statements: [lookAt('members.device = new.id')],
  },
];

function triggerDdl(forPostgres: boolean, { name, on, when, statements }: Trigger): string[] {
  const condition = when === null ? '' : ` when (${when})`;
  const body = statements.map((statement) => `${statement};`).join('\n');
  if (!forPostgres) return [`create trigger ${name} ${on}${condition} begin\n${body}\nend`];
  return [
    `create function ${name}() returns trigger language plpgsql as $$
      begin\n${body}\nreturn null;\nend $$`,
    `create trigger ${name} ${on} for each row${condition} execute function ${name}()`,
  ];
}

export const conductorMigration: Migration = {
  up: async (db: Kysely<unknown>): Promise<void> => {
    const forPostgres = isPostgres(db);
    const tables = forPostgres ? TABLES.map(postgresDdl) : TABLES;
    const triggers = TRIGGERS.flatMap((trigger) => triggerDdl(forPostgres, trigger));
    for (const statement of [...tables, ...triggers]) await sql.raw(statement).execute(db);
  },
};
