import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { Daemon } from '../../support/chain/daemon.ts';
import type { TestPostgres } from '../../support/servers/postgres.ts';
import type { PostgresProxy } from '../../support/servers/postgres-proxy.ts';
import type { Random } from '../../support/random.ts';
import type { IngestHarness } from '../../support/chain/harness.ts';

/** What a storm strikes at. */
export interface Targets {
  harness: IngestHarness;
  server: TestPostgres;
  /** is never killed: its memory is watched */
  survivor: Daemon;
  survivorProxy: PostgresProxy;
  /** is killed and stopped, and started again */
  victim: () => Daemon;
  victimProxy: PostgresProxy;
  restartVictim: () => void;
}

/** Everything random is drawn before it strikes: several may strike at the same time. */
export interface Fault {
  name: string;
  /** Strikes, holds on for a while, and heals. */
  strike: (targets: Targets) => Promise<void>;
}

type Draw = (random: Random) => Fault['strike'];

/** of a lease, and more */
const LONG_FREEZE_MS = 9_000;

const KINDS: Readonly<Record<string, Draw>> = {
  'kill -9': (random) => {
    const pauseMs = random.whole(0, 1_000);
    return async ({ victim, restartVictim }) => {
      const daemon = victim();
      daemon.kill('SIGKILL');
      await daemon.exited;
      await delay(pauseMs);
      restartVictim();
    };
  },
  SIGTERM: (random) => {
    const pauseMs = random.whole(0, 500);
    return async ({ victim, restartVictim }) => {
      const daemon = victim();
      daemon.kill('SIGTERM');
      const { code } = await daemon.exited;
      // 1: other faults at the same time have kept it from draining in time, and it says so. Before it has said a word, the signal
      // ends it as it ends any process
      assert.ok(
        code === 0 || code === 1 || (code === null && daemon.log.length === 0),
        `a daemon that was told to stop ended with ${code}\n${daemon.tail()}`,
      );
      await delay(pauseMs);
      restartVictim();
    };
  },
  'daemon frozen': (random) => {
    const isSurvivor = random.percent(60);
    const ms = random.percent(30) ? random.whole(5_000, LONG_FREEZE_MS) : random.whole(50, 2_000);
    return async ({ survivor, victim }) => {
      const daemon = isSurvivor ? survivor : victim();
      daemon.kill('SIGSTOP');
      await delay(ms);
      daemon.kill('SIGCONT');
    };
  },
  'thread ended': (random) => {
    const thread = random.pick(['reader', 'parser', 'writer-0', 'writer-1']);
    return async ({ survivor }) => survivor.killThread(thread);
  },
  'connections cut': onProxies((random) => {
    void random;
    return async (proxies) => proxies.forEach((proxy) => proxy.cutAll());
  }),
  'black hole': onProxies((random) => {
    const ms = random.percent(20) ? random.whole(4_000, LONG_FREEZE_MS) : random.whole(50, 3_000);
    return async (proxies) => {
      for (const proxy of proxies) proxy.blackHole();
      await delay(ms);
      for (const proxy of proxies) proxy.heal();
    };
  }),
  'one direction frozen': onProxies((random) => {
    const link = random.pick(['toServer', 'toClient'] as const);
    const ms = random.whole(50, 4_000);
    return async (proxies) => {
      for (const proxy of proxies) proxy[link].frozen = true;
      await delay(ms);
      for (const proxy of proxies) proxy.heal();
    };
  }),
  'database slow': onProxies((random) => {
    const slow = { delayMs: random.whole(0, 30), jitterMs: random.whole(0, 60), bytesPerSecond: 1_500_000 };
    const ms = random.whole(500, 4_000);
    return async (proxies) => {
      for (const { toServer, toClient } of proxies) {
        Object.assign(toServer, slow);
        Object.assign(toClient, slow);
      }
      await delay(ms);
      for (const proxy of proxies) proxy.heal();
    };
  }),
  'COMMIT answers lost': onProxies((random) => {
    const faults = { loseEvery: random.whole(2, 9), silently: random.percent(15) };
    const ms = random.whole(500, 4_000);
    return async (proxies) => {
      for (const { answers } of proxies) Object.assign(answers, faults);
      await delay(ms);
      for (const proxy of proxies) proxy.heal();
    };
  }),
  'sessions ended': () => async (targets) => {
    await onServer(targets, async (client) => {
      await client.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> 'oracle'`,
      );
    });
  },
  'Postgres restarted': (random) => {
    const mode = random.pick(['fast', 'immediate'] as const);
    const downMs = random.whole(0, 1_500);
    return async ({ harness, server }) => {
      await harness.dropClient();
      await server.halt(mode);
      await delay(downMs);
      await server.start();
    };
  },
  'backend frozen': (random) => {
    const ms = random.whole(50, 3_000);
    const share = random.next();
    return async (targets) => {
      const pid = await onServer(targets, async (client) => {
        const { rows } = await client.query<{ pid: number }>(
          `SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> 'oracle'`,
        );
        return rows[Math.floor(share * rows.length)]?.pid;
      });
      if (pid === undefined) return;
      signal(pid, 'SIGSTOP');
      await delay(ms);
      signal(pid, 'SIGCONT');
    };
  },
  'sequencer frozen': (random) => {
    const ms = random.whole(50, 4_000);
    return async ({ harness: { sim } }) => {
      sim.freeze();
      await delay(ms);
      sim.thaw();
    };
  },
  'sequencer replaced': (random) => {
    const how = random.pick(['SIGKILL', 'SIGTERM'] as const);
    const pauseMs = random.whole(0, 500);
    return async ({ harness: { sim } }) => sim.replace(how, pauseMs);
  },
  'sequencer cut':
    () =>
    async ({ harness: { sim } }) =>
      sim.proxy!.cutAll(),
  'sequencer in a black hole': (random) => {
    const ms = random.whole(50, 4_000);
    return async ({ harness: { sim } }) => {
      sim.proxy!.blackHole();
      await delay(ms);
      sim.proxy!.heal();
    };
  },
  'sequencer slow': (random) => {
    const slow = { delayMs: random.whole(0, 50), jitterMs: random.whole(0, 100), bytesPerSecond: 1_000_000 };
    const ms = random.whole(500, 4_000);
    return async ({ harness: { sim } }) => {
      Object.assign(sim.proxy!.toClient, slow);
      await delay(ms);
      sim.proxy!.heal();
    };
  },
};

/** One process: two that touch it at the same time would speak of different ones. */
const EXCLUSIVE: readonly ReadonlySet<string>[] = [
  new Set(['kill -9', 'SIGTERM']),
  new Set(['sequencer frozen', 'sequencer replaced']),
];

export const FAULT_NAMES: readonly string[] = Object.keys(KINDS);

/** One to three faults of different kinds that strike together. */
export function drawFaults(random: Random): Fault[] {
  const count = random.percent(60) ? 1 : random.whole(2, 3);
  const names: string[] = [];
  while (names.length < count) {
    const name = random.pick(FAULT_NAMES);
    const excluded = EXCLUSIVE.some((set) => set.has(name) && names.some((other) => set.has(other)));
    if (!names.includes(name) && !excluded) names.push(name);
  }
  return names.map((name) => ({ name, strike: KINDS[name](random) }));
}

/** At the way of one of the daemons to the database, or of both. */
function onProxies(draw: (random: Random) => (proxies: PostgresProxy[]) => Promise<void>): Draw {
  return (random) => {
    const whose = random.pick(['survivor', 'victim', 'both']);
    const strike = draw(random);
    return ({ survivorProxy, victimProxy }) => {
      const proxies = [survivorProxy, victimProxy];
      return strike(whose === 'both' ? proxies : [proxies[whose === 'survivor' ? 0 : 1]]);
    };
  };
}

/** Its sessions end others of the daemons, also while the server is being restarted. */
function onServer<T>({ harness }: Targets, work: (client: Client) => Promise<T>): Promise<T> {
  return harness.reading(work);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // it has ended meanwhile
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
