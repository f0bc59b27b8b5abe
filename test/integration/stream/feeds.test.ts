import { after, test, type Test } from 'tap';
import type { ProviderDeclarations } from '../../../src/core/market/identity/providers.ts';
import { formatMicros, systemClock } from '../../../src/core/time.ts';
import { retryBusDeadLetters } from '../../../src/run/cli/dlq/bus-resolve.ts';
import {
  exactJson,
  firsts,
  oddities,
  records,
  sha62,
  sideNumber,
  trades,
  type Expected,
  type Sent,
} from '../../support/bars/feeds.ts';
import { BarHarness, TOPIC, type BusPlace } from '../../support/bars/harness.ts';
import { oracleBars, type OracleTick } from '../../support/bars/oracle.ts';
import { barsIn, MINUTE_US, ROLLUPS } from '../../support/bars/stored.ts';
import { TestMeter } from '../../support/bus/meter.ts';
import { noKafka, startKafka } from '../../support/servers/kafka.ts';
import { startPostgres, type TestPostgres } from '../../support/servers/postgres.ts';
import { redisMissing, startRedis } from '../../support/servers/redis.ts';
import { seededRandom } from '../../support/random.ts';
import { until } from '../../support/until.ts';

/** Feeds as they are, on each bus: what they name and number, and how, decides which rows and bars there are. */

const PARTITIONS = 4;
const CONTENT = { identity: 'content' } as const;
const AT_FIRST: ProviderDeclarations = {
  content: CONTENT,
  cased: { case: 'refuse', symbols: { kPEPE: '1000PEPE' } },
};
const IN_THE_END: ProviderDeclarations = {
  content: CONTENT,
  plain: CONTENT,
  cased: { case: 'refuse', symbols: { kPEPE: '1000PEPE', kBONK: '1000BONK' } },
};

async function storedRows({ client }: BarHarness): Promise<string[]> {
  const { rows } = await client.query<Expected>(
    `SELECT provider, symbol, (extract(epoch FROM ts) * 1000000)::bigint::float8 AS us, seq::text AS seq, price, size, side
       FROM tick_data`,
  );
  return sorted(rows);
}

function sorted(rows: readonly Expected[]): string[] {
  return rows
    .map(({ provider, symbol, us, seq, price, size, side }) =>
      JSON.stringify([provider, symbol, us, seq, price, size, side]),
    )
    .sort();
}

/** The oracle sorts by small numbers: the rank of a seq among those of its symbol and time. */
function oracleTicks(rows: readonly Expected[]): OracleTick[] {
  const ordered = rows.toSorted((a, b) => (BigInt(a.seq) < BigInt(b.seq) ? -1 : 1));
  return ordered.map(({ provider, symbol, us, price, size }, seq) => ({
    provider,
    symbol,
    srcUs: us,
    seq,
    price,
    size,
  }));
}

async function untilAll(
  harness: BarHarness,
  rows: readonly Expected[],
  context: () => string,
): Promise<void> {
  let wrong = '';
  await until(
    'ticks and bars are those of the feeds',
    async () => {
      const [found, expected] = [await storedRows(harness), sorted(rows)];
      const missing = expected.filter((row) => !found.includes(row));
      const extra = found.filter((row) => !expected.includes(row));
      wrong = `${missing.length} missing: ${missing.slice(0, 3).join('\n')}\n${extra.length} more: ${extra.slice(0, 3).join('\n')}`;
      if (missing.length + extra.length > 0) return false;
      for (const [interval, length] of Object.entries({ '2s': 2_000, ...ROLLUPS })) {
        const bars = bySymbol(await barsIn(harness.client, { interval }));
        const right = bySymbol(oracleBars(oracleTicks(rows), length));
        wrong = `${interval}\nfound    ${bars.join('\n')}\nexpected ${right.join('\n')}`;
        if (bars.join() !== right.join()) return false;
      }
      return true;
    },
    { deadlineMs: 40_000, pollMs: 200, context: () => `${wrong.slice(0, 4_000)}\n${context()}` },
  );
}

function bySymbol(bars: readonly object[]): string[] {
  return bars.map((bar) => JSON.stringify(bar)).sort();
}

let postgres: TestPostgres | null = null;
after(() => postgres?.stop());

/** @param foreign writes texts to the name of the topic, as programs do that know of no partitions */
async function feeds(
  t: Test,
  place: BusPlace,
  foreign: ((harness: BarHarness, texts: string[]) => Promise<unknown>) | null,
): Promise<void> {
  postgres ??= await startPostgres();
  const url = await postgres.createDatabase(undefined, { schema: false });
  const harness = await BarHarness.open(t, url, place, PARTITIONS);
  const random = seededRandom();
  t.comment(`SEED=${random.seed}`);
  const numbered = trades(random, 'ids', (_trade, at) => {
    const id = `${place.kind}-${at}`;
    return [{ trade_id: id }, sha62(id)];
  });
  const byContent = trades(random, 'content', ({ price, size, side }) => [
    {},
    sha62(`${price}|${size}|||${sideNumber(side) ?? ''}`),
  ]);
  const plain = trades(random, 'plain', () => [{}, '0']);
  const refused: Sent[] = [72, 73].map((at) => ({
    event: {
      provider: 'cased',
      symbol: 'kBONK',
      price: at,
      size: 1,
      ts: formatMicros(BigInt(MINUTE_US + at * 1_000_000)),
    },
    row: {
      provider: 'cased',
      symbol: '1000BONK',
      us: MINUTE_US + at * 1_000_000,
      seq: '0',
      price: at,
      size: 1,
      side: null,
    },
  }));
  const sent = [...numbered, ...byContent, ...plain, ...refused];
  const meter = new TestMeter();
  const told: Record<string, unknown>[] = [];
  const parts = {
    meter,
    env: {
      log: (_level: string, message: string, fields: object) => {
        if (message.startsWith('Trades share a key')) told.push({ ...fields });
      },
    },
  };
  const consumer = await harness.consumer({ ...parts, providers: AT_FIRST });
  const batcher = await harness.batcher({ providers: AT_FIRST, idleTimeoutMs: 500 });
  for (let from = 0; from < sent.length; from += 100) {
    await harness.bus.publish(TOPIC, records(sent.slice(from, from + 100)));
  }
  if (foreign === null) await harness.bus.publish(TOPIC, records(oddities()));
  else
    await foreign(
      harness,
      oddities().map(({ event }) => exactJson({ kind: 'tick', ...event })),
    );
  const [ids, contents, first, rest] = [numbered, byContent, plain, oddities()].map(firsts);
  t.strictSame([ids.same, ids.other, contents.other], [0, 0, 0]);
  t.ok(first.same > 5 && first.other > 20 && contents.same > 5, 'there is something to collide');
  await untilAll(harness, [...ids.rows, ...contents.rows, ...first.rows, ...rest.rows], () =>
    harness.logged.slice(-20).join('\n'),
  );
  const counted = (name: string): number =>
    [...meter.values].filter(([key]) => key.startsWith(name)).reduce((sum, [, value]) => sum + value, 0);
  await until(
    'every collision is counted',
    () => counted('tick_collisions_total') === first.same + first.other,
    {
      context: () => `${counted('tick_collisions_total')} of ${first.same} + ${first.other}`,
    },
  );
  t.ok(told.length > 0 && told.every(({ provider }) => provider === 'plain'), 'only of who sends nothing');
  t.match(told[0]?.['do'], /declare providers: \{ plain: \{ identity: content \} \}/);
  t.equal(counted('events_altered_total{component=tick_consumer,provider=odd,reason=rounded}'), 2);
  t.equal(
    counted('events_altered_total{component=tick_consumer,provider=ids,reason=unknown_side}'),
    numbered.filter(({ row }) => row.side === null).length,
  );
  // out of the inbox, or because a stored name has another partition than the one it came with
  await until(
    'what was forwarded is counted',
    () => harness.sum('bus_forwarded_total') + counted('bus_forwarded_total') > 0,
  );
  const reasons = async (): Promise<Record<string, number>> => {
    const found = new Map(
      (await harness.deadLetters()).map((letter) => [`${letter.topic}|${letter.msgId}`, letter]),
    );
    return Object.fromEntries(
      Object.entries(Object.groupBy(found.values(), ({ reason }) => reason)).map(([reason, all]) => [
        reason,
        all.length,
      ]),
    );
  };
  t.strictSame(await reasons(), { conflict: first.other, bad_symbol: refused.length });
  t.ok(
    (await harness.deadLetters())
      .filter(({ reason }) => reason === 'bad_symbol')
      .every(({ detail }) => detail.includes('"kBONK"')),
  );

  // declared at last, what was refused is stored as it came
  await consumer.stop();
  await batcher.stop();
  await harness.consumer({ ...parts, providers: IN_THE_END });
  await harness.batcher({ providers: IN_THE_END, idleTimeoutMs: 500, consumerName: 'bars-2' });
  const lines: string[] = [];
  for (const reason of ['conflict', 'bad_symbol'])
    t.equal(
      await retryBusDeadLetters(harness.bus, { ids: null, reason, isJson: false }, systemClock, (line) =>
        lines.push(line),
      ),
      null,
    );
  t.equal(lines.length, first.other + refused.length);
  const late = plain.filter(({ row }) => !first.rows.includes(row) && !isSame(first.rows, row));
  const recovered = firsts(
    late.map(({ event, row }) => ({
      event,
      row: { ...row, seq: sha62(`${row.price}|${row.size}|||${row.side ?? ''}`) },
    })),
  );
  await untilAll(
    harness,
    [ids, contents, first, rest, recovered, firsts(refused)].flatMap(({ rows }) => rows),
    () => harness.logged.slice(-20).join('\n'),
  );
}

/** Whether a row of this key has the same content. */
function isSame(rows: readonly Expected[], row: Expected): boolean {
  return rows.some((each) => JSON.stringify(each) === JSON.stringify(row));
}

void test('feeds on the postgres bus', (t) =>
  feeds(t, { kind: 'postgres' }, ({ client }, texts) =>
    client.query('SELECT bus_publish_many($1, $2, $3)', [TOPIC, texts.map(() => null), texts]),
  ));

void test('feeds on redis', { skip: redisMissing() ?? false }, async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.stop());
  await feeds(t, { kind: 'redis', uri: redis.uri }, (_harness, texts) =>
    redis.cliLines(texts.map((text) => `XADD ${TOPIC} * data '${text}'`)),
  );
});

void test('feeds on kafka', { skip: noKafka() }, async (t) => {
  const kafka = await startKafka();
  t.teardown(() => kafka.stop());
  await feeds(t, { kind: 'kafka', uri: `127.0.0.1:${kafka.port}` }, null);
});
