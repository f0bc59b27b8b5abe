import { test } from 'tap';
import type {
  ChainCheckMode,
  TranscodeLimits,
  TranscodeResult,
} from '../../../../src/core/copy/transcode.ts';
import { chainSpec, expectedTicks, type ExpectedTick } from '../../../support/chain/content/expected.ts';
import { wireTick } from '../../../support/chain/content/wire.ts';
import { createSpan, LIMITS } from './frames.ts';
import { read } from './harness.ts';

const ALL = [...expectedTicks(chainSpec({ seed: 5, first: 98n, txs: 2, vdf: 'real' }), 4)];
const limits: TranscodeLimits = { ...LIMITS, nowMicros: ALL[3].timestamp };

function check(ticks: readonly ExpectedTick[], mode: ChainCheckMode, previous?: string): TranscodeResult {
  const span = createSpan(ticks[0].tickNumber, ticks.map(wireTick));
  const previousOutput = previous === undefined ? null : Buffer.from(previous, 'latin1');
  return read(span, { ...limits, check: mode, previousOutput }).result;
}

/** The ticks with one of them changed, by its place. */
function changed(at: number, change: (tick: ExpectedTick) => Partial<ExpectedTick>): ExpectedTick[] {
  return ALL.map((tick, place) => (place === at ? { ...tick, ...change(tick) } : tick));
}

const flipped = (digits: string): string => `${digits.slice(0, -1)}${digits.endsWith('0') ? '1' : '0'}`;
const found = ({ alarms }: TranscodeResult): string[] =>
  alarms.map(({ tickNumber, kind }) => `${tickNumber} ${kind}`);

void test('a true chain raises no alarm, in either case of its digits, in any order of its transactions', async (t) => {
  const upper = changed(1, (tick) => ({
    previousOutput: tick.previousOutput.toUpperCase(),
    batchHash: tick.batchHash.toUpperCase(),
    input: tick.input.toUpperCase(),
    transactions: tick.transactions
      .map((transaction) => ({ ...transaction, txHash: transaction.txHash.toUpperCase() }))
      .toReversed(),
  }));
  for (const ticks of [ALL, upper]) {
    for (const mode of ['off', 'link', 'full'] as const) t.strictSame(check(ticks, mode).alarms, []);
  }
});

void test('what is false is named by its cause, once for a tick and kind', async (t) => {
  const [first, second] = ALL[2].transactions;
  const cases: [string, Partial<ExpectedTick>, string[]][] = [
    ['a tx_hash', { transactions: [first, { ...second, txHash: flipped(second.txHash) }] }, ['100 tx_hash']],
    [
      'both of them',
      { transactions: [first, second].map((one) => ({ ...one, txHash: flipped(one.txHash) })) },
      ['100 tx_hash'],
    ],
    ['a payload', { transactions: [{ ...first, payload: Buffer.from('x') }, second] }, ['100 tx_hash']],
    ['a nonce', { transactions: [{ ...first, nonce: first.nonce + 1n }, second] }, ['100 tx_hash']],
    ['a missing transaction', { transactions: [first] }, ['100 batch_hash']],
    ['the batch hash', { batchHash: flipped(ALL[2].batchHash) }, ['100 batch_hash']],
    ['the input', { input: flipped(ALL[2].input) }, ['100 vdf_input']],
    ['the link', { previousOutput: flipped(ALL[2].previousOutput) }, ['100 link']],
    ['no previous output', { previousOutput: '' }, ['100 link']],
    ['the output, sampled here', { output: flipped(ALL[2].output) }, ['100 vdf_output', '101 link']],
    ['the iterations', { iterations: 26n }, ['100 vdf_output']],
    ['too many iterations to be sampled', { iterations: 2000n }, []],
  ];
  for (const [what, change, expected] of cases) {
    const result = check(
      changed(2, () => change),
      'full',
      ALL[0].previousOutput,
    );
    t.strictSame(found(result), expected, what);
    t.equal(result.ticks, 4, 'nothing is dropped');
    t.equal(result.linkBreaks, expected.filter((alarm) => alarm.endsWith('link')).length);
    for (const { detail } of result.alarms) t.match(detail, /^[\x20-\x7e]{20,200}$/);
  }
});

void test('another output than those of the sample is left to verify', async (t) => {
  const ticks = changed(3, (tick) => ({ output: flipped(tick.output) }));
  t.strictSame(found(check(ticks, 'full')), []);
});

void test('link compares links alone, off nothing', async (t) => {
  const ticks = changed(2, (tick) => ({
    previousOutput: flipped(tick.previousOutput),
    batchHash: flipped(tick.batchHash),
  }));
  t.strictSame(found(check(ticks, 'link')), ['100 link']);
  t.strictSame(found(check(ticks, 'off')), []);
});

void test('the first tick against the output of the one before', async (t) => {
  const before = ALL[0].previousOutput;
  t.equal(check(ALL, 'link').boundary, 'unknown');
  t.equal(check(ALL, 'link', before).boundary, 'holds');
  t.equal(check(ALL, 'link', before.toUpperCase()).boundary, 'holds');
  t.equal(check(ALL, 'link', flipped(before)).boundary, 'broken');
  t.equal(check(ALL, 'link', before.slice(2)).boundary, 'broken');
  t.equal(check(ALL, 'off', flipped(before)).boundary, 'none');
  const bad = changed(0, () => ({ proof: 'z' }));
  t.equal(check(bad, 'link', before).boundary, 'none', 'it has no row');
  const relinked = changed(0, (tick) => ({ previousOutput: flipped(tick.previousOutput) }));
  t.strictSame(found(check(relinked, 'full', before)), [], 'its input follows from the true one');
  t.strictSame(found(check(relinked, 'full')), ['98 vdf_input']);
});
