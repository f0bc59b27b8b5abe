import { test } from 'tap';
import { MALFORMED_FORMS, parseFault } from '../../../src/sim/fault.ts';
import { FaultPlan } from '../../../src/sim/fault-plan.ts';
import { StallGate } from '../../../src/sim/server/stall-gate.ts';
import type { TickSource } from '../../../src/sim/source/source.ts';

void test('faults are read from their texts', async (t) => {
  t.strictSame(parseFault('cut:100'), { kind: 'cut', every: 100n });
  t.strictSame(parseFault('gap-forever:7'), { kind: 'gap-forever', every: 7n });
  t.strictSame(parseFault('malformed:5'), { kind: 'malformed', every: 5n, form: null });
  t.strictSame(parseFault('malformed-forever:5:tx-hash'), {
    kind: 'malformed-forever',
    every: 5n,
    form: 'tx-hash',
  });
  t.strictSame(parseFault('copy-before:5:nul'), { kind: 'copy-before', every: 5n, form: 'nul' });
  t.strictSame(parseFault('get-bad:7:3'), { kind: 'get-bad', every: 7n, times: 3 });
  t.strictSame(parseFault('fork:541409765'), { kind: 'fork', at: 541_409_765n, back: 100 });
  t.strictSame(parseFault('fork:500:20'), { kind: 'fork', at: 500n, back: 20 });
  t.strictSame(parseFault('stall:9223372036854775807:1'), { kind: 'stall', at: 2n ** 63n - 1n, ms: 1 });
  t.strictSame(parseFault('hole:5:9'), { kind: 'hole', first: 5n, last: 9n });
  t.strictSame(parseFault('late:5:300'), { kind: 'late', every: 5n, by: 300n });
  t.strictSame(parseFault('get-slow:20'), { kind: 'get-slow', ms: 20 });
  t.strictSame(parseFault('get-fail:7'), { kind: 'get-fail', every: 7n, times: 1e9 });
  t.strictSame(parseFault('get-other:7:2'), { kind: 'get-other', every: 7n, times: 2 });
  t.strictSame(parseFault('oversize:10:70000000'), { kind: 'oversize', every: 10n, bytes: 70_000_000 });
});

void test('texts that are no faults are refused with a reason', async (t) => {
  const bad: [string, RegExp][] = [
    ['', /unknown fault ""/],
    ['cut', /takes 1 values/],
    ['cut:1:2', /takes 1 values/],
    ['cut:0', /"0" is no whole number above 0/],
    ['cut:-5', /no whole number/],
    ['cut:1e3', /no whole number/],
    ['gap:', /no whole number/],
    ['malformed:5:nonsense', /the form is one of truncated, /],
    ['malformed:5:truncated:1', /takes 1 or 2 values/],
    ['fork:5:1', /1 is not between 2 and/],
    ['stall:5', /takes 2 values/],
    ['stall:5:99999999999', /not between 1 and 86400000/],
    ['oversize:5:1000000000', /not between 1 and 536870912/],
    ['toString:5', /unknown fault/],
  ];
  for (const [text, message] of bad) t.throws(() => parseFault(text), { name: 'RangeError', message }, text);
});

void test('a plan says what hits a tick, by its number alone', async (t) => {
  const faults = [
    'gap:4',
    'duplicate:6',
    'swap:6',
    'rewrite:10',
    'malformed:9',
    'malformed-forever:25:number',
    'gap-forever:8',
    'copy-before:11',
    'copy-after:22:nul',
  ];
  const plan = new FaultPlan(faults.map(parseFault));
  const none = {
    gap: null,
    late: null,
    swap: false,
    malformed: null,
    copyBefore: null,
    copyAfter: null,
    untrue: null,
    duplicate: false,
    rewrite: false,
  };
  t.equal(plan.at(1n, 1n), null);
  t.strictSame(plan.at(4n, 1n), { ...none, gap: 'gap' });
  t.strictSame(plan.at(6n, 1n), { ...none, duplicate: true, swap: true });
  t.strictSame(plan.at(25n, 1n), { ...none, malformed: 'number' });
  t.strictSame(plan.at(10n, 1n), { ...none, rewrite: true });
  t.strictSame(plan.at(11n, 1n), { ...none, copyBefore: MALFORMED_FORMS[1] });
  t.match(plan.at(22n, 1n), { copyBefore: MALFORMED_FORMS[2], copyAfter: 'nul' });
  t.equal(plan.lost(8n), true);
  t.equal(plan.lost(4n), false);
  t.equal(plan.malformedForever(9n), null);
  t.equal(plan.malformedForever(25n), 'number');
  for (let i = 1; i <= 20; i++) {
    if ((9 * i) % 25 !== 0)
      t.equal(plan.at(BigInt(9 * i), 1n)?.malformed, MALFORMED_FORMS[i % MALFORMED_FORMS.length]);
  }
  t.equal(plan.at(2n ** 64n - 16n, 1n)?.gap, 'gap-forever', 'far numbers, too');
});

void test('holes and late ticks depend on where a stream began', async (t) => {
  const plan = new FaultPlan(['hole:100:199', 'late:50:7'].map(parseFault));
  t.equal(plan.hitsTicks, true);
  t.equal(plan.at(99n, 1n), null);
  t.equal(plan.at(120n, 1n)?.gap, 'hole');
  t.equal(plan.at(120n, 100n), null, 'it is there for a stream that begins in the hole');
  t.equal(plan.at(50n, 1n)?.gap, 'late');
  t.equal(plan.at(57n, 1n)?.late, 50n);
  t.equal(plan.at(57n, 51n), null, 'nothing comes late that was before the stream');
});

void test('a plan without faults at single ticks says so', async (t) => {
  const plan = new FaultPlan(['cut:70', 'cut:50', 'stall:5:6', 'fork:10:4', 'oversize:3:10'].map(parseFault));
  t.equal(plan.hitsTicks, false);
  t.equal(plan.cutEvery, 50);
  t.strictSame(plan.fork, { kind: 'fork', at: 10n, back: 4 });
  t.equal(new FaultPlan([]).cutEvery, Infinity);
  t.equal(new FaultPlan([parseFault('swap:1000000')]).hitsTicks, true);
});

void test('stalls: one for the first that gets there, or for all until its end', async (t) => {
  let nowMs = 0;
  const source = { indexFrom: (number: bigint) => Number(number) } as TickSource;
  const plan = new FaultPlan(['stall:5:100', 'stall-all:10:1000'].map(parseFault));
  const gate = new StallGate(plan.stalls, source, () => nowMs);
  t.equal(gate.enter(4), null);
  t.equal(gate.nextAfter(4), 5);
  t.equal(gate.nextAfter(5), 10);
  t.equal(gate.nextAfter(10), Infinity);
  t.strictSame(gate.enter(5), { kind: 'stall', ms: 100 });
  t.equal(gate.enter(5), null, 'the next one passes');
  t.strictSame(gate.enter(10), { kind: 'stall-all', ms: 1000 });
  nowMs = 300;
  t.strictSame(gate.enter(12), { kind: 'stall-all', ms: 700 });
  t.equal(gate.enter(9), null);
  nowMs = 1000;
  t.equal(gate.enter(12), null);
  t.equal(gate.enter(10), null);
});
