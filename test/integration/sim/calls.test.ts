import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { connect } from 'node:http2';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { once } from 'node:events';
import { status } from '@grpc/grpc-js';
import { test, type Test } from 'tap';
import { startSim, type RunningSim } from '../../support/chain/sim.ts';
import { collect, SequencerClient } from './client.ts';
import { oracleChain, OPTIONS, type OracleTick } from './oracle.ts';
import { realTicks } from '../../support/chain/content/real-ticks.ts';

const FIXED = ['--start-time', '2025-08-23T10:00:00Z', '--vdf', 'fast'];

async function start(t: Test, ...args: string[]): Promise<{ sim: RunningSim; client: SequencerClient }> {
  const sim = await startSim(args);
  const client = new SequencerClient(sim.address);
  t.teardown(async () => {
    client.close();
    await sim.stop();
  });
  return { sim, client };
}

void test('start_tick 0 is the latest tick, and a start above the head waits for it', async (t) => {
  const chain = oracleChain({ ...OPTIONS, ticksPerSecond: 2000n }, 4000);
  const { sim, client } = await start(t, ...FIXED, '--head', '300', '--rate', '2000', '--limit', '4000');
  const [latest, above] = await Promise.all([client.take(0n, 1), client.take(3900n, 101)]);
  const number = Number(latest.ticks[0].tick_number);
  t.ok(number >= 300, 'the head, not the first tick');
  t.strictSame(latest.ticks[0], chain[number - 1]);
  t.strictSame(above.ticks, chain.slice(3899));
  t.equal((await client.getStatus()).current_tick, '4000', 'the limit is the last tick');
  t.ok((await client.getStatus()).transactions_per_second > 0);
  t.equal((await client.getTick(4001n)).found, false);
  t.strictSame((await client.take(0n, 1)).ticks, chain.slice(-1));
  await sim.logged((event) => event.event === 'end' && event.id === 3);
  const started = sim.log().filter((event) => event.event === 'stream');
  t.strictSame(
    started.map((event) => Number(event.start_tick)).sort((a, b) => a - b),
    [0, 0, 3900],
  );
  t.match(started[0], { peer: /^127\.0\.0\.1:\d+$/ });
});

void test('beyond the last tick a stream stays open and silent', async (t) => {
  const { sim, client } = await start(t, ...FIXED, '--head', '10');
  const call = client.open(9n);
  const ticks: OracleTick[] = [];
  let over = false;
  call.on('data', (tick: OracleTick) => ticks.push(tick));
  call.on('error', () => (over = true));
  call.on('end', () => (over = true));
  await once(call, 'data');
  // another whole stream passes by meanwhile
  await client.take(1n, 10);
  t.equal(over, false);
  t.strictSame(
    ticks.map((tick) => tick.tick_number),
    ['9', '10'],
  );
  call.cancel();
  t.match(await sim.logged((event) => event.event === 'end' && event.id === 1), {
    sent: 2,
    first: '9',
    last: '10',
    status: 'CANCELLED',
  });
});

void test('GetTick, GetStatus and GetChainState', async (t) => {
  const { client } = await start(t, ...FIXED, '--head', '1000', '--first', '541409765');
  const chain = oracleChain({ ...OPTIONS, first: 541_409_765n }, 1000);
  t.strictSame(await client.getTick(541_409_900n), { tick: chain[135], found: true });
  for (const absent of [0n, 1n, 541_409_764n, 541_410_765n, 2n ** 64n - 1n]) {
    t.strictSame(await client.getTick(absent), { tick: null, found: false });
  }
  const transactions = chain.flatMap((tick) => tick.transactions).length;
  t.match(await client.getStatus(), {
    current_tick: '541410764',
    total_transactions: String(transactions),
    pending_transactions: '0',
    transactions_per_second: 0,
  });
  const recent = chain.slice(-40);
  const state = await client.getChainState(40);
  t.equal(state.chain_height, '541410764');
  t.equal(state.total_transactions, String(transactions));
  t.strictSame(state.recent_ticks, recent);
  const sample = recent.flatMap((tick) =>
    tick.transactions.map(({ tx_hash }) => [tx_hash, tick.tick_number]),
  );
  t.ok(sample.length > 0);
  t.strictSame(state.tx_to_tick_sample, Object.fromEntries(sample));
  t.equal((await client.getChainState(0)).recent_ticks.length, 10, 'some without a limit');
});

void test('an empty chain', async (t) => {
  const { client } = await start(
    t,
    ...FIXED,
    '--head',
    '0',
    '--rate',
    '1000',
    '--first',
    '7',
    '--limit',
    '6',
  );
  t.match(await client.getStatus(), { current_tick: '0', total_transactions: '0' });
  t.strictSame((await client.getChainState(5)).recent_ticks, []);
  t.equal((await client.getTick(7n)).found, false);
  t.equal((await client.take(6n, 1)).code, status.OUT_OF_RANGE);
});

void test('history: what is too old is OUT_OF_RANGE and not found', async (t) => {
  const { sim, client } = await start(t, ...FIXED, '--head', '1000', '--history', '100');
  const tooOld = await client.take(900n, 1);
  t.equal(tooOld.code, status.OUT_OF_RANGE);
  t.match(tooOld.details, /the oldest is 901/);
  t.equal((await client.take(901n, 100)).ticks.length, 100);
  t.equal((await client.getTick(900n)).found, false);
  t.equal((await client.getTick(901n)).found, true);
  t.equal((await client.getChainState(1000)).recent_ticks.length, 100);
  t.match(await sim.logged((event) => event.event === 'end'), {
    status: 'OUT_OF_RANGE',
    sent: 0,
    first: null,
  });
});

void test('history: a stream that falls behind ends', async (t) => {
  const { client } = await start(
    t,
    ...FIXED,
    '--head',
    '1',
    '--history',
    '100000',
    '--rate',
    '100000',
    '--txs',
    '2',
  );
  const call = client.open(1n);
  const [first] = (await once(call, 'data')) as [OracleTick];
  call.pause();
  const rest = collect(call, Infinity);
  call.pause(); // a listener for data sets it going
  let head = 0;
  while (head < 250_000) head = Number((await client.getStatus()).current_tick);
  call.resume();
  const { items, code, details } = await rest;
  t.equal(code, status.OUT_OF_RANGE);
  t.match(details, /^tick \d+ is no longer served; the oldest is \d+$/);
  t.ok(items.length > 0);
  t.strictSame(
    [first, ...items].map((tick) => Number(tick.tick_number)),
    Array.from({ length: items.length + 1 }, (_, i) => i + 1),
    'in order up to there',
  );
});

void test('clients do not disturb each other, and one that does not read is not buffered for', async (t) => {
  const { sim } = await start(t, ...FIXED, '--head', '20000', '--txs', '2');
  // node:http2, because grpc-js buffers without bound until its first read
  const session = connect(`http://${sim.address}`);
  const slow = session.request({
    ':method': 'POST',
    ':path': '/continuum.sequencer.v1.SequencerService/StreamTicks',
    'content-type': 'application/grpc',
  });
  slow.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]));
  await sim.logged((event) => event.event === 'stream');
  const other = new SequencerClient(sim.address);
  t.teardown(() => other.close());
  const [one, two] = await Promise.all([other.take(1n, 20_000), other.take(10_001n, 10_000)]);
  t.equal(one.ticks.length, 20_000);
  t.strictSame(two.ticks, one.ticks.slice(10_000));
  t.strictSame(one.ticks.slice(0, 300), oracleChain({ ...OPTIONS, txs: 2 }, 300));
  slow.close(8); // CANCEL
  session.close();
  const end = await sim.logged((event) => event.event === 'end' && event.id === 1);
  t.equal(end.sent, 512, 'the one that did not read was given one chunk');
});

void test('the same seed and start give the same bytes; ahead and lazily alike', async (t) => {
  const { client: lazy } = await start(t, ...FIXED, '--head', '2000', '--seed', '99');
  const { client: ahead } = await start(t, ...FIXED, '--head', '2000', '--seed', '99', '--ahead', '1500');
  const { client: different } = await start(t, ...FIXED, '--head', '2000', '--seed', '100');
  const frames = await Promise.all([lazy, ahead, different].map((client) => client.takeRaw(1n, 2000)));
  t.strictSame(frames[1].frames, frames[0].frames);
  t.notSame(frames[2].frames[0], frames[0].frames[0]);
});

void test('without --start-time the head is now', async (t) => {
  const before = Date.now();
  const { client } = await start(t, '--vdf', 'fast', '--head', '5000');
  const { tick } = await client.getTick(5000n);
  const headMs = Number(tick!.timestamp) / 1000;
  t.ok(headMs >= before - 2000 && headMs <= Date.now(), 'within the second it is rounded by');
});

void test('replay of the real ticks, field by field', { skip: realTicks.skip }, async (t) => {
  const { client } = await start(t, '--replay', realTicks.path);
  const lines = readFileSync(realTicks.path, 'utf8').trim().split('\n');
  const expected = lines.map((line) => {
    const tick = JSON.parse(line) as OracleTick;
    for (const { transaction } of tick.transactions) {
      transaction.tx_id = Buffer.from(String(transaction.tx_id));
      for (const name of ['payload', 'signature', 'public_key'] as const) {
        transaction[name] = Buffer.from(String(transaction[name]), 'base64');
      }
    }
    return tick;
  });
  t.same((await client.take(541_409_765n, 3)).ticks, expected);
  t.same((await client.take(541_409_766n, 2)).ticks, expected.slice(1), 'from the next number that there is');
  t.same((await client.take(0n, 1)).ticks, expected.slice(2));
  t.same(await client.getTick(541_418_778n), { tick: expected[1], found: true });
  t.equal((await client.getTick(541_418_779n)).found, false);
  t.match(await client.getStatus(), { current_tick: '541421155', total_transactions: '3' });
  t.equal((await client.take(5n, 1)).code, status.OUT_OF_RANGE);
});

void test('replay of a file: head, rate, faults and bad lines', async (t) => {
  const folder = t.testdir({
    'ticks.jsonl': jsonLines(oracleChain(OPTIONS, 1500)),
    'bad.jsonl': '{}\n\n{"nonce":1}\n',
  });
  const { client } = await start(
    t,
    '--replay',
    join(folder, 'ticks.jsonl'),
    '--head',
    '1100',
    '--rate',
    '2000',
    '--fault',
    'gap:9',
  );
  const { ticks } = await client.take(1n, 1500 - 166);
  t.strictSame(
    ticks,
    oracleChain(OPTIONS, 1500).filter((tick) => Number(tick.tick_number) % 9 !== 0),
  );
  await t.rejects(
    startSim(['--replay', join(folder, 'bad.jsonl')]),
    /bad\.jsonl:3: nonce: a field that the proto does not/,
  );
  await t.rejects(startSim(['--replay', join(folder, 'none.jsonl')]), /no such file/);
});

void test('SIGTERM ends open streams with UNAVAILABLE and the process with 0', async (t) => {
  const sim = await startSim([...FIXED, '--head', '10']);
  const client = new SequencerClient(sim.address);
  const open = client.take(1n, 11);
  await sim.logged((event) => event.event === 'stream');
  const [code, stream] = await Promise.all([sim.stop(), open]);
  t.equal(code, 0);
  t.equal(stream.code, status.UNAVAILABLE);
  client.close();
});

void test('--exit-after-ms ends by itself with 0', async (t) => {
  const sim = await startSim([...FIXED, '--exit-after-ms', '1']);
  t.equal(await sim.exited, 0);
  await sim.stop();
});

void test('mistakes end with 1 and one line that names them', async (t) => {
  const mistakes: [string[], RegExp][] = [
    [['--fault', 'hiccup:3'], /unknown fault "hiccup:3"/],
    [['--head', 'many'], /'--head <ticks>' argument 'many' is invalid/],
    [['--start-time', '1999-01-01'], /not between 2002 and 2199/],
    [['--listen', '50051'], /not host:port/],
    [['--replay', 'x', '--fault', 'fork:5'], /need a generated chain/],
    [['--fault', 'fork:5', '--fault', 'fork:6'], /forks once only/],
    [['--cache-bytes', '1GB'], /not a size/],
    [['--first', '18446744073709551616'], /between 0 and 2\^64-1/],
    [['--listen', '192.0.2.1:1'], /EADDRNOTAVAIL/],
  ];
  for (const [args, message] of mistakes) {
    await t.rejects(startSim(args), { message: new RegExp(`ended with 1: [^\\n]*${message.source}`) });
  }
});

void test('what is no call of this service is refused', async (t) => {
  const { sim } = await start(t, ...FIXED);
  const session = connect(`http://${sim.address}`);
  t.teardown(() => session.close());
  const service = '/continuum.sequencer.v1.SequencerService';
  const ask = async (headers: Record<string, string>, body: Buffer): Promise<Record<string, unknown>> => {
    const stream = session.request({ ':method': 'POST', 'content-type': 'application/grpc', ...headers });
    stream.on('error', () => {});
    let trailers = {};
    stream.on('trailers', (received) => (trailers = received));
    stream.end(body);
    const [response] = (await once(stream, 'response')) as [Record<string, unknown>];
    stream.resume();
    await once(stream, 'close');
    return { ...response, ...trailers };
  };
  const empty = Buffer.alloc(5);
  t.match(await ask({ ':path': `${service}/GetStatus` }, empty), { ':status': 200, 'grpc-status': '0' });
  t.match(await ask({ ':path': `${service}/SubmitBatch` }, empty), { 'grpc-status': '12' });
  t.match(await ask({ ':path': `${service}/GetStatus`, 'content-type': 'text/plain' }, empty), {
    ':status': 415,
  });
  t.match(await ask({ ':path': `${service}/GetTick` }, Buffer.from([0, 0, 0, 0, 9, 8])), {
    'grpc-status': '13',
  });
  t.match(await ask({ ':path': `${service}/GetTick` }, Buffer.from([1, 0, 0, 0, 0])), {
    'grpc-status': '12',
  });
  t.match(await ask({ ':path': `${service}/GetTick` }, Buffer.from([0, 0, 0, 0, 1, 8])), {
    'grpc-status': '13',
  });
  t.match(await ask({ ':path': `${service}/GetTick` }, Buffer.alloc(70_000)), { 'grpc-status': '8' });
});

void test(
  'the launcher starts it from any folder and through a link',
  { skip: absent('dist/sim/main.js') },
  async (t) => {
    const folder = t.testdir();
    const link = join(folder, 'sim');
    symlinkSync(fileURLToPath(new URL('../../../bin/sequencer-sim', import.meta.url)), link);
    const help = spawnSync(link, ['--help'], { cwd: folder, encoding: 'utf8' });
    t.equal(help.status, 0);
    for (const option of [
      '--listen',
      '--seed',
      '--first',
      '--head',
      '--rate',
      '--txs',
      '--history',
      '--vdf',
      '--fault',
    ]) {
      t.match(help.stdout, option);
    }
    const sim = await startSim([...FIXED, '--head', '50'], { from: 'dist' });
    const client = new SequencerClient(sim.address);
    t.strictSame((await client.take(1n, 50)).ticks, oracleChain(OPTIONS, 50));
    client.close();
    t.equal(await sim.stop(), 0);
  },
);

/** A reason to skip, or false. */
function absent(path: string): string | false {
  return existsSync(path) ? false : `${path} is not here`;
}

/** As anybody would write a tick in proto3-JSON. */
function jsonLines(ticks: readonly OracleTick[]): string {
  const lines = ticks.map((tick) => {
    const transactions = tick.transactions.map(({ transaction, ...ordered }) => ({
      ...ordered,
      transaction: {
        ...transaction,
        tx_id: transaction.tx_id.toString(),
        payload: transaction.payload.toString('base64'),
        signature: transaction.signature.toString('base64'),
        public_key: transaction.public_key.toString('base64'),
      },
    }));
    return JSON.stringify({ ...tick, transactions });
  });
  return `${lines.join('\n')}\n`;
}
