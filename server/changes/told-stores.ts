// Stores that tell the change feed what they changed, once the change is committed. Everything else
// of them is as it was; nobody who calls them knows.
import type {
  AuditStore,
  DeviceStore,
  ReleaseStore,
  RolloutStore,
  TokenStore,
} from '../interfaces.js';
import type { ChangeFeed } from './change-feed.js';

type Feed = Pick<ChangeFeed, 'changed'>;
type Method = (...args: never[]) => Promise<unknown>;

/** What is told after a method has succeeded, by its name. */
type Told<T> = {
  readonly [K in keyof T]?: T[K] extends (...args: infer A) => Promise<infer R>
    ? (result: R, ...args: A) => void
    : never;
};

/** `target` whose methods named in `told` tell of what they did. */
function telling<T extends object>(target: T, told: Told<T>): T {
  return new Proxy(target, {
    get: (of, name) => {
      const value: unknown = Reflect.get(of, name, of);
      if (typeof value !== 'function') return value;
      const method = value.bind(of) as Method;
      const tell = told[name as keyof T] as ((...args: unknown[]) => void) | undefined;
      if (tell === undefined) return method;
      return async (...args: never[]): Promise<unknown> => {
        const result = await method(...args);
        tell(result, ...args);
        return result;
      };
    },
  });
}

export interface OperatorStores {
  readonly devices: DeviceStore;
  readonly tokens: TokenStore;
  readonly releases: ReleaseStore;
  readonly audit: AuditStore;
}

export function toldStores(feed: Feed, stores: OperatorStores): OperatorStores {
  /** By an operator: the audit log has a new entry as well. */
  const devices = (...ids: string[]): void => {
    feed.changed('devices', ids);
    feed.changed('audit');
  };
  const tokens = (): void => {
    feed.changed('tokens');
    feed.changed('audit');
  };
  return {
    devices: telling(stores.devices, {
      enrol: (_row, id) => feed.changed('devices', [id]),
      approve: (_row, id) => devices(id),
      revoke: (_row, id) => devices(id),
      replace: (_row, old, by) => devices(old, by),
      change: (_row, id) => devices(id),
      addClaim: () => devices(),
    }),
    tokens: telling(stores.tokens, { add: tokens, revoke: tokens, revokeOwn: tokens }),
    releases: telling(stores.releases, {
      add: () => {
        feed.changed('releases');
        feed.changed('audit');
      },
    }),
    audit: telling(stores.audit, { append: () => feed.changed('audit') }),
  };
}

export function toldRollouts(feed: Feed, rollouts: RolloutStore): RolloutStore {
  return telling(rollouts, {
    insertRollout: (_nothing, row) => {
      feed.changed('rollouts', [row.id]);
      feed.changed('audit');
    },
    commit: (committed, { rollout, audit }) => {
      if (!committed) return;
      feed.changed('rollouts', [rollout.id]);
      if (audit !== undefined && audit.length > 0) feed.changed('audit');
    },
  });
}
