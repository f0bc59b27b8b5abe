import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Writable } from 'node:stream';
import { after, test, type Test } from 'tap';
import { BarHarness, type BusPlace } from '../../support/bars/harness.ts';
import { seededRandom } from '../../support/random.ts';
import { startPostgres, type TestPostgres } from '../../support/servers/postgres.ts';
import { redisMissing, startRedis } from '../../support/servers/redis.ts';
import { until } from '../../support/until.ts';

const PYTHON = fileURLToPath(new URL('../../.venv/bin/python', import.meta.url));
const EXAMPLE = fileURLToPath(new URL('../../../examples/publish_trades.py', import.meta.url));
const HEADER = 'symbol,ts,price,size,side,trade_id';
const SYMBOLS = ['SPY', 'AAPL', 'MSFT', 'QQQ', 'TSLA'];

let postgres: TestPostgres | null = null;
after(() => postgres?.stop());

function noClients(): false | string {
  if (!existsSync(PYTHON)) return 'no test/.venv (scripts/test-machine.sh makes it as root)';
  try {
    execFileSync(PYTHON, ['-c', 'import hiredis, psycopg, redis'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'no redis-py or no psycopg in test/.venv (scripts/test-machine.sh installs them as root)';
  }
}

/** As a row of tick_data shows it. */
interface Trade {
  symbol: string;
  us: string;
  price: number;
  size: number | null;
  side: number | null;
}

/** Several share a microsecond, and some of those all but their trade_id. */
function tradesOf(t: Test, count: number): { lines: string[]; trades: Trade[] } {
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  const lines: string[] = [];
  const trades: Trade[] = [];
  for (let at = 0; at < count; at += 1) {
    const symbol = random.pick(SYMBOLS);
    const micros = 1_761_314_520_000_000n + BigInt(Math.floor(at / 4));
    const ts = `${new Date(Number(micros / 1000n)).toISOString().slice(0, -1)}${`${micros % 1000n}`.padStart(3, '0')}Z`;
    const price = random.percent(30) ? '425.15' : (100 + random.next()).toFixed(10);
    const size = random.percent(10) ? '' : random.percent(50) ? '100' : `${random.next()}`;
    const side = random.pick(['buy', 'sell', '']);
    const id = random.percent(50) ? `${at}` : `T-${at}`;
    lines.push([symbol, ts, price, size, side, id].join(','));
    trades.push({
      symbol,
      us: `${micros}`,
      price: Number(price),
      size: size === '' ? null : Number(size),
      side: side === '' ? null : side === 'buy' ? 1 : -1,
    });
  }
  return { lines, trades };
}

function sorted(trades: readonly Trade[]): string[] {
  return trades.map((trade) => JSON.stringify(trade)).sort();
}

/** The example with its standard input, and what it says: `said` of both streams. */
function example(args: readonly string[]): {
  input: Writable;
  said: string[];
  ended: Promise<number | null>;
} {
  const child = spawn(PYTHON, [EXAMPLE, '--provider', 'mine', ...args], { stdio: 'pipe' });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => said.push(line));
  }
  return { input: child.stdin, said, ended: once(child, 'exit').then(([code]) => code as number | null) };
}

async function harnessOf(t: Test, place: BusPlace): Promise<BarHarness> {
  postgres ??= await startPostgres();
  const harness = await BarHarness.open(
    t,
    await postgres.createDatabase(undefined, { schema: false }),
    place,
  );
  await harness.consumer();
  return harness;
}

async function allAreStored(t: Test, harness: BarHarness, trades: readonly Trade[]): Promise<void> {
  const stored = async (): Promise<number> =>
    (await harness.one<{ n: number }>('SELECT count(*)::int AS n FROM tick_data')).n;
  await until('as many rows', async () => (await stored()) >= trades.length, {
    progress: stored,
    context: async () => `${await stored()}`,
  });
  const { rows } = await harness.client.query<Trade>(
    `SELECT symbol, (extract(epoch FROM ts) * 1000000)::bigint::text AS us, price, size, side FROM tick_data WHERE provider = 'mine'`,
  );
  t.strictSame(sorted(rows), sorted(trades));
  t.strictSame(await harness.deadLetters(), []);
}

const skip = noClients();

void test(
  'Python onto Redis: every trade, across a full and a killed server',
  { skip: skip || (redisMissing() ?? false) },
  async (t) => {
    const redis = await startRedis();
    t.teardown(() => redis.stop());
    const harness = await harnessOf(t, { kind: 'redis', uri: redis.uri });
    const { lines, trades } = tradesOf(t, 12_000);
    const { input, said, ended } = example(['--redis', redis.uri]);
    const onBus = async (): Promise<number> => Number(await redis.cli('XLEN', 'mdp.events'));
    input.write(`${[HEADER, ...lines.slice(0, 5_000)].join('\n')}\n`);
    await until('it publishes', async () => (await onBus()) > 0);
    await redis.cli('CONFIG', 'SET', 'maxmemory', '1');
    input.write(`${lines.slice(5_000, 9_000).join('\n')}\n`);
    await until('it waits for memory', () => said.some((line) => /^waiting: .*maxmemory/i.test(line)), {
      context: () => said.join('\n'),
    });
    await redis.cli('CONFIG', 'SET', 'maxmemory', '0');
    input.write(`${lines.slice(9_000, 10_000).join('\n')}\n`);
    await redis.crash();
    input.end(`${lines.slice(10_000).join('\n')}\n`);
    t.equal(await ended, 0, said.join('\n'));
    t.match(said.at(-1), /^12000 trades published, \d+ a second$/);
    await allAreStored(t, harness, trades);
  },
);

void test('Python into PostgreSQL: every trade, by bus_publish_many, from a file', { skip }, async (t) => {
  const harness = await harnessOf(t, { kind: 'postgres' });
  const { lines, trades } = tradesOf(t, 6_000);
  const { input, said, ended } = example(['--postgres', harness.url]);
  input.write(`${[HEADER, ...lines.slice(0, 3_000)].join('\n')}\n`);
  await until('it publishes', async () => (await harness.bus.end('mdp.events', 0)) !== null);
  await harness.client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%bus_publish_many%' AND pid <> pg_backend_pid()`,
  );
  input.end(`${lines.slice(3_000).join('\n')}\n`);
  t.equal(await ended, 0, said.join('\n'));
  await allAreStored(t, harness, trades);
  const again = example(['--postgres', harness.url]);
  again.input.end(`${[HEADER, ...lines].join('\n')}\n`);
  t.equal(await again.ended, 0);
  await until(
    'they come again',
    async () => Number(await harness.bus.end('mdp.events', 0)) >= 2 * lines.length - 1,
  );
  await allAreStored(t, harness, trades);
});
