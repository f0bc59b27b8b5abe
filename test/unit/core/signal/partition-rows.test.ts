import fc from 'fast-check';
import { test } from 'tap';
import { featureSet } from '../../../../src/core/feature/catalogue.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import { PartitionRows, type SymbolState } from '../../../../src/core/signal/partition-rows.ts';
import type { FeatureRow } from '../../../../src/core/signal/signal.ts';
import type { RowTimes } from '../../../../src/core/signal/symbol-rows.ts';

const SET = featureSet({
  gridMs: 1_000,
  priceBin: null,
  windows: [
    { name: 'vwap_5s', horizonMs: 5_000 },
    { name: 'vol_4s', horizonMs: 4_000 },
  ],
});
const START_US = 1_700_000_000_000_000;

function rulesOf(times: RowTimes): ConstructorParameters<typeof PartitionRows>[0] {
  return { set: SET, times, allowLateMs: 500, idleTimeoutMs: 5_000 };
}

interface Entry {
  event: TickEvent;
  takenMs: number;
}

function tick(symbol: string, us: number, seq: number, price: number, size: number | null = 1): TickEvent {
  return {
    kind: 'tick',
    provider: 'p',
    symbol,
    srcTs: BigInt(START_US + us),
    ingestTs: null,
    seq: BigInt(seq),
    origin: 'live',
    replayRunId: null,
    eventId: '',
    price,
    size,
    bid: price - 1,
    ask: seq % 3 === 0 ? null : price + 1,
    side: seq % 2 === 0 ? 1 : -1,
  };
}

/** Entries as a bus has them: times mostly rise, some are late, some come again, and now and then nothing comes for a while. */
const entries: fc.Arbitrary<Entry[]> = fc
  .array(
    fc.record({
      symbol: fc.constantFrom('A', 'B'),
      stepUs: fc.oneof(
        { weight: 6, arbitrary: fc.integer({ min: 0, max: 700_000 }) },
        { weight: 1, arbitrary: fc.integer({ min: 5_000_000, max: 20_000_000 }) },
      ),
      backUs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 900_000 })),
      price: fc.double({ min: 50, max: 150, noNaN: true }),
      size: fc.option(fc.integer({ min: 0, max: 10 }), { nil: null }),
      isRepeated: fc.boolean(),
    }),
    { minLength: 1, maxLength: 120 },
  )
  .map((steps) => {
    let us = 0;
    const made: Entry[] = [];
    for (const [seq, { symbol, stepUs, backUs, price, size, isRepeated }] of steps.entries()) {
      us += stepUs;
      const takenMs = Math.floor((START_US + us) / 1000);
      const event = tick(symbol, Math.max(0, us - backUs), seq, price, size);
      made.push({ event, takenMs });
      if (isRepeated && seq % 5 === 0) made.push({ event, takenMs });
    }
    return made;
  });

function shown(row: FeatureRow): string {
  return JSON.stringify([row.provider, row.symbol, row.tsUs, row.price, row.isQuoted, [...row.values]]);
}

function take(rows: PartitionRows, some: readonly Entry[]): string[] {
  const out: string[] = [];
  for (const { event, takenMs } of some) {
    rows.take(event, takenMs);
    rows.closeIdle(0);
    out.push(...rows.takeRows().map(shown));
  }
  return out;
}

/** The states of all symbols, as they come together over several checkpoints. */
class Stored {
  readonly states = new Map<string, SymbolState>();

  add(rows: PartitionRows): void {
    for (const state of rows.takeStates())
      this.states.set(state.symbol, { ...state, facts: rows.facts(state) });
  }
}

for (const times of ['ticks', 2_000] as const) {
  void test(`a restart from any checkpoint changes nothing: looks at ${times}`, (t) => {
    fc.assert(
      fc.property(entries, fc.nat(), fc.nat(), (all, first, second) => {
        const whole = take(new PartitionRows(rulesOf(times), []), all);
        const [one, two] = [first % (all.length + 1), second % (all.length + 1)].sort((a, b) => a - b);
        const stored = new Stored();
        const rows = new PartitionRows(rulesOf(times), []);
        const before = take(rows, all.slice(0, one));
        stored.add(rows);
        before.push(...take(rows, all.slice(one, two)));
        stored.add(rows);
        // what is taken behind the checkpoint is lost, and taken again
        take(rows, all.slice(two));
        const after = take(new PartitionRows(rulesOf(times), stored.states.values()), all.slice(two));
        t.strictSame([...before, ...after], whole);
      }),
      { numRuns: 60 },
    );
    t.end();
  });
}

void test('looks do not depend on the order in which ticks within the allowed lateness come', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 499_000 }), { minLength: 2, maxLength: 40 }),
      fc.nat(),
      (offsets, swap) => {
        const ticks = offsets.map((us, seq) => tick('A', us, seq, 100 + (seq % 7)));
        const last = tick('A', 60_000_000, 1_000, 101);
        const at = swap % ticks.length;
        const swapped = [...ticks.slice(at), ...ticks.slice(0, at)];
        const looks = (some: TickEvent[]): string[] =>
          take(
            new PartitionRows(rulesOf('ticks'), []),
            [...some, last].map((event) => ({ event, takenMs: START_US / 1000 })),
          );
        t.strictSame(looks(swapped), looks(ticks));
      },
    ),
    { numRuns: 50 },
  );
  t.end();
});

void test('what came too late is told once, and a repetition is none', (t) => {
  const rows = new PartitionRows(rulesOf('ticks'), []);
  const take = (event: TickEvent): string => rows.take(event, START_US / 1000);
  t.equal(take(tick('A', 1_000_000, 1, 100)), 'applied');
  t.equal(take(tick('A', 1_000_000, 1, 100)), 'known', 'while it waits');
  t.equal(take(tick('A', 3_000_000, 2, 100)), 'applied');
  t.equal(take(tick('A', 1_000_000, 1, 100)), 'known', 'when it was applied');
  t.equal(take(tick('A', 2_000_000, 3, 100)), 'late');
  t.strictSame(rows.takeLate(), [
    { provider: 'p', symbol: 'A', tsUs: START_US + 2_000_000, seq: 3n, unsureSinceMs: null },
  ]);
  t.strictSame(rows.takeLate(), []);
  t.end();
});

void test('a batch that is sent again is known, however long ago its ticks took part', (t) => {
  const rows = new PartitionRows(rulesOf('ticks'), []);
  const ticks = Array.from({ length: 200 }, (_, seq) => tick('A', seq * 120_000_000, seq, 100));
  for (const each of ticks) rows.take(each, START_US / 1000);
  rows.closeIdle(5_000);
  const again = (some: PartitionRows): Set<string> =>
    new Set(ticks.map((each) => some.take(each, START_US / 1000)));
  t.strictSame(again(rows), new Set(['known']));
  const stored = new Stored();
  stored.add(rows);
  t.strictSame(
    again(new PartitionRows(rulesOf('ticks'), stored.states.values())),
    new Set(['known']),
    'also after a restart',
  );
  t.end();
});

void test('a window is looked at once, at its end, and only where it had ticks', (t) => {
  const rows = new PartitionRows(rulesOf(2_000), []);
  for (const [us, seq] of [
    [100_000, 1],
    [1_999_999, 2],
    [2_000_000, 3],
    [9_000_000, 4],
  ])
    rows.take(tick('A', us, seq, 100 + seq), START_US / 1000);
  t.strictSame(
    rows.takeRows().map(({ tsUs, price }) => [(tsUs - START_US) / 1e6, price]),
    [
      [2, 102],
      [4, 103],
    ],
  );
  rows.closeIdle(4_999);
  t.equal(rows.takeRows().length, 0);
  rows.closeIdle(5_000);
  t.strictSame(
    rows.takeRows().map(({ tsUs }) => (tsUs - START_US) / 1e6),
    [10],
    'of a symbol that fell silent',
  );
  t.equal(
    rows.take(tick('A', 9_500_000, 5, 100), START_US / 1000),
    'late',
    'nothing comes into a window that was looked at',
  );
  t.end();
});

void test('of a late tick that is older than what is remembered it is not known whether it took part', (t) => {
  const rows = new PartitionRows(rulesOf('ticks'), []);
  rows.take(tick('A', 1_000_000, 1, 100), START_US / 1000);
  for (let seq = 2; seq < 600; seq += 1)
    rows.take(tick('A', 1_000_000 * seq, seq, 100), START_US / 1000 + seq);
  rows.take(tick('A', 1_000_000, 1, 100), START_US / 1000 + 600);
  t.strictSame(rows.takeLate(), [
    { provider: 'p', symbol: 'A', tsUs: START_US + 1_000_000, seq: 1n, unsureSinceMs: START_US / 1000 + 600 },
  ]);
  t.end();
});

void test('a symbol that was silent for too long is settled before its next tick, however entries are read', (t) => {
  for (const times of ['ticks', 2_000] as const) {
    const outcomes = [true, false].map((isEach) => {
      const rows = new PartitionRows(rulesOf(times), []);
      const taken = [
        [100_000, 1, 0],
        [600_000, 2, 1],
        // of another symbol: it does not count as heard of the first
        [700_000, 3, 4_900],
        // behind the allowed lateness's watermark, and yet too late: 600_000 was used when it had been silent for 5 s
        [400_000, 4, 5_001],
        [9_000_000, 5, 5_002],
      ].map(([us, seq, ms]) => {
        const symbol = seq === 3 ? 'B' : 'A';
        const outcome = rows.take(tick(symbol, us, seq, 100 + seq), START_US / 1000 + ms);
        if (isEach) rows.closeIdle(0);
        return outcome;
      });
      return [
        taken,
        rows
          .takeRows()
          .map(shown)
          .filter((row) => row.includes('"A"')),
        rows.takeLate(),
      ];
    });
    t.strictSame(outcomes[0], outcomes[1], `looks at ${times}`);
    t.strictSame(outcomes[1][0], ['applied', 'applied', 'applied', 'late', 'applied']);
  }
  t.end();
});

/** Looks of a symbol that begins with what is stored; `restart`: before which event. */
function primedLooks(known: readonly TickEvent[], come: readonly TickEvent[], restart: number): string[] {
  let rows = new PartitionRows(rulesOf('ticks'), []);
  const key = { runId: 0n, provider: 'p', symbol: 'A' };
  const primed = known.map((each) => ({ ...each, tsUs: Number(each.srcTs) }));
  rows.prime(key, primed, START_US + 9_500_000);
  const looks: string[] = [];
  for (const [at, event] of come.entries()) {
    if (at === restart) {
      const states = rows.takeStates().map((state) => ({ ...state, facts: [] }));
      rows = new PartitionRows(rulesOf('ticks'), states);
    }
    rows.take(event, START_US / 1000);
    looks.push(...rows.takeRows().map(shown));
  }
  return looks;
}

void test('stored ticks that may still come are used in their order, and looked at only when they come', (t) => {
  const times = [9_000_000, 9_600_000, 9_800_000, 10_200_000];
  const stored = times.map((us, seq) => tick('A', us, seq, 100 + seq));
  const events = [
    tick('A', 10_000_000, 7, 200),
    tick('A', 9_800_000, 2, 102),
    tick('A', 12_100_000, 8, 201),
    tick('A', 20_000_000, 9, 202),
  ];
  // as if all had come as events
  const whole = primedLooks(stored.slice(0, 1), [events[0], ...stored.slice(1), ...events.slice(2)], -1);
  const seen = whole.filter((row) => !row.includes('9600000') && !row.includes('10200000'));
  t.equal(whole.length - seen.length, 2);
  for (let restart = -1; restart < events.length; restart += 1)
    t.strictSame(primedLooks(stored, events, restart), seen, `restart before event ${restart}`);
  t.end();
});

void test('a clock that stands still does not fill the memory', (t) => {
  const rows = new PartitionRows(rulesOf('ticks'), []);
  for (let seq = 0; seq < 70_000; seq += 1) rows.take(tick('A', 0, seq, 100), START_US / 1000);
  t.equal(rows.rowCount, 1, 'ticks of one time are applied together');
  t.end();
});
