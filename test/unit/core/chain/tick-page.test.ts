import { test } from 'tap';
import { TickPage, type PageBytes } from '../../../../src/core/chain/tick-page.ts';
import {
  addMissing,
  emptyReport,
  addReport,
  FINDINGS_KEPT,
  isSampled,
  verifyPage,
} from '../../../../src/core/chain/verify/page.ts';
import { batchHashOf, vdfInputOf, vdfOutputOf } from '../../../support/chain/content/expected.ts';
import { makeTick, TIME } from './stored.ts';
import { copyOf, int8, numeric, timestamptz } from './copy-of.ts';
import type { StoredTick, StoredTransaction } from '../../../../src/core/chain/verify/verify.ts';

type Row = (Buffer | null)[];

interface Rows {
  ticks: Row[];
  proofs: Row[];
  transactions: Row[];
}

/** Linked ticks first..first + count − 1; the tick with the index i has i % 3 transactions. */
function chain(first: bigint, count: number): StoredTick[] {
  const ticks: StoredTick[] = [];
  let previous = Buffer.alloc(256, 0xa1).toString('hex');
  for (let index = 0; index < count; index++) {
    const { tick } = makeTick(first + BigInt(index), index % 3, 0n);
    const hashes = tick.transactions.map(({ txHash }) => ({ txHash: txHash.toString('latin1') }));
    const input = vdfInputOf(previous, batchHashOf(hashes), tick.tickNumber);
    const output = vdfOutputOf(input, 0n);
    ticks.push({
      ...tick,
      previousOutput: index % 2 === 0 ? Buffer.from(previous) : null,
      input: Buffer.from(input),
      output: Buffer.from(output),
    });
    previous = output;
  }
  return ticks;
}

function rowsOf(ticks: readonly StoredTick[]): Rows {
  return {
    ticks: ticks.map(tickRow),
    proofs: ticks.map((tick) => [int8(tick.tickNumber), tick.input, tick.output, int8(tick.iterations)]),
    transactions: ticks.flatMap((tick) =>
      tick.transactions.map((one) => transactionRow(tick.tickNumber, one)),
    ),
  };
}

function tickRow(tick: StoredTick): Row {
  return [int8(tick.tickNumber), timestamptz(tick.timestamp), tick.batchHash, tick.previousOutput];
}

function transactionRow(number: bigint, one: StoredTransaction): Row {
  const { txId, payload, signature, publicKey, nonce, timestamp } = one.transaction!;
  const isRaw = one.sequenceNumber > 0n; // both forms of an id and of a time
  return [
    int8(number),
    int8(one.sequenceNumber),
    timestamptz(one.tickTimestamp),
    one.txHash,
    isRaw ? null : Buffer.from(txId),
    isRaw ? Buffer.from(txId) : null,
    Buffer.from(payload),
    Buffer.from(signature),
    Buffer.from(publicKey),
    numeric(nonce),
    isRaw ? null : timestamptz(timestamp),
    isRaw ? numeric(timestamp) : null,
  ];
}

function bytesOf({ ticks, proofs, transactions }: Rows): PageBytes {
  return { ticks: copyOf(ticks), proofs: copyOf(proofs), transactions: copyOf(transactions) };
}

function without(list: readonly Row[], number: bigint): Row[] {
  return list.filter(([own]) => own!.readBigInt64BE() !== number);
}

/** Of 20,000 ticks from there on. */
function sampled(from: bigint, share: number): number {
  let count = 0;
  for (let n = from; n < from + 20_000n; n++) if (isSampled(n, { kind: 'sample', share })) count += 1;
  return count / 20_000;
}

function verify(first: bigint, last: bigint, rows: Rows): string[] {
  const page = new TickPage();
  page.load({ first, last }, bytesOf(rows));
  return verifyPage(page, { kind: 'all' }).findings.map(({ tick, kind }) => `${tick} ${kind}`);
}

void test('rows in any order become ticks with what is theirs', async (t) => {
  const ticks = chain(100n, 12);
  const rows = rowsOf(ticks);
  const page = new TickPage();
  const bytes = bytesOf({
    ticks: rows.ticks.slice(1).toReversed(),
    proofs: rows.proofs.toReversed(),
    transactions: rows.transactions.toReversed(),
  });
  page.load({ first: 101n, last: 111n }, bytes);
  t.strictSame(page.missing(), []);
  for (let slot = 0; slot < page.size; slot++) {
    const { transactions, ...tick } = page.tick(slot);
    const { transactions: wanted, ...expected } = ticks[slot + 1];
    t.strictSame(tick, expected);
    t.strictSame(transactions.toReversed(), wanted);
    t.strictSame(page.outputBefore(slot), ticks[slot].output);
  }
  const report = verifyPage(page, { kind: 'all' });
  t.strictSame(report, { ...emptyReport(), ticks: 11, transactions: 12, vdfs: 11 });
  // the same page again, smaller
  page.load({ first: 100n, last: 100n }, bytesOf(rowsOf(ticks.slice(0, 1))));
  t.equal(page.outputBefore(0), null);
  t.equal(page.size, 1);
});

void test('numbers without rows, with some of their rows, with too many', async (t) => {
  const ticks = chain(1n, 9);
  const rows = rowsOf(ticks);
  t.strictSame(verify(1n, 9n, rows), []);
  t.strictSame(verify(1n, 9n, { ...rows, ticks: without(rows.ticks, 2n) }), ['2 missing']);
  t.strictSame(verify(1n, 9n, { ...rows, proofs: without(rows.proofs, 3n) }), ['3 missing', '4 link']);
  t.strictSame(verify(1n, 9n, { ...rows, transactions: without(rows.transactions, 3n) }), ['3 batch_hash']);
  t.strictSame(verify(1n, 9n, { ...rows, ticks: [...rows.ticks, rows.ticks[4]] }), ['5 missing']);
  const onlyTransactions = { ...rows, ticks: without(rows.ticks, 2n), proofs: without(rows.proofs, 2n) };
  t.strictSame(verify(1n, 9n, onlyTransactions), ['2 missing']);

  const page = new TickPage();
  const some = rowsOf([ticks[3], ticks[6]]);
  page.load({ first: 1n, last: 9n }, bytesOf(some));
  t.strictSame(page.missing(), [
    { first: 1n, last: 3n },
    { first: 5n, last: 6n },
    { first: 8n, last: 9n },
  ]);
  t.throws(() => page.load({ first: 2n, last: 3n }, bytesOf(some)), /not of the page/);
});

void test('a transaction whose columns contradict each other has no true hash', async (t) => {
  const [, tick] = chain(1n, 2);
  const rows = rowsOf([tick]);
  const changed = (field: number, value: Buffer | null): string[] => {
    const row = rows.transactions[0].with(field, value);
    return verify(2n, 2n, { ...rows, transactions: [row] }).filter((finding) => !finding.endsWith('link'));
  };
  t.strictSame(changed(6, rows.transactions[0][6]), []);
  t.strictSame(changed(4, null), ['2 tx_hash'], 'no id');
  t.strictSame(changed(5, Buffer.from('x')), ['2 tx_hash'], 'two ids');
  t.strictSame(changed(10, null), ['2 tx_hash'], 'no time');
  t.strictSame(changed(11, numeric(5n)), ['2 tx_hash'], 'two times');
  t.strictSame(changed(10, int8(-(2n ** 63n))), ['2 tx_hash'], '-infinity');
  t.strictSame(changed(9, numeric(2n ** 64n)), ['2 tx_hash'], 'a nonce that is no u64');
  t.strictSame(changed(9, Buffer.from('0000000000000000c000', 'hex').subarray(0, 8)), ['2 tx_hash']);
  t.strictSame(changed(2, timestamptz(TIME + 1n)), ['2 missing']);
});

void test('reports add up, and keep the first findings and the first of each kind', async (t) => {
  const sum = emptyReport();
  for (let page = 9; page >= 0; page--) {
    const report = emptyReport();
    report.ticks = 50;
    const ranges = Array.from({ length: 50 }, (_, i) => ({
      first: BigInt(100 * page + i),
      last: BigInt(100 * page + i),
      cause: 'open_gap' as const,
    }));
    addMissing(report, ranges);
    if (page === 7) {
      report.kinds.link = 1;
      report.findings.push({ tick: 790n, last: 790n, kind: 'link', detail: '' });
    }
    addReport(sum, report);
  }
  t.match(sum, { ticks: 500, kinds: { missing: 500, link: 1 }, missing: { open_gap: 500 } });
  t.equal(sum.findings.length, FINDINGS_KEPT + 1);
  t.strictSame(sum.findings.at(-1)!.tick, 790n);
  t.strictSame(sum.findings[99].tick, 149n);
});

void test('a sample depends on the number alone and has about its share', async (t) => {
  for (const from of [0n, 541_409_765n, 2n ** 53n, 2n ** 63n - 20_000n]) {
    t.ok(Math.abs(sampled(from, 0.1) - 0.1) < 0.01, `from ${from}`);
  }
  t.equal(sampled(0n, 1), 1);
  t.equal(isSampled(5n, { kind: 'all' }), true);
  t.equal(isSampled(5n, { kind: 'off' }), false);
});
