import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { after, test, type Test } from 'tap';
import { partitionOf } from '../../../../src/core/bus/partitions.ts';
import { StoreClient } from '../../../../src/store/store-client.ts';
import { BarHarness, record, TOPIC } from '../../../support/bars/harness.ts';
import { oracleBars, type OracleTick } from '../../../support/bars/oracle.ts';
import { barsIn, ROLLUPS, tick, traces } from '../../../support/bars/stored.ts';
import { misplace } from '../../../support/bus/postgres-bus.ts';
import { PostgresProxy } from '../../../support/servers/postgres-proxy.ts';
import { startPostgres, type TestPostgres } from '../../../support/servers/postgres.ts';
import { seededRandom, type Random } from '../../../support/random.ts';
import { until } from '../../../support/until.ts';

const PARTITIONS = 4;
const IDLE_MS = 1_000;
const SYMBOLS = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA', 'GLD', 'IWM', 'NVDA'];
const program = fileURLToPath(new URL('micro-batcher-child.ts', import.meta.url));

let postgres: TestPostgres | null = null;
after(() => postgres?.stop());

async function harnessOf(t: Test, partitions: number): Promise<BarHarness> {
  postgres ??= await startPostgres();
  const url = await postgres.createDatabase(undefined, { schema: false });
  return BarHarness.open(t, url, { kind: 'postgres' }, partitions);
}

/** A stretch of every symbol, in the order of its times; a stretch is 10 s. */
function stretch(random: Random, index: number): OracleTick[] {
  return Array.from({ length: 400 }, (_, at) =>
    tick(
      random.pick(SYMBOLS),
      index * 10 + at / 40,
      100 + random.next(),
      random.percent(10) ? null : random.next(),
      index * 400 + at,
    ),
  );
}

/** As programs put them there that know no hash. */
function misplaceTicks(harness: BarHarness, ticks: readonly OracleTick[], partition: number): Promise<void> {
  const events = ticks.map((each) => ({ key: each.symbol, text: Buffer.from(record(each).data).toString() }));
  return misplace(harness.client, TOPIC, partition, events);
}

/** Every bar of every length is that of these ticks. */
async function untilAll(
  t: Test,
  harness: BarHarness,
  ticks: readonly OracleTick[],
  context: () => string,
): Promise<void> {
  let wrong = '';
  await until(
    'all bars are those of the ticks',
    async () => {
      for (const [interval, length] of Object.entries({ '2s': 2_000, ...ROLLUPS })) {
        const found = JSON.stringify(await barsIn(harness.client, { interval }));
        const expected = JSON.stringify(oracleBars(ticks, length));
        wrong = `${interval}\nfound    ${found}\nexpected ${expected}`;
        if (found !== expected) return false;
      }
      return true;
    },
    { deadlineMs: 40_000, pollMs: 200, context: () => `${context()}\n${wrong.slice(0, 5_000)}` },
  );
  t.equal((await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM bars_late_windows')).n, 0);
}

void test('members that leave, are killed and freeze lose and double no bar', async (t) => {
  const harness = await harnessOf(t, PARTITIONS);
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  await harness.consumer();
  const children: ChildProcess[] = [];
  const member = (name: string): ChildProcess => {
    const child = spawn(process.execPath, [program, harness.url, name, `${PARTITIONS}`, `${IDLE_MS}`], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    children.push(child);
    return child;
  };
  const holders = async (): Promise<string> => {
    const { rows } = await harness.client.query<{ holder: string | null }>(
      `SELECT CASE WHEN lease_expires_at > clock_timestamp() THEN holder END AS holder FROM bus_partitions
        WHERE group_name = 'mdp-consumers' ORDER BY 1 NULLS FIRST`,
    );
    return rows.map(({ holder }) => holder ?? '-').join('');
  };
  const settles = (expected: string): Promise<boolean> =>
    until(`the partitions are held by ${expected}`, async () => (await holders()) === expected, {
      deadlineMs: 30_000,
      context: holders,
    });
  const ticks: OracleTick[] = [];
  let index = 0;
  /** published a few at a time, so that members are met in the middle of it */
  const publish = async (): Promise<void> => {
    const next = stretch(random, index);
    index += 1;
    ticks.push(...next);
    for (let from = 0; from < next.length; from += 50) {
      const part = next.slice(from, from + 50);
      if (from % 200 === 0) await misplaceTicks(harness, part, 1);
      else await harness.publish(part);
    }
  };

  const a = member('a');
  await settles('aaaa');
  await publish();
  const b = member('b');
  await Promise.all([publish(), settles('aabb')]);
  a.kill('SIGTERM');
  await Promise.all([publish(), once(a, 'exit')]);
  t.equal(a.exitCode, 0);
  await settles('bbbb');
  const c = member('c');
  await settles('bbcc');
  const publishing = publish();
  b.kill('SIGKILL');
  await publishing;
  await settles('cccc');
  c.kill('SIGSTOP');
  const d = member('d');
  await Promise.all([publish(), settles('dddd')]);
  c.kill('SIGCONT');
  await Promise.all([publish(), settles('ccdd')]);
  await untilAll(t, harness, ticks, () => '');
  const ends = [c, d].map((child) => once(child, 'exit'));
  for (const child of [c, d]) child.kill('SIGTERM');
  await Promise.all(ends);
  t.strictSame([c.exitCode, d.exitCode], [0, 0]);
  const { rows } = await harness.client.query(
    "SELECT count(*)::int AS n FROM job_runs WHERE job_name = 'micro_batch'",
  );
  t.strictSame(rows, [{ n: 4 }]);
});

void test('records in a wrong partition are forwarded and counted, each once', async (t) => {
  const harness = await harnessOf(t, PARTITIONS);
  await harness.consumer();
  const ticks = SYMBOLS.flatMap((symbol) => [0, 1, 2.5].map((at) => tick(symbol, at, 10 + at)));
  await misplaceTicks(harness, ticks, 1);
  const first = await harness.batcher({ idleTimeoutMs: 300_000 });
  await harness.untilRead();
  const misplaced = ticks.filter(({ symbol }) => partitionOf(symbol, PARTITIONS) !== 1).length;
  t.ok(misplaced > 0);
  const counted = (): number => harness.sum('bus_forwarded_total');
  await until('they are counted', () => counted() === misplaced, {
    context: () => `${counted()} of ${misplaced}`,
  });
  await first.stop();
  // its successor reads from the oldest open window, and forwards nothing again
  const second = await harness.batcher({ idleTimeoutMs: 300, consumerName: 'bars-2' });
  await untilAll(t, harness, ticks, () => harness.logged.slice(-20).join('\n'));
  await second.stop();
  t.equal(counted(), misplaced);
  const stored = await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM tick_data');
  t.equal(stored.n, ticks.length);
});

void test('a database that goes away for a while costs nothing', async (t) => {
  const harness = await harnessOf(t, 1);
  const server = postgres!;
  await harness.consumer();
  const batcher = await harness.batcher({ idleTimeoutMs: 300 });
  const ticks = [tick('SPY', 0, 10, 0.1), tick('SPY', 1, 11, 0.2), tick('SPY', 3, 12, 0.3)];
  await harness.publish(ticks.slice(0, 2));
  await harness.untilRead();
  await server.halt('immediate');
  await until('it is told', () => harness.logged.some((line) => line.includes('(will try again)')), {
    deadlineMs: 15_000,
  });
  await server.start();
  const again = await BarHarness.open(t, harness.url);
  await until('the bus takes events again', async () => {
    try {
      await again.publish(ticks.slice(2));
      return true;
    } catch {
      return false;
    }
  });
  await untilAll(t, again, ticks, () => harness.logged.slice(-20).join('\n'));
  const late = tick('SPY', 0.5, 30, 0.4);
  await again.publish([late]);
  await untilAll(t, again, [...ticks, late], () => harness.logged.slice(-20).join('\n'));
  const before = await traces(again.client);
  await batcher.stop();
  t.strictSame(await traces(again.client), before);
  t.equal(before.filter(({ interval }) => interval === '2s').length, 2);
});

void test('answers of COMMIT that get lost cost and double nothing', async (t) => {
  const harness = await harnessOf(t, 1);
  const proxy = await PostgresProxy.at(harness.url);
  t.teardown(() => proxy.stop());
  await harness.consumer();
  const storeClient = new StoreClient({ dbUri: proxy.url(harness.url), applicationName: 'lossy' });
  t.teardown(() => storeClient.aclose());
  const batcher = await harness.batcher({ storeClient, idleTimeoutMs: 60_000 });
  await until('it runs', () => harness.logged.includes('A partition was taken'));
  proxy.answers.loseEvery = 2;
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  const ticks: OracleTick[] = [];
  for (let round = 0; round < 6; round += 1) {
    // two windows close, and one of the round before gets a late tick
    const next = [0, 1, 2.5, 3, 5].map((at) =>
      tick('SPY', round * 6 + at, random.next(), random.next(), round),
    );
    const late = round === 0 ? [] : [tick('SPY', round * 6 - 5.5, random.next(), random.next(), round)];
    ticks.push(...next, ...late);
    await harness.publish([...next, ...late]);
    await harness.untilRead();
  }
  ticks.push(tick('SPY', 120, 1));
  await harness.publish(ticks.slice(-1));
  await until('nothing is late', async () => {
    await harness.untilRead();
    return (await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM bars_late_windows')).n === 0;
  });
  t.ok(proxy.lost('lossy bars') >= 3, `${proxy.lost('lossy bars')} answers were lost`);
  proxy.heal();
  await batcher.stop();
  await harness.batcher({ idleTimeoutMs: 300, consumerName: 'bars-2' });
  await untilAll(t, harness, ticks, () => harness.logged.slice(-20).join('\n'));
});
