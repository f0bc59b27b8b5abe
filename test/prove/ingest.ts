/**
 * make prove-ingest: the acceptance run of the ingester at full size. Prints one table with the figures of each line of
 * what it must show, and ends with 1 when one of them does not hold. The tests run the same scenarios small.
 *
 *   SEED=<u32>               repeats the random choices of a run
 *   ONLY=<text>              runs the scenarios whose name holds the text
 *   TIMESCALE_TEST_URL=<url> also runs on this server with TimescaleDB; several are separated by spaces
 *   PROVE=small              the sizes of the tests, to try the run itself
 */
import { chainSpec } from '../support/chain/content/expected.ts';
import { testServers, type OpenTestServer } from '../support/servers/postgres.ts';
import { ingestsEqually } from './chain/equality.ts';
import { assertHypertables } from './chain/hypertables.ts';
import { survivesKills } from './chain/process/kills.ts';
import { survivesLostCommits } from './chain/database/lost-commits.ts';
import { survivesCuts, survivesLostTransactions, survivesOutages } from './chain/database/outage.ts';
import { storesRealTicks } from './chain/real-ticks.ts';
import { realTicks } from '../support/chain/content/real-ticks.ts';
import { onEmbedded, prove, random, say, sized, type Scenario } from './runner.ts';
import type { Figures, ScenarioContext } from './harness.ts';
import { drainsOnSigterm, endsAtSecondSignal, timesOutWithoutDatabase } from './chain/process/shutdown.ts';
import { STORM_SETTINGS, survivesStorm } from './chain/storm.ts';
import { TAKEOVER_SETTINGS, takesOver, takesOverFromCutOff } from './chain/process/takeover.ts';
import { survivesThreadDeaths } from './chain/process/threads.ts';

async function on(
  open: () => Promise<OpenTestServer>,
  hasHypertables: boolean,
  work: (context: ScenarioContext) => Promise<Figures>,
): Promise<Figures> {
  const server = await open();
  let url = '';
  try {
    const figures = await work({ database: async () => (url = await server.createDatabase()), random, say });
    if (!hasHypertables) return figures;
    const { version, license } = await assertHypertables(url, true);
    return { ...figures, hypertables: `timescaledb ${version}, ${license}` };
  } finally {
    await server.close();
  }
}

/** What runs on every kind of server. */
function onServer(open: () => Promise<OpenTestServer>, name: string, hasHypertables: boolean): Scenario[] {
  const line = (own: string): string => (hasHypertables ? '6' : own);
  const server = (work: (context: ScenarioContext) => Promise<Figures>): (() => Promise<Figures>) => {
    return () => on(open, hasHypertables, work);
  };
  const killed = {
    spec: chainSpec({ seed: 21, hostile: true }),
    count: sized(1_000_000, 60_000),
    kills: sized(30, 3),
  };
  const lost = { spec: chainSpec({ seed: 31 }), every: 9, silently: false, batchTicks: 200 };
  const scenarios: Scenario[] = [
    {
      line: line('3'),
      name: `a long chain is stored equal to its recomputation (${name})`,
      run: server((context) =>
        ingestsEqually(context, {
          spec: chainSpec({ seed: 11, hostile: true }),
          count: sized(1_000_000, 20_000),
        }),
      ),
    },
    {
      line: line('4'),
      name: `kill -9 at random moments under load (${name})`,
      run: server((context) => survivesKills(context, killed)),
    },
    {
      line: line('4'),
      name: `every 9th COMMIT is answered into the void (${name})`,
      run: server((context) => survivesLostCommits(context, { ...lost, count: sized(200_000, 20_000) })),
    },
  ];
  if (realTicks.skip !== false) return scenarios;
  const real = { line: line('2'), name: `the three real ticks (${name})`, run: server(storesRealTicks) };
  return [real, ...scenarios];
}

function embedded(
  line: string,
  name: string,
  work: (context: ScenarioContext) => Promise<Figures>,
): Scenario {
  return { line, name, run: () => onEmbedded({}, work) };
}

/** What needs a server of our own, or is about the daemon alone. */
function onOwnServer(): Scenario[] {
  const load = { spec: chainSpec({ seed: 41 }), count: sized(300_000, 40_000), bytesPerSecond: 4e6 };
  const growing = chainSpec({ seed: 51, ticksPerSecond: 4000n });
  const stormy = chainSpec({ seed: 99, txs: 1, hostile: true, ticksPerSecond: 1500n });
  const takeover = {
    spec: chainSpec({ seed: 61, ticksPerSecond: 2000n }),
    frozenMs: sized(5_000, 500),
    isTimed: true,
  };
  const silent = { spec: chainSpec({ seed: 31 }), count: 20_000, every: 37, silently: true, batchTicks: 200 };
  const backwards = { wal_writer_delay: '10s', wal_writer_flush_after: '1GB', wal_buffers: '64MB' };
  return [
    embedded('4', 'COMMITs answered by silence', (context) => survivesLostCommits(context, silent)),
    embedded('4', 'connections reset at random moments', (context) =>
      survivesCuts(context, {
        spec: chainSpec({ seed: 32 }),
        count: sized(400_000, 40_000),
        cuts: sized(60, 6),
      }),
    ),
    embedded('4', 'threads that die', (context) =>
      survivesThreadDeaths(context, {
        spec: chainSpec({ seed: 97, hostile: true }),
        count: sized(600_000, 60_000),
        deaths: sized(60, 9),
      }),
    ),
    {
      line: '4',
      name: 'everything at once',
      run: () =>
        onEmbedded({ settings: STORM_SETTINGS }, (context, server) =>
          survivesStorm(context, server, { spec: stormy, seconds: sized(60, 10) }),
        ),
    },
    embedded('5', 'SIGTERM under load', (context) => drainsOnSigterm(context, load)),
    embedded('5', 'a second signal', (context) => endsAtSecondSignal(context, load)),
    embedded('5', 'SIGTERM without a database', (context) => timesOutWithoutDatabase(context, load)),
    {
      line: '5',
      name: 'a while without a database, and an immediate stop of it',
      run: () =>
        onEmbedded({ fsync: true }, (context, server) =>
          survivesOutages(context, server, { spec: growing, outageMs: sized(40_000, 4_000) }),
        ),
    },
    {
      line: '5',
      name: 'a database that goes backwards',
      run: () =>
        onEmbedded({ fsync: true, settings: backwards }, (context, server) =>
          survivesLostTransactions(context, server, { spec: growing, crashes: 1 }),
        ),
    },
    {
      line: '5',
      name: 'two daemons at once',
      run: () => onEmbedded({ settings: TAKEOVER_SETTINGS }, (context) => takesOver(context, takeover)),
    },
    {
      line: '5',
      name: 'a leader that is cut off from the database',
      run: () =>
        onEmbedded({ settings: TAKEOVER_SETTINGS }, (context) => takesOverFromCutOff(context, takeover)),
    },
  ];
}

function allScenarios(): Scenario[] {
  const own = testServers().find(({ name }) => name === 'embedded')!;
  const urls = (process.env['TIMESCALE_TEST_URL'] ?? '').split(/\s+/).filter((url) => url !== '');
  const scenarios = onServer(() => own.open(), 'embedded', false);
  const timescale = urls.flatMap((url) => {
    const open = (): Promise<OpenTestServer> => {
      process.env['TIMESCALE_TEST_URL'] = url;
      return testServers()
        .find(({ name }) => name === 'timescale')!
        .open();
    };
    return onServer(open, `TimescaleDB on port ${new URL(url).port}`, true);
  });
  return [...scenarios, ...onOwnServer(), ...timescale];
}

const scenarios = allScenarios();
const remarks: string[] = [];
if (realTicks.skip !== false) remarks.push(`line 2 was left out: ${realTicks.skip}`);
if (!scenarios.some(({ line }) => line === '6')) {
  remarks.push('line 6 was left out: TIMESCALE_TEST_URL names no server');
}
await prove(scenarios, remarks);
