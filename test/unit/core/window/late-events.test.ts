import { test } from 'tap';
import type { MarketEvent, TickEvent } from '../../../../src/core/market/event.ts';
import { PartitionWindows } from '../../../../src/core/window/partition-windows.ts';
import type { BarRules, EventOutcome } from '../../../../src/core/window/rules.ts';
import type { KnownSymbol, Resume } from '../../../../src/core/window/step.ts';
import { barEventOf, tickOf } from './market-events.ts';

const BASE_US = 1_767_225_600_000_000;
const RULES: BarRules = {
  windowMs: 1_000,
  allowLateMs: 0,
  late: 'revise',
  reviseHorizonMs: 60_000,
  idleTimeoutMs: 5_000,
};
const NOTHING: Resume = { position: null, openAfter: null, openCount: 0 };

const compare = (a: string, b: string): number => Number(a) - Number(b);

class Partition {
  readonly windows: PartitionWindows;
  #position: number;

  constructor(rules: Partial<BarRules> = {}, resume: Resume = NOTHING, known: KnownSymbol[] = []) {
    this.windows = new PartitionWindows({ ...RULES, ...rules }, resume, known, compare);
    this.#position = Number(resume.openAfter ?? -1);
  }

  apply(event: MarketEvent | null, takenMs = 0): EventOutcome | null {
    this.#position += 1;
    return this.windows.apply(`${this.#position}`, takenMs, event);
  }
}

function tick(ms: number, fields: { symbol?: string; run?: number; price?: number } = {}): TickEvent {
  const { symbol = 'A', run = 0, price = 1 } = fields;
  return tickOf({ provider: 'p', symbol, srcUs: BASE_US + ms * 1000, seq: 0, price, size: 1, run });
}

void test('a late event marks its window until the horizon, by its symbol’s watermark', (t) => {
  const partition = new Partition();
  partition.apply(tick(0));
  partition.apply(tick(60_999));
  t.equal(partition.apply(tick(500)), 'marked', 'its end and the horizon are 1 µs and more ahead');
  partition.apply(tick(61_000, { symbol: 'B' }));
  t.equal(partition.apply(tick(600)), 'marked', 'another symbol’s watermark says nothing');
  partition.apply(tick(61_000));
  t.equal(partition.apply(tick(700)), 'too_late');
  t.equal(partition.apply(tick(1_000)), 'marked');
  const { late } = partition.windows.takeStep();
  t.strictSame(
    late.map(({ startUs, endUs, position }) => [startUs - BASE_US, endUs - BASE_US, position]),
    [
      [0, 1_000_000, '4'],
      [1_000_000, 2_000_000, '7'],
    ],
    'the later event of two decides what is waited for',
  );
  t.strictSame(partition.windows.takeStep().late, []);
  t.end();
});

void test('drop counts, dlq hands out, and bars that come late are handed out always', (t) => {
  for (const [late, fate, dropped] of [
    ['drop', 'dropped', 2],
    ['dlq', 'late', 0],
    ['revise', 'marked', 0],
  ] as const) {
    const partition = new Partition({ late });
    partition.apply(tick(5_000));
    t.equal(partition.apply(tick(100)), fate);
    t.equal(partition.apply(tick(100)), fate);
    t.equal(partition.apply(barEventOf(BASE_US, '1s')), 'late');
    t.equal(partition.windows.hasWork, late !== 'dlq');
    t.equal(partition.windows.takeStep().dropped, dropped);
    t.equal(partition.windows.takeStep().dropped, 0);
  }
  t.end();
});

void test('a late event of a replay goes on behind its window, of any age, and live watermarks stay', (t) => {
  const partition = new Partition({ late: 'drop', reviseHorizonMs: 1 });
  partition.apply(tick(1_000_000, { run: 7 }));
  t.equal(partition.apply(tick(500, { run: 7, price: 3 })), 'extended');
  t.equal(partition.apply(tick(700, { run: 7, price: 4 })), 'extended');
  t.equal(partition.apply(tick(0)), 'counted');
  t.equal(partition.apply(tick(600, { run: 8 })), 'counted');
  const { extensions, late, dropped, watermarks } = partition.windows.takeStep();
  t.match(extensions, [{ runId: 7n, startUs: BASE_US, ticks: [{ price: 3 }, { price: 4 }] }]);
  t.equal(extensions.length, 1);
  t.strictSame([late.length, dropped], [0, 0]);
  t.strictSame(
    watermarks.map(({ runId, maxUs }) => [runId, (maxUs - BASE_US) / 1000]),
    [
      [7n, 1_000_000],
      [0n, 0],
      [8n, 600],
    ],
  );
  t.end();
});

void test('a symbol without an event for the idle timeout has its windows closed, by the clock of the bus', (t) => {
  const partition = new Partition();
  partition.apply(tick(0), 1_000);
  partition.apply(tick(0, { symbol: 'B' }), 5_999);
  partition.windows.closeIdle(0);
  t.equal(partition.windows.activeWindows, 2);
  partition.windows.closeIdle(1);
  t.equal(partition.windows.activeWindows, 1);
  partition.apply(null, 10_999);
  partition.windows.closeIdle(0);
  t.equal(partition.windows.activeWindows, 0, 'time goes on with entries that are nothing');
  t.match(partition.windows.takeStep().windows, [{ symbol: 'A' }, { symbol: 'B' }]);
  t.end();
});

const KNOWN: KnownSymbol = {
  runId: 0n,
  provider: 'p',
  symbol: 'A',
  maxUs: BASE_US + 500_000,
  closedEndUs: BASE_US,
  rollups: [],
};

void test('what was read just now is not idle, though its time on the bus lies behind that of another record', (t) => {
  // two producers on Kafka with clocks of their own, one of them an hour ahead
  const partition = new Partition();
  partition.apply(tick(0, { symbol: 'B' }), 3_600_000);
  partition.apply(tick(0), 0);
  partition.windows.closeIdle(0);
  t.equal(partition.windows.takeStep().windows.length, 0);
  t.equal(partition.apply(tick(10), 10), 'counted');
  partition.windows.closeIdle(4_999);
  t.equal(partition.windows.takeStep().windows.length, 0);
  partition.windows.closeIdle(5_000);
  t.equal(partition.windows.takeStep().windows.length, 2);
  t.end();
});

void test('while windows are rebuilt nothing is closed for idleness', (t) => {
  const partition = new Partition({}, { position: '3', openAfter: '0', openCount: 3 }, [KNOWN]);
  t.ok(partition.windows.isRebuilding);
  t.equal(partition.apply(tick(100), 0), 'counted');
  partition.windows.closeIdle(1e9);
  t.equal(partition.windows.activeWindows, 1);
  t.equal(partition.apply(tick(500), 0), 'counted');
  t.equal(partition.apply(tick(100), 0), 'repeat');
  t.notOk(partition.windows.isRebuilding);
  t.equal(partition.windows.eventsSinceStep, 0, 'a step covers them already');
  t.equal(partition.windows.lostEntries, 0);
  partition.windows.closeIdle(1e9);
  t.match(partition.windows.takeStep(), {
    position: '3',
    openAfter: '3',
    openCount: 0,
    windows: [{ bar: { tickCount: 2 } }],
  });
  t.end();
});

void test('windows whose entries are all lost are closed and asked of the tick consumer, also of silent symbols', (t) => {
  const partition = new Partition({}, { position: '3', openAfter: '0', openCount: 3 }, [KNOWN]);
  partition.windows.caughtUp();
  t.equal(partition.windows.lostEntries, 3);
  const step = partition.windows.takeStep();
  t.match(step.late, [{ symbol: 'A', startUs: BASE_US, endUs: BASE_US + 1_000_000, position: '3' }]);
  t.match(step.watermarks, [{ closedEndUs: BASE_US + 1_000_000 }]);
  t.equal(partition.windows.takenEndUs({ runId: 0n, provider: 'p', symbol: 'A' }), BASE_US + 1_000_000);
  t.end();
});

void test('entries that come after a silence are still of before the restart, and its position stays', (t) => {
  const resume = { position: '3', openAfter: '0', openCount: 3 };
  const partition = new Partition({ late: 'drop' }, resume, [KNOWN]);
  t.equal(partition.apply(tick(100)), 'counted');
  partition.windows.caughtUp();
  t.match(partition.windows.takeStep(), { position: '3', openAfter: '0', openCount: 3 });
  t.ok(partition.windows.isOld('2'));
  t.equal(partition.apply(tick(-1)), 'done');
  t.equal(partition.apply(tick(200)), 'counted');
  t.match(partition.windows.takeStep(), { position: '3', openAfter: '0', openCount: 3, dropped: 0 });
  t.equal(partition.apply(tick(1_000)), 'counted');
  t.notOk(partition.windows.isOld('4'));
  t.match(partition.windows.takeStep(), {
    position: '4',
    openAfter: '3',
    openCount: 1,
    windows: [{ bar: { tickCount: 2 } }],
  });
  t.end();
});

void test('without any position there is no work for a step yet', (t) => {
  const known = { ...KNOWN, maxUs: BASE_US + 500_000, closedEndUs: BASE_US + 500_000 };
  const partition = new Partition({}, NOTHING, [known]);
  t.notOk(partition.windows.hasWork);
  partition.apply(null);
  t.ok(partition.windows.hasWork);
  t.match(partition.windows.takeStep().late, [{ startUs: BASE_US, position: null }]);
  t.end();
});
