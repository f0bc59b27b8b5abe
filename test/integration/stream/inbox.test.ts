import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { after, test, type Test } from 'tap';
import { partitionOf } from '../../../src/core/bus/partitions.ts';
import { BarHarness, record, TOPIC, type BusPlace } from '../../support/bars/harness.ts';
import { oracleBars, type OracleTick } from '../../support/bars/oracle.ts';
import { barsIn, tick } from '../../support/bars/stored.ts';
import { seededRandom } from '../../support/random.ts';
import { startPostgres, type TestPostgres } from '../../support/servers/postgres.ts';
import { redisMissing, startRedis } from '../../support/servers/redis.ts';
import { until } from '../../support/until.ts';
import type { InboxChildTask } from './inbox-child.ts';

const PARTITIONS = 4;
const SYMBOLS = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA', 'GLD', 'IWM', 'NVDA'];
const program = fileURLToPath(new URL('inbox-child.ts', import.meta.url));

let postgres: TestPostgres | null = null;
after(() => postgres?.stop());

/** What foreign programs write: the topic's own name, and no partition. */
type Put = (ticks: readonly (OracleTick | string)[]) => Promise<void>;

const textOf = (each: OracleTick | string): string =>
  typeof each === 'string' ? each : Buffer.from(record(each).data).toString();

interface Place {
  place: BusPlace;
  put: (harness: BarHarness) => Put;
}

async function redisPlace(t: Test): Promise<Place> {
  const redis = await startRedis({ appendfsync: 'everysec' });
  t.teardown(() => redis.stop());
  return {
    place: { kind: 'redis', uri: redis.uri },
    put: () => (ticks) => redis.cliLines(ticks.map((each) => `XADD ${TOPIC} * data '${textOf(each)}'`)),
  };
}

async function postgresPlace(): Promise<Place> {
  return {
    place: { kind: 'postgres' },
    put: (harness) => async (ticks) => {
      const values = [TOPIC, ticks.map(() => null), ticks.map(textOf)];
      await harness.client.query('SELECT bus_publish_many($1, $2, $3)', values);
    },
  };
}

/** Of each symbol, in its partition: the numbers of its ticks in the order of the log. */
async function logOf(harness: BarHarness): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>();
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    for (const { data } of await harness.bus.read(TOPIC, partition, null, 100_000)) {
      const text = Buffer.from(data ?? []).toString();
      if (!text.startsWith('{')) continue;
      const { symbol, seq } = JSON.parse(text) as { symbol: string; seq: number };
      const name = `${symbol} in ${partition}`;
      found.set(name, [...(found.get(name) ?? []), seq]);
    }
  }
  return found;
}

async function inbox(t: Test, { place, put }: Place): Promise<void> {
  postgres ??= await startPostgres();
  const url = await postgres.createDatabase(undefined, { schema: false });
  const harness = await BarHarness.open(t, url, place, PARTITIONS);
  const foreign = put(harness);
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  const ticks: OracleTick[] = [];
  const more = async (count: number): Promise<void> => {
    const next = Array.from({ length: count }, (_, at) => {
      const index = ticks.length + at;
      return tick(SYMBOLS[index % SYMBOLS.length], index / 200, 100 + random.next(), random.next(), index);
    });
    ticks.push(...next);
    for (let from = 0; from < next.length; from += 100) await foreign(next.slice(from, from + 100));
  };
  const stored = async (): Promise<number> =>
    (await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM tick_data')).n;
  const member = (name: string): ChildProcess => {
    const task: InboxChildTask = { url, place, member: name, partitions: PARTITIONS, idleTimeoutMs: 1_000 };
    const child = spawn(process.execPath, [program, JSON.stringify(task)], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    return child;
  };
  const holder = async (): Promise<string | null> =>
    (
      await harness.one<{ member: string | null } | undefined>(
        `SELECT max(holder) FILTER (WHERE lease_expires_at > clock_timestamp()) AS member FROM bus_partitions WHERE group_name = 'mdp-inbox'`,
      )
    )?.member ?? null;

  // before anybody reads the topic, together with something that is no event
  await more(1_500);
  await foreign(['no event at all']);
  const children = new Map([['a', member('a')]]);
  await until('the inbox has an owner', holder);
  children.set('b', member('b'));
  await more(1_000);
  for (const next of ['c', 'd']) {
    const owner = (await until('the inbox has an owner', holder)).split(' ')[1];
    const child = children.get(owner)!;
    const writing = more(1_000);
    child.kill('SIGKILL');
    await once(child, 'exit');
    children.set(next, member(next));
    await writing;
    await until('another one owns it', async () => {
      const now = await holder();
      return now !== null && !now.endsWith(` ${owner}`);
    });
  }
  await until('all are stored', async () => (await stored()) >= ticks.length, {
    progress: stored,
    context: async () => `${await stored()} of ${ticks.length}`,
  });
  t.equal(await stored(), ticks.length);
  const expected = new Map<string, number[]>();
  for (const { symbol, seq } of ticks) {
    const name = `${symbol} in ${partitionOf(symbol, PARTITIONS)}`;
    expected.set(name, [...(expected.get(name) ?? []), seq]);
  }
  t.same(await logOf(harness), expected, 'each once, in its partition, in order');
  for (const symbol of SYMBOLS) {
    await harness.untilBars(
      symbol,
      ticks.filter((each) => each.symbol === symbol),
    );
  }
  t.equal((await barsIn(harness.client, { interval: '2s' })).length, oracleBars(ticks, 2_000).length);
  const refused = new Set((await harness.deadLetters()).map(({ reason, msgId }) => `${reason} ${msgId}`));
  t.equal(refused.size, 1, [...refused].join());
}

const skip = redisMissing() ?? false;

void test(
  'redis: what foreign programs put under the name of a topic with partitions',
  { skip },
  async (t) => {
    await inbox(t, await redisPlace(t));
  },
);

void test('postgres: what foreign programs put under the name of a topic with partitions', async (t) => {
  await inbox(t, await postgresPlace());
});
