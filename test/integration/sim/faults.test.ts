import { createHash } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { test, type Test } from 'tap';
import { startSim, type RunningSim } from '../../support/chain/sim.ts';
import { decodeMessage, SequencerClient } from './client.ts';
import { oracleChain, OPTIONS, type OracleTick } from './oracle.ts';

const CHAIN = oracleChain(OPTIONS, 1200);

interface Started {
  sim: RunningSim;
  client: SequencerClient;
}

async function start(t: Test, ...args: string[]): Promise<Started> {
  const sim = await startSim([
    '--start-time',
    '2025-08-23T10:00:00Z',
    '--vdf',
    'fast',
    '--head',
    '1200',
    ...args,
  ]);
  const client = new SequencerClient(sim.address);
  t.teardown(async () => {
    client.close();
    await sim.stop();
  });
  return { sim, client };
}

function numbers(ticks: readonly OracleTick[]): number[] {
  return ticks.map((tick) => Number(tick.tick_number));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function faulted(sim: RunningSim, kind: string): number[] {
  return sim
    .log()
    .flatMap((event) => (event.event === 'fault' && event.kind === kind ? [Number(event.tick)] : []));
}

void test('cut: every stream ends with UNAVAILABLE after N ticks', async (t) => {
  const { sim, client } = await start(t, '--fault', 'cut:250');
  const first = await client.take(1n, 2000);
  t.equal(first.code, status.UNAVAILABLE);
  t.strictSame(first.ticks, CHAIN.slice(0, 250));
  const second = await client.take(251n, 2000);
  t.equal(second.code, status.UNAVAILABLE);
  t.strictSame(second.ticks, CHAIN.slice(250, 500));
  await sim.logged((event) => event.event === 'end' && event.first === '251' && event.last === '500');
  t.strictSame(faulted(sim, 'cut'), [250, 500]);
});

void test('duplicate: every N-th tick comes twice', async (t) => {
  const { sim, client } = await start(t, '--fault', 'duplicate:7');
  const { ticks } = await client.take(1n, 1200);
  const expected = range(1, 1201)
    .flatMap((n) => (n % 7 === 0 ? [n, n] : [n]))
    .slice(0, 1200);
  t.strictSame(numbers(ticks), expected);
  t.strictSame(ticks[7], ticks[6]);
  await sim.logged((event) => event.kind === 'duplicate' && event.tick === '700');
});

void test('gap: left out of the stream, and GetTick has it', async (t) => {
  const { sim, client } = await start(t, '--fault', 'gap:100');
  const { ticks } = await client.take(1n, 1188);
  t.strictSame(
    ticks,
    CHAIN.filter((_, i) => (i + 1) % 100 !== 0),
  );
  t.strictSame(await client.getTick(300n), { tick: CHAIN[299], found: true });
  t.strictSame(faulted(sim, 'gap').slice(0, 3), [100, 200, 300]);
  const asked = await sim.logged((event) => event.event === 'get_tick');
  t.match(asked, { tick: '300', found: true });
});

void test('gap-forever: GetTick does not have it either', async (t) => {
  const { client } = await start(t, '--fault', 'gap-forever:100');
  t.strictSame(numbers((await client.take(99n, 3)).ticks), [99, 101, 102]);
  t.strictSame(await client.getTick(100n), { tick: null, found: false });
  t.strictSame(await client.getTick(101n), { tick: CHAIN[100], found: true });
});

void test('swap: every N-th tick comes after the next one', async (t) => {
  const { client } = await start(t, '--fault', 'swap:64');
  const { ticks } = await client.take(1n, 1200);
  const expected = range(1, 1201);
  for (let n = 64; n < 1200; n += 64) [expected[n - 1], expected[n]] = [n + 1, n];
  t.strictSame(numbers(ticks), expected);
  t.strictSame(
    [...ticks].sort((a, b) => Number(a.tick_number) - Number(b.tick_number)),
    CHAIN,
  );
  t.strictSame(numbers((await client.take(65n, 3)).ticks), [65, 66, 67], 'a start in between');
});

void test('swap waits for the tick it is swapped with, and leaves the last one alone', async (t) => {
  const { client } = await start(t, '--fault', 'swap:1', '--rate', '20000', '--limit', '2201');
  const { ticks } = await client.take(1n, 2201);
  const expected = range(1, 2201).map((n) => (n % 2 === 1 ? n + 1 : n - 1));
  t.strictSame(numbers(ticks), [...expected, 2201]);
});

void test('rewrite: an older number comes again with other content, true to the formulas', async (t) => {
  const { sim, client } = await start(t, '--fault', 'rewrite:500');
  const { ticks } = await client.take(1n, 1202);
  const again = ticks.splice(500, 1)[0];
  t.equal(again.tick_number, '495');
  t.equal(ticks.splice(1000, 1)[0].tick_number, '995');
  t.strictSame(ticks, CHAIN);
  t.notSame(again, CHAIN[494]);
  t.equal(again.previous_output, CHAIN[494].previous_output);
  checkHashes(t, again);
  t.match(await sim.logged((event) => event.kind === 'rewrite'), { tick: '500', old: '495' });
});

void test('fork: another chain from below, on open streams, in GetTick and in GetStatus', async (t) => {
  const { sim, client } = await start(t, '--fault', 'fork:1001:400');
  const { ticks } = await client.take(1n, 1200);
  const other = oracleChain({ ...OPTIONS, forkIndex: 600 }, 800);
  t.strictSame(ticks.slice(0, 1000), CHAIN.slice(0, 1000));
  t.strictSame(ticks.slice(1000), other.slice(600));
  t.notSame(other[600], CHAIN[600]);
  t.equal(other[600].previous_output, CHAIN[599].vdf_proof.output, 'it hangs on what both have');
  t.equal((await client.getStatus()).current_tick, '800', 'below where the stream was');
  t.strictSame((await client.getTick(700n)).tick, other[699]);
  t.strictSame((await client.getTick(600n)).tick, CHAIN[599]);
  t.equal((await client.getTick(900n)).found, false);
  t.strictSame((await client.take(590n, 211)).ticks, other.slice(589));
  t.match(await sim.logged((event) => event.kind === 'fork'), { tick: '1001', from: '601' });
});

void test('stall: that stream is silent, another one is not', async (t) => {
  const { sim, client } = await start(t, '--fault', 'stall:300:86400000');
  const silent = client.open(1n);
  const before: OracleTick[] = [];
  silent.on('data', (tick: OracleTick) => before.push(tick));
  silent.on('error', () => {});
  await sim.logged((event) => event.kind === 'stall');
  const { ticks } = await client.take(300n, 901);
  t.strictSame(ticks, CHAIN.slice(299));
  t.strictSame(before, CHAIN.slice(0, 299));
  t.equal((await client.getStatus()).current_tick, '1200');
  silent.cancel();
  t.match(await sim.logged((event) => event.event === 'end' && event.id === 1), {
    sent: 299,
    status: 'CANCELLED',
  });
});

void test('stall-all: silent for everybody, then it goes on', async (t) => {
  const { sim, client } = await start(t, '--fault', 'stall-all:300:400');
  const both = await Promise.all([client.take(1n, 1200), client.take(1n, 1200)]);
  for (const { ticks } of both) t.strictSame(ticks, CHAIN);
  const stalls = sim.log().filter((event) => event.kind === 'stall-all');
  t.equal(stalls.length, 2);
  t.strictSame(
    stalls.map((event) => event.tick),
    ['300', '300'],
  );
});

void test('oversize: a large payload in the stream and in GetTick, hashed like any other', async (t) => {
  const { client } = await start(t, '--fault', 'oversize:600:5000000');
  const expected = oracleChain({ ...OPTIONS, oversize: { every: 600n, bytes: 5_000_000 } }, 602);
  const { ticks } = await client.take(598n, 5);
  t.strictSame(ticks, expected.slice(597));
  t.equal(ticks[2].transactions[0].transaction.payload.length, 5_000_000);
  t.strictSame((await client.getTick(600n)).tick, expected[599]);
  const transactions = oracleChain({ ...OPTIONS, oversize: { every: 600n, bytes: 1 } }, 1200);
  t.equal(
    (await client.getStatus()).total_transactions,
    String(transactions.flatMap((tick) => tick.transactions).length),
  );
});

const BAD: Readonly<Record<string, (t: Test, frame: Buffer) => void>> = {
  truncated: (t, frame) => t.throws(() => decodeMessage(frame)),
  'wire-type': (t, frame) => t.throws(() => decodeMessage(frame)),
  'batch-hash': (t, frame) => t.notMatch(decodeMessage(frame).transaction_batch_hash, /^[0-9a-f]{64}$/),
  'tx-hash': (t, frame) => t.not(decodeMessage(frame).transactions[0].tx_hash.length, 64),
  timestamp: (t, frame) => t.ok(Number(decodeMessage(frame).timestamp) > 8e15),
  number: (t, frame) => t.ok(BigInt(decodeMessage(frame).tick_number) >= 2n ** 63n),
  iterations: (t, frame) => t.ok(BigInt(decodeMessage(frame).vdf_proof.iterations) >= 2n ** 63n),
  sequence: (t, frame) => {
    const sequences = decodeMessage(frame).transactions.map((transaction) => transaction.sequence_number);
    t.ok(new Set(sequences).size < sequences.length);
  },
  'previous-output': (t, frame) => t.notMatch(decodeMessage(frame).previous_output, /^[0-9a-f]*$/),
  nul: (t, frame) => t.match(decodeMessage(frame).transaction_batch_hash, /^0{63}\0$/),
};

void test('malformed: each form in turn in the stream, and GetTick has the good tick', async (t) => {
  const { sim, client } = await start(t, '--fault', 'malformed:100');
  const { frames } = await client.takeRaw(1n, 1200);
  const forms = Object.keys(BAD);
  for (const [index, frame] of frames.entries()) {
    const number = index + 1;
    if (number % 100 === 0) BAD[forms[(number / 100) % forms.length]](t, frame);
    else if (number % 97 === 0) t.strictSame(decodeMessage(frame), CHAIN[index]);
  }
  for (let number = 100; number <= 1200; number += 100) {
    t.strictSame((await client.getTick(BigInt(number))).tick, CHAIN[number - 1]);
  }
  await sim.logged((event) => event.event === 'end');
  t.strictSame(
    faulted(sim, 'malformed'),
    range(1, 13).map((n) => n * 100),
  );
  const again = await client.takeRaw(100n, 1);
  t.strictSame(again.frames[0], frames[99], 'the same bytes when it is asked for again');
});

void test('malformed with a form of its own, and malformed-forever in GetTick, too', async (t) => {
  const primes = [101, 103, 107, 109, 113, 127, 131, 137, 139, 149];
  const faults = Object.keys(BAD).map((form, i) => `malformed-forever:${primes[i]}:${form}`);
  const { client } = await start(t, ...faults.flatMap((fault) => ['--fault', fault]));
  const { frames } = await client.takeRaw(1n, 150);
  for (const [i, form] of Object.keys(BAD).entries()) {
    await t.test(form, async (t) => {
      const number = primes[i];
      t.strictSame(decodeMessage(frames[number - 2]), CHAIN[number - 2]);
      BAD[form](t, frames[number - 1]);
      const answer = client.getTick(BigInt(number));
      if (form === 'truncated' || form === 'wire-type') await t.rejects(answer, { code: status.INTERNAL });
      else t.notSame((await answer).tick, CHAIN[number - 1]);
    });
  }
});

void test('bad copies come right before or behind the tick, and GetTick may have some first', async (t) => {
  const { client } = await start(
    t,
    '--fault',
    'copy-before:10:nul',
    '--fault',
    'copy-after:15:tx-hash',
    '--fault',
    'get-bad:10:2',
  );
  const { frames } = await client.takeRaw(1n, 36);
  const expected = range(1, 31).flatMap((n) => [
    ...(n % 10 === 0 ? (['nul'] as const) : []),
    CHAIN[n - 1],
    ...(n % 15 === 0 ? (['tx-hash'] as const) : []),
  ]);
  t.equal(expected.length, 35);
  for (const [index, one] of expected.entries()) {
    if (typeof one === 'string') BAD[one](t, frames[index]);
    else t.strictSame(decodeMessage(frames[index]), one);
  }
  for (const isGood of [false, false, true])
    t.equal(
      (await client.getTick(20n)).tick?.transaction_batch_hash === CHAIN[19].transaction_batch_hash,
      isGood,
    );
});

void test('several faults at once', async (t) => {
  const { client } = await start(
    t,
    '--fault',
    'duplicate:10',
    '--fault',
    'gap:15',
    '--fault',
    'cut:40',
    '--fault',
    'swap:10',
  );
  const { ticks, code } = await client.take(1n, 100);
  t.equal(code, status.UNAVAILABLE);
  const expected = range(1, 41).flatMap((n) => {
    if (n % 15 === 0) return [];
    if (n % 10 === 0) return [n + 1, n, n];
    return n % 10 === 1 && n > 1 && (n - 1) % 15 !== 0 ? [] : [n];
  });
  t.strictSame(numbers(ticks), expected);
  t.equal(ticks.length, 42, 'the cut does not part what one fault sends');
});

/** Recomputes what the hashes of a tick have to be. */
function checkHashes(t: Test, tick: OracleTick): void {
  const hashes = tick.transactions.map(({ transaction, tx_hash }) => {
    const hash = createHash('sha256')
      .update(transaction.tx_id)
      .update(transaction.payload)
      .update(transaction.signature)
      .update(transaction.public_key)
      .update(be64(transaction.nonce))
      .update(be64(transaction.timestamp))
      .digest();
    t.equal(tx_hash, hash.toString('hex'));
    return hash;
  });
  const batch = createHash('sha256').update(Buffer.concat(hashes)).digest();
  t.equal(tick.transaction_batch_hash, batch.toString('hex'));
  const input = createHash('sha256')
    .update(Buffer.from(tick.previous_output, 'hex'))
    .update(batch)
    .update(be64(tick.tick_number))
    .digest();
  t.equal(tick.vdf_proof.input, input.toString('hex'));
  const seed = BigInt(`0x${createHash('sha256').update(input).digest('hex')}`) | 1n;
  t.equal(tick.vdf_proof.output, seed.toString(16).padStart(512, '0'));
}

function be64(value: string): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}
