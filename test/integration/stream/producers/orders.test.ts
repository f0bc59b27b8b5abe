import { readFileSync } from 'node:fs';
import { Client } from 'pg';
import { test } from 'tap';
import { PUBLISHER_LIMITS } from '../../../../src/bus/publisher.ts';
import { encodeTick } from '../../../../src/core/chain/encode.ts';
import { parseTickJson } from '../../../../src/core/chain/tick-json.ts';
import type { Tick } from '../../../../src/core/chain/tick.ts';
import { decodeEvent } from '../../../../src/core/market/codec/decode.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import { ChainOrders } from '../../../../src/store/chain/orders.ts';
import { connect, parseDatabaseUrl } from '../../../../src/store/postgres/connect.ts';
import { JobRunTracker } from '../../../../src/store/job-runs.ts';
import { migrate } from '../../../../src/store/schema/migrate.ts';
import { OrdersProducer, type OrdersProducerOptions } from '../../../../src/stream/producers/orders.ts';
import { TestMeter } from '../../../support/bus/meter.ts';
import { sharedPostgres } from '../../../support/servers/postgres.ts';
import { PublishBus } from '../../../support/bus/publish-bus.ts';
import { beginChain, storeFrames } from '../../../support/chain/content/stored-chain.ts';
import { until } from '../../../support/until.ts';
import { realTicks } from '../../../support/chain/content/real-ticks.ts';

const START = 1_755_945_303_178_360n;
const HEX = 'ab'.repeat(32);
const SOL = 'So11111111111111111111111111111111111111112';
const USDC = 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v';

const order = (sequence: bigint): Buffer =>
  Buffer.from(
    `FRM_v1.0:{"type":"order","intent":{"base_mint":"${SOL}","quote_mint":"${USDC}","side":"Buy","price":${sequence}000000000,"quantity":1000000000}}`,
  );

/** A tick whose transactions have these sequence numbers, which are the prices of their orders. */
function tick(number: bigint, sequences: readonly bigint[], payload = order): Tick {
  return {
    tickNumber: number,
    vdfProof: { input: HEX, output: HEX, proof: '01', iterations: 27n },
    transactions: sequences.map((sequenceNumber) => ({
      sequenceNumber,
      txHash: HEX,
      ingestionTimestamp: START,
      transaction: {
        txId: Buffer.from(`tx_${sequenceNumber}`),
        payload: payload(sequenceNumber),
        signature: Buffer.alloc(64),
        publicKey: Buffer.alloc(32),
        nonce: 1n,
        timestamp: START,
      },
    })),
    transactionBatchHash: HEX,
    timestamp: START + number,
    previousOutput: HEX,
  };
}

const frames = (...ticks: Tick[]): { raw: Uint8Array }[] => ticks.map((one) => ({ raw: encodeTick(one) }));

const events = (bus: PublishBus): TickEvent[] =>
  bus.taken.flatMap(({ records }) =>
    records.map(({ data, encoding }) => decodeEvent(data, encoding) as TickEvent),
  );
const sequences = (bus: PublishBus): bigint[] => events(bus).map(({ seq }) => seq);
const cursorTick = async (client: Client): Promise<bigint> => {
  const { rows } = await client.query<{ tick: string }>(
    `SELECT "position"->>'tick' AS tick FROM stage_cursors`,
  );
  return BigInt(rows[0]?.tick ?? 0);
};
const odd = (sequence: bigint): Buffer =>
  [Buffer.alloc(0), Buffer.alloc(100_000, 'x'), Buffer.from('FRM_v1.0:{'), order(4n)][Number(sequence) - 1];

void test('orders of the chain become market events', async (t) => {
  const postgres = await sharedPostgres();
  t.teardown(() => postgres.stop());

  const harness = async (
    options: Partial<OrdersProducerOptions> = {},
  ): Promise<{
    client: Client;
    url: string;
    bus: PublishBus;
    meter: TestMeter;
    stage: (change?: Partial<OrdersProducerOptions>) => OrdersProducer;
  }> => {
    const url = await postgres.createDatabase();
    const client = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    await migrate(client);
    const bus = new PublishBus();
    const meter = new TestMeter();
    const stage = (change: Partial<OrdersProducerOptions> = {}): OrdersProducer =>
      new OrdersProducer({
        chain: new ChainOrders({ dbUri: url, applicationName: 'orders' }),
        bus,
        meter,
        gapWaitMs: 0,
        limits: { ...PUBLISHER_LIMITS, backoff: { firstMs: 1, maxMs: 2 }, drainMs: 200 },
        ...options,
        ...change,
      });
    t.teardown(() => client.end());
    return { client, url, bus, meter, stage };
  };
  await t.test('the three real ticks', { skip: realTicks.skip }, async (t) => {
    const { client, bus, meter, stage } = await harness();
    const real = readFileSync(realTicks.path, 'utf8').trim().split('\n').map(parseTickJson);
    await beginChain(client, real[0].tickNumber);
    let next = real[0].tickNumber;
    for (const one of real) {
      const gaps = one.tickNumber > next ? [{ first: next, last: one.tickNumber - 1n }] : [];
      await storeFrames(client, one.tickNumber, frames(one), { gaps });
      next = one.tickNumber + 1n;
    }
    const producer = stage({ jobRuns: new JobRunTracker((work) => work(client)) });
    await producer.start();
    await until('the cursor is behind the last tick', async () => (await cursorTick(client)) === next);
    await producer.stop();
    t.strictSame(
      events(bus).map(({ symbol, price, size, side, eventId }) => [symbol, price, size, side, eventId]),
      [
        ['SOL-USDC', 113, 46.400472862, -1, 'continuum|SOL-USDC|2025-08-23T10:35:03.178360Z|44941'],
        ['SOL-USDC', 110, 25.50128361, 1, 'continuum|SOL-USDC|2025-08-23T10:35:05.266188Z|44942'],
        ['SOL-USDC', 122, 40.128850103, 1, 'continuum|SOL-USDC|2025-08-23T10:35:06.273971Z|44943'],
      ],
    );
    t.equal(meter.values.get('orders_read_total{kind=order}'), 3);
    t.equal(meter.values.get('orders_read_total{kind=other_protocol}'), 0, 'known series exist at 0');
    t.equal(
      meter.values.get('stream_events_ingested_total{bus=redis,topic=mdp.events,provider=continuum}'),
      3,
    );
    const { rows } = await client.query('SELECT job_name, provider, status, rows_written FROM job_runs');
    t.strictSame(rows, [
      { job_name: 'produce', provider: 'continuum', status: 'success', rows_written: '3' },
    ]);

    const again = stage();
    await again.start();
    await storeFrames(client, 541_409_770n, frames(tick(541_409_770n, [44_941_500n])), { fills: true });
    await until('what is filled later is published', () => bus.taken.length === 4);
    t.equal(events(bus)[3].price, 44_941_500, 'and nothing else again');
    await again.stop();
  });

  await t.test('never beyond the position, in order, whatever the pages', async (t) => {
    const { client, bus, stage } = await harness();
    await beginChain(client, 100n);
    const producer = stage();
    await producer.start();
    // one tick of 2,500 transactions, empty ticks, and ticks of a few: several pages, some ending inside a tick
    const large = Array.from({ length: 2500 }, (_, at) => BigInt(at) + 1n);
    await storeFrames(client, 100n, frames(tick(100n, []), tick(101n, large), tick(102n, [])));
    const few = Array.from({ length: 900 }, (_, at) => BigInt(at));
    // beyond a hole that nobody has recorded yet
    await storeFrames(
      client,
      104n,
      frames(...few.map((at) => tick(104n + at, [10_000n + 2n * at, 10_001n + 2n * at]))),
    );
    await until('what is below the hole', async () => (await cursorTick(client)) === 103n);
    t.strictSame(sequences(bus), large);
    await storeFrames(client, 103n, frames(tick(103n, [5000n])));
    await until('the rest', async () => (await cursorTick(client)) === 1004n);
    t.strictSame(sequences(bus), [
      ...large,
      5000n,
      ...Array.from({ length: 1800 }, (_, at) => 10_000n + BigInt(at)),
    ]);
    await producer.stop();
  });

  await t.test('it waits at an open gap, and goes on in order when that is filled in time', async (t) => {
    const { client, bus, stage } = await harness({ gapWaitMs: 3_600_000 });
    await beginChain(client, 1n);
    await storeFrames(client, 1n, frames(tick(1n, [1n])));
    await storeFrames(client, 4n, frames(tick(4n, [4n])), { gaps: [{ first: 2n, last: 3n }] });
    const producer = stage();
    await producer.start();
    await until('what is below the gap', async () => (await cursorTick(client)) === 2n);
    await storeFrames(client, 2n, frames(tick(2n, [2n])), { fills: true });
    await until('its first part', async () => (await cursorTick(client)) === 3n);
    t.strictSame(sequences(bus), [1n, 2n]);
    await storeFrames(client, 3n, frames(tick(3n, [3n])), { fills: true });
    await until('the rest', async () => (await cursorTick(client)) === 5n);
    t.strictSame(sequences(bus), [1n, 2n, 3n, 4n]);
    await producer.stop();
  });

  await t.test('a gap that is passed is published when it is filled, also across restarts', async (t) => {
    const { client, bus, stage } = await harness();
    await beginChain(client, 1n);
    await storeFrames(client, 1n, frames(tick(1n, [1n])));
    await storeFrames(client, 10n, frames(tick(10n, [10n])), { gaps: [{ first: 2n, last: 9n }] });
    await client.query("UPDATE ingest_gaps SET state = 'unfillable'");
    const first = stage();
    await first.start();
    await until('it is passed', async () => (await cursorTick(client)) === 11n);
    await first.stop();
    await storeFrames(client, 5n, frames(tick(5n, [5n]), tick(6n, []), tick(7n, [7n])), { fills: true });
    const second = stage();
    await second.start();
    await until('the filled ones', () => sequences(bus).length === 4);
    t.strictSame(sequences(bus), [1n, 10n, 5n, 7n]);
    const passed = async (): Promise<unknown> =>
      (await client.query(`SELECT "position"->'passed' AS passed FROM stage_cursors`)).rows[0].passed;
    await until('the rest is still looked for', async () => {
      const left = JSON.stringify(await passed());
      return left === '[["2","4"],["8","9"]]';
    });
    await second.stop();
  });

  await t.test('a dead letter that is stored later is published then', async (t) => {
    const { client, bus, stage } = await harness();
    await beginChain(client, 1n);
    const bad = { ...tick(2n, [2n]), transactionBatchHash: 'no hash' };
    await storeFrames(client, 1n, frames(tick(1n, [1n]), bad, tick(3n, [3n])));
    const producer = stage();
    await producer.start();
    await until('its neighbours', async () => (await cursorTick(client)) === 4n);
    t.strictSame(sequences(bus), [1n, 3n]);
    await client.query('BEGIN');
    await client.query(`INSERT INTO vdf_proofs VALUES (2, '${HEX}', '${HEX}', '01', 27)`);
    await client.query(
      `INSERT INTO tick_transactions (tx_hash, tx_id, tick_number, sequence_number, payload, signature, public_key, nonce, tick_timestamp, ingestion_timestamp)
       VALUES ($1, 'x', 2, 2, $2, '', '', 0, now(), now())`,
      [HEX, order(2n)],
    );
    await client.query("UPDATE dead_letters SET status = 'resolved'");
    await client.query('COMMIT');
    await until('the one that was put aside', () => sequences(bus).length === 3);
    t.strictSame(sequences(bus), [1n, 3n, 2n]);
    await producer.stop();
  });

  await t.test('payloads that are no orders are counted and left alone', async (t) => {
    const { client, bus, meter, stage } = await harness();
    await beginChain(client, 1n);
    await storeFrames(client, 1n, frames(tick(1n, [1n, 2n, 3n, 4n], odd)));
    const producer = stage();
    await producer.start();
    await until('the tick', async () => (await cursorTick(client)) === 2n);
    t.strictSame(sequences(bus), [4n]);
    for (const kind of ['other_protocol', 'too_large', 'not_json', 'order']) {
      t.equal(meter.values.get(`orders_read_total{kind=${kind}}`), 1, kind);
    }
    await producer.stop();
  });

  await t.test('the cursor moves only behind what the bus has', async (t) => {
    const { client, bus, stage } = await harness();
    await beginChain(client, 1n);
    await storeFrames(
      client,
      1n,
      frames(...Array.from({ length: 50 }, (_, at) => tick(BigInt(at) + 1n, [BigInt(at) + 1n]))),
    );
    bus.verdict = () => 'unreachable';
    const first = stage();
    await first.start();
    await bus.attempted(5);
    await first.stop();
    t.equal(await cursorTick(client), 0n);
    bus.verdict = () => null;
    const second = stage();
    await second.start();
    await until('all of them', async () => (await cursorTick(client)) === 51n);
    await second.stop();
    t.equal(new Set(sequences(bus)).size, 50);
  });

  await t.test('one publishes, the other one stands by and takes over', async (t) => {
    const { client, bus, stage } = await harness();
    await beginChain(client, 1n);
    const logs: string[] = [];
    const first = stage();
    await first.start();
    await storeFrames(client, 1n, frames(tick(1n, [1n])));
    await until('the first one works', async () => (await cursorTick(client)) === 2n);
    const second = stage({ env: { log: (_, message) => logs.push(message) } });
    await second.start();
    await until('the second one stands by', () => logs.some((line) => /stands by/.test(line)));
    await first.stop();
    await storeFrames(client, 2n, frames(tick(2n, [2n])));
    await until('the second one works', async () => (await cursorTick(client)) === 3n);
    t.strictSame(sequences(bus), [1n, 2n], 'nothing twice');
    await second.stop();
  });

  await t.test('whoever has lost the lease writes no cursor and stands by until it is free', async (t) => {
    const { client, bus, stage } = await harness();
    await beginChain(client, 1n);
    const logs: string[] = [];
    const producer = stage({ env: { log: (_, message) => logs.push(message) } });
    await producer.start();
    await storeFrames(client, 1n, frames(tick(1n, [1n])));
    await until('it works', async () => (await cursorTick(client)) === 2n);
    // as another one does after a while in which this process stood still
    await client.query(
      "UPDATE stage_leases SET holder = 'another', expires_at = clock_timestamp() + interval '3 seconds'",
    );
    await storeFrames(client, 2n, frames(tick(2n, [2n])));
    await until('it stands by', () => logs.some((line) => /stands by/.test(line)));
    t.equal(await cursorTick(client), 2n);
    await until('it goes on', async () => (await cursorTick(client)) === 3n);
    t.equal(sequences(bus).at(-1), 2n);
    await producer.stop();
    const { rows } = await client.query('SELECT expires_at <= clock_timestamp() AS free FROM stage_leases');
    t.strictSame(rows, [{ free: true }], 'and gives it back');
  });

  await t.test('a database that restarts is waited for', async (t) => {
    const { client, url, bus, stage } = await harness();
    await beginChain(client, 1n);
    await storeFrames(client, 1n, frames(tick(1n, [1n])));
    const producer = stage();
    await producer.start();
    await until('the first tick', async () => (await cursorTick(client)) === 2n);
    const { rows } = await client.query<{ ended: boolean }>(
      "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity WHERE application_name = 'orders' AND datname = current_database()",
    );
    t.strictSame(rows, [{ ended: true }]);
    const other = await connect(parseDatabaseUrl(url), { applicationName: 'test' });
    await storeFrames(other, 2n, frames(tick(2n, [2n])));
    await until('it goes on', async () => (await cursorTick(other)) === 3n);
    t.strictSame(sequences(bus), [1n, 2n]);
    await producer.stop();
    await other.end();
  });
});
