import fc from 'fast-check';
import { test } from 'tap';
import { featureSet } from '../../../../src/core/feature/catalogue.ts';
import type { TickEvent } from '../../../../src/core/market/event.ts';
import {
  PartitionRows,
  tookPart,
  type LateTick,
  type SymbolState,
} from '../../../../src/core/signal/partition-rows.ts';
import type { FeatureRow } from '../../../../src/core/signal/signal.ts';
import type { RowTimes } from '../../../../src/core/signal/symbol-rows.ts';
import type { KeyBlock } from '../../../../src/core/signal/taken-keys.ts';

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

function keyOf({ symbol, tsUs, seq }: Omit<LateTick, 'provider'>): string {
  return `${symbol}|${tsUs}|${seq}`;
}

/** The states of all symbols, as they come together over several checkpoints. */
class Stored {
  readonly states = new Map<string, SymbolState>();
  readonly #blocks: { symbol: string; block: KeyBlock }[] = [];
  readonly late = new Set<string>();

  add(rows: PartitionRows): void {
    for (const state of rows.takeStates()) {
      this.states.set(state.symbol, { ...state, facts: rows.facts(state) });
      for (const block of state.blocks ?? []) this.#blocks.push({ symbol: state.symbol, block });
    }
    for (const tick of rows.takeLate()) this.late.add(keyOf(tick));
  }

  /** As the stage does it behind each read. */
  judge(rows: PartitionRows): void {
    for (const tick of rows.takeUnsure()) {
      const found = this.#blocks.find(
        ({ symbol, block }) => symbol === tick.symbol && block.lastUs >= tick.tsUs,
      );
      if (!tookPart(tick, { isPrimed: false, block: found?.block.keys ?? null })) rows.addLate(tick);
    }
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
  t.strictSame(rows.takeLate(), [{ provider: 'p', symbol: 'A', tsUs: START_US + 2_000_000, seq: 3n }]);
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

void test('of a late tick that is older than what is here it is to be looked up whether it took part', (t) => {
  const rows = new PartitionRows(rulesOf('ticks'), []);
  const stored = new Stored();
  const all = Array.from({ length: 2_000 }, (_, seq) => tick('A', 1_000_000 * seq, seq, 100));
  for (const each of all) rows.take(each, START_US / 1000);
  stored.add(rows);
  t.equal(rows.take(all[1], START_US / 1000), 'known', 'while its block is on its way');
  rows.take(tick('A', 2_000_000_000, 2_000, 100), START_US / 1000);
  stored.add(rows);
  t.equal(rows.take(all[1], START_US / 1000), 'unsure');
  t.equal(rows.take(tick('A', 1_500_000, 1, 100), START_US / 1000), 'unsure');
  stored.judge(rows);
  t.strictSame(rows.takeLate(), [{ provider: 'p', symbol: 'A', tsUs: START_US + 1_500_000, seq: 1n }]);
  t.strictSame(rows.takeUnsure(), []);
  t.end();
});

void test('exactly what did not take part when it first came is late, whatever comes again, when and how often', (t) => {
  const first = fc.record({
    symbol: fc.constantFrom('A', 'B'),
    stepUs: fc.oneof({ weight: 8, arbitrary: fc.nat(900_000) }, { weight: 1, arbitrary: fc.nat(90_000_000) }),
    backUs: fc.oneof(
      { weight: 6, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.nat(1_000_000) },
      { weight: 1, arbitrary: fc.nat(400_000_000) },
    ),
  });
  const what = fc.array(
    fc.oneof(
      { weight: 12, arbitrary: first },
      // a batch that is sent again, of any age
      { weight: 1, arbitrary: fc.record({ again: fc.nat(), count: fc.integer({ min: 1, max: 50 }) }) },
      { weight: 1, arbitrary: fc.constantFrom('checkpoint', 'restart', 'silence') },
    ),
    { maxLength: 3_000, size: 'max' },
  );
  fc.assert(
    fc.property(what, (steps) => {
      const stored = new Stored();
      let rows = new PartitionRows(rulesOf(2_000), []);
      const sent: TickEvent[] = [];
      const firsts = new Map<string, boolean>();
      /** since the last checkpoint: a restart takes them again */
      let since: (() => void)[] = [];
      let us = 0;
      const send = (event: TickEvent): void => {
        const key = keyOf({ symbol: event.symbol, tsUs: Number(event.srcTs), seq: event.seq });
        const outcome = rows.take(event, START_US / 1000);
        if (!firsts.has(key)) firsts.set(key, outcome === 'applied');
        stored.judge(rows);
      };
      const done = (step: () => void): void => {
        since.push(step);
        step();
      };
      for (const step of steps) {
        if (step === 'checkpoint') {
          stored.add(rows);
          since = [];
        } else if (step === 'restart') {
          rows = new PartitionRows(rulesOf(2_000), stored.states.values());
          for (const each of since) each();
        } else if (step === 'silence') done(() => rows.closeIdle(5_000));
        else if ('again' in step) {
          const from = sent.length === 0 ? 0 : step.again % sent.length;
          for (const event of sent.slice(from, from + step.count)) done(() => send(event));
        } else {
          us += step.stepUs;
          const event = tick(step.symbol, Math.max(0, us - step.backUs), sent.length, 100);
          sent.push(event);
          done(() => send(event));
        }
      }
      stored.add(rows);
      const late = [...firsts].filter(([, isApplied]) => !isApplied).map(([key]) => key);
      t.strictSame([...stored.late].sort(), late.sort());
    }),
    { numRuns: 10 },
  );
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
function primedLooks(
  known: readonly TickEvent[],
  come: readonly TickEvent[],
  restart: number,
  run: bigint | null = null,
): string[] {
  let rows = new PartitionRows(rulesOf('ticks'), []);
  const key = { runId: run ?? 0n, provider: 'p', symbol: 'A' };
  const primed = known.map((each) => ({ ...each, tsUs: Number(each.srcTs) }));
  rows.prime(key, primed, { beforeUs: START_US + 9_500_000, seen: '1:1:' });
  const looks: string[] = [];
  for (const [at, event] of come.entries()) {
    if (at === restart) {
      const states = rows.takeStates().map((state) => ({ ...state, facts: [] }));
      rows = new PartitionRows(rulesOf('ticks'), states);
    }
    rows.take({ ...event, replayRunId: run }, START_US / 1000);
    looks.push(...rows.takeRows().map(shown));
  }
  return looks;
}

void test('stored ticks that may still come are used in their order; those behind the first one that came are looked at', (t) => {
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
  for (const [run, unseen] of [
    [null, ['9600000']],
    [1n, ['9600000', '10200000']],
  ] as const) {
    const seen = whole.filter((row) => !unseen.some((us) => row.includes(us)));
    t.equal(whole.length - seen.length, unseen.length);
    for (let restart = -1; restart < events.length; restart += 1)
      t.strictSame(primedLooks(stored, events, restart, run), seen, `restart before event ${restart}`);
  }
  t.end();
});

void test('however many stored ticks may still come, the earliest are used before they fill the memory', (t) => {
  const rows = new PartitionRows(rulesOf('ticks'), []);
  const ticks = Array.from({ length: 70_000 }, (_, at) => tick('A', 1_000 * at, at, 100));
  const key = { runId: 0n, provider: 'p', symbol: 'A' };
  const primed = { beforeUs: START_US - 500_000, seen: '1:1:' };
  rows.prime(
    key,
    ticks.map((each) => ({ ...each, tsUs: Number(each.srcTs) })),
    primed,
  );
  t.equal(rows.take(ticks[0], START_US / 1000), 'known', 'it was late, and is used');
  t.equal(rows.take(ticks[69_999], START_US / 1000), 'applied');
  t.end();
});

void test('a clock that stands still does not fill the memory', (t) => {
  const rows = new PartitionRows(rulesOf('ticks'), []);
  for (let seq = 0; seq < 70_000; seq += 1) rows.take(tick('A', 0, seq, 100), START_US / 1000);
  t.equal(rows.rowCount, 1, 'ticks of one time are applied together');
  t.end();
});
