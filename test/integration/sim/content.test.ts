import { test, type Test } from 'tap';
import { startSim } from '../../support/chain/sim.ts';
import { SequencerClient } from './client.ts';
import { oracleChain, OPTIONS, type OracleOptions } from './oracle.ts';

const START = '2025-08-23T10:00:00Z';

/** Starts a simulator that has to serve the oracle's chain, and hands over a client. */
async function withSim(
  t: Test,
  args: string[],
  use: (client: SequencerClient) => Promise<void>,
): Promise<void> {
  const sim = await startSim(['--start-time', START, ...args]);
  const client = new SequencerClient(sim.address);
  t.teardown(async () => {
    client.close();
    await sim.stop();
  });
  await use(client);
}

void test('every tick streamed is the one that separate plain code computes', async (t) => {
  const cases: { name: string; args: string[]; options: Partial<OracleOptions>; count: number }[] = [
    { name: 'real VDF, mixed', args: ['--seed', '7'], options: { seed: 7, vdf: 'real' }, count: 600 },
    {
      name: 'two transactions, number of the real chain',
      args: ['--vdf', 'fast', '--txs', '2', '--first', '541409765', '--seed', '4294967295'],
      options: { txs: 2, first: 541_409_765n, seed: 4_294_967_295 },
      count: 1500,
    },
    {
      name: 'numbers across 2^53',
      args: ['--vdf', 'fast', '--first', String(2n ** 53n - 20n)],
      options: { first: 2n ** 53n - 20n },
      count: 600,
    },
    {
      name: 'numbers across 2^63, hostile',
      args: ['--vdf', 'fast', '--first', String(2n ** 63n - 300n), '--hostile', '--txs', '3'],
      options: { first: 2n ** 63n - 300n, hostile: true, txs: 3 },
      count: 700,
    },
    {
      name: 'across 2^32, small payloads are opaque, timestamps by rate',
      args: [
        '--vdf',
        'fast',
        '--first',
        String(2n ** 32n - 5n),
        '--txs',
        '1',
        '--payload-bytes',
        '33',
        '--rate',
        '3000',
      ],
      options: { first: 2n ** 32n - 5n, txs: 1, payloadBytes: 33, ticksPerSecond: 3000n },
      count: 100,
    },
    {
      name: 'number 0, no payload, the most transactions',
      args: ['--vdf', 'fast', '--first', '0', '--txs', '1024', '--payload-bytes', '0'],
      options: { first: 0n, txs: 1024, payloadBytes: 0 },
      count: 5,
    },
  ];
  for (const { name, args, options, count } of cases) {
    await t.test(name, (t) =>
      withSim(t, ['--head', String(count), ...args], async (client) => {
        const expected = oracleChain({ ...OPTIONS, ...options }, count);
        // start_tick 0 would mean the latest
        const start = expected[0].tick_number === '0' ? 1 : 0;
        const { ticks } = await client.take(BigInt(expected[start].tick_number), count - start);
        t.equal(ticks.length, count - start);
        t.strictSame(ticks, expected.slice(start));
        const first = await client.getTick(BigInt(expected[0].tick_number));
        t.strictSame(first, { tick: expected[0], found: true });
      }),
    );
  }
});

void test('every kind of payload and of hostile transaction occurs', async (t) => {
  await withSim(t, ['--head', '2000', '--txs', '2', '--vdf', 'fast', '--hostile'], async (client) => {
    const { ticks } = await client.take(1n, 2000);
    const transactions = ticks.flatMap((tick) => tick.transactions.map(({ transaction }) => transaction));
    const payloads = transactions.map(({ payload }) => payload.toString('latin1'));
    const orders = payloads.filter((payload) => payload.startsWith('FRM_v1.0:'));
    t.ok(orders.length > 3600, 'mostly orders');
    const prices = new Set(
      orders.map((order) => (JSON.parse(order.slice(9)) as { intent: { price: number } }).intent.price),
    );
    t.ok(prices.size > 10, 'at many prices');
    t.ok(Math.min(...prices) > 140e9 && Math.max(...prices) < 170e9, 'believable ones, with 9 decimals');
    t.ok(payloads.includes(''), 'empty ones');
    t.ok(
      payloads.some((payload) => payload.startsWith('MEMO')),
      'texts that are no orders',
    );
    t.ok(
      payloads.some((payload) => /[^\x20-\x7e]/.test(payload)),
      'binary ones',
    );
    const ids = transactions.map(({ tx_id }) => tx_id);
    t.ok(
      ids.some((id) => id.includes(0)),
      'a tx_id with NUL',
    );
    t.ok(
      ids.some((id) => !isUtf8(id)),
      'a tx_id that is no UTF-8',
    );
    t.ok(
      ids.some((id) => isUtf8(id) && /[^\0-\x7e]/.test(id.toString())),
      'a tx_id beyond ASCII',
    );
    t.ok(
      transactions.some(({ nonce }) => BigInt(nonce) >= 2n ** 63n),
      'a nonce above 2^63',
    );
    t.ok(
      transactions.some(({ timestamp }) => BigInt(timestamp) >= 2n ** 63n),
      'a time beyond timestamptz',
    );
  });
});

void test('chunks that were dropped from memory are made again, the same', async (t) => {
  // 20 chunks of some 700 KB each, room for one
  const args = ['--head', '10240', '--txs', '0', '--vdf', 'fast', '--cache-bytes', '1MiB'];
  await withSim(t, args, async (client) => {
    const once = await client.take(1n, 10_240);
    const again = await client.take(1n, 10_240);
    t.strictSame(once.ticks, oracleChain({ ...OPTIONS, txs: 0 }, 10_240));
    t.strictSame(again.ticks, once.ticks);
    const behind = await client.getTick(700n);
    t.strictSame(behind.tick, once.ticks[699]);
  });
});

void test('the last number of all is served', async (t) => {
  const first = 2n ** 64n - 3n;
  await withSim(t, ['--first', String(first), '--head', '1000', '--vdf', 'fast'], async (client) => {
    const { ticks } = await client.take(first, 3);
    t.strictSame(ticks, oracleChain({ ...OPTIONS, first }, 3));
    t.equal((await client.getStatus()).current_tick, String(2n ** 64n - 1n));
  });
});

function isUtf8(bytes: Buffer): boolean {
  return Buffer.from(bytes.toString('utf8'), 'utf8').equals(bytes);
}
