import fc from 'fast-check';
import { eventIdOf } from '../../../../src/core/market/event-id.ts';
import type { BarEvent, TickEvent } from '../../../../src/core/market/event.ts';
import { formatMicros } from '../../../../src/core/time.ts';
import type { Entry } from './bar-world.ts';

/** 90 s before a day ends: all lengths of rollups end within a short stream */
const BEGIN_US = 1_767_225_600_000_000 - 90_000_000;

export interface TickFields {
  provider: string;
  symbol: string;
  srcUs: number;
  seq: number;
  price: number;
  size: number | null;
  /** 0: live */
  run: number;
}

export function tickOf({ provider, symbol, srcUs, seq, price, size, run }: TickFields): TickEvent {
  const srcTs = BigInt(srcUs);
  return {
    kind: 'tick',
    provider,
    symbol,
    srcTs,
    ingestTs: null,
    seq: BigInt(seq),
    price,
    size,
    bid: null,
    ask: null,
    side: null,
    origin: run === 0 ? 'live' : 'replay',
    replayRunId: run === 0 ? null : BigInt(run),
    eventId: eventIdOf(provider, symbol, formatMicros(srcTs), BigInt(seq), null),
  };
}

export function barEventOf(
  srcUs: number,
  interval: string,
  values: Partial<Pick<BarEvent, 'seq' | 'open' | 'high' | 'low' | 'close' | 'volume'>> = {},
): BarEvent {
  const srcTs = BigInt(srcUs);
  const seq = values.seq ?? 0n;
  return {
    kind: 'bar',
    provider: 'p',
    symbol: 'A',
    srcTs,
    ingestTs: null,
    seq,
    origin: 'live',
    replayRunId: null,
    interval,
    open: 1,
    high: 1,
    low: 1,
    close: 1,
    volume: 1,
    ...values,
    eventId: eventIdOf('p', 'A', formatMicros(srcTs), seq, interval),
  };
}

export const price = fc.oneof(
  fc.constantFrom(0, 1, -1, 0.1, 425.15, -37.63, 1e16, -1e16, 1e-300, 5e-324),
  fc.double({ min: -1e100, max: 1e100, noNaN: true }).map((value) => value + 0),
);
export const size = fc.oneof(
  fc.constantFrom(null, 0, 1, 0.1, 100, 1e16),
  fc.double({ min: 0, max: 1e100, noNaN: true }),
);

/** of one record of the stream: what it is, and how far the clocks go before it */
const record = fc.record({
  kind: fc.oneof(
    { weight: 16, arbitrary: fc.constant('tick' as const) },
    { weight: 2, arbitrary: fc.constantFrom('again' as const, 'other' as const) },
    { weight: 1, arbitrary: fc.constant('nothing' as const) },
  ),
  provider: fc.constantFrom('p', 'q'),
  symbol: fc.constantFrom('A', 'A', 'B'),
  gapUs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3_000_000 }), fc.constant(500_000)),
  behindUs: fc.oneof(
    fc.constant(0),
    fc.integer({ min: 0, max: 2_000_000 }),
    fc.integer({ min: 0, max: 30_000_000 }),
  ),
  seq: fc.integer({ min: 0, max: 2 }),
  price,
  size,
  takenMs: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 4_000 })),
  which: fc.nat(),
});

/** Live events of some symbols: out of order, again, and again with another content. */
export function liveStream(maxLength: number): fc.Arbitrary<Entry[]> {
  return fc.array(record, { maxLength, size: 'max' }).map((records) => {
    let nowUs = BEGIN_US;
    let takenMs = BEGIN_US / 1000;
    const ticks: TickEvent[] = [];
    return records.map(({ kind, gapUs, behindUs, which, ...fields }) => {
      nowUs += gapUs;
      takenMs += fields.takenMs;
      if (kind === 'nothing') return { takenMs, event: null };
      const again = kind === 'tick' ? undefined : ticks[which % Math.max(1, ticks.length)];
      if (again !== undefined) {
        const event = kind === 'again' ? again : { ...again, price: fields.price, size: fields.size };
        return { takenMs, event };
      }
      // whole quarters of a second often: the ends of windows
      const srcUs = nowUs - behindUs - (which % 3 === 0 ? (nowUs - behindUs) % 250_000 : 0);
      const event = tickOf({ ...fields, srcUs, run: 0 });
      ticks.push(event);
      return { takenMs, event };
    });
  });
}

export interface ReplayStream {
  log: Entry[];
  /** every tick of each run, once */
  ticks: TickEvent[];
}

/** Live events, and between them replays: each run emits in order, after pauses, and again what it emitted before a crash. */
export function replayStream(maxLength: number): fc.Arbitrary<ReplayStream> {
  const runTicks = fc.array(record, { maxLength: 25, size: 'max' });
  const emission = fc.record({
    run: fc.constantFrom(1, 2),
    count: fc.integer({ min: 1, max: 12 }),
    back: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 6 })),
    takenMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 12_000 })),
  });
  const emissions = fc.array(emission, { maxLength, size: 'max' });
  return fc.tuple(liveStream(maxLength), runTicks, runTicks, emissions).map(([live, one, two, emissions]) => {
    const runs = [one, two].map((records, at) => inOrder(records, at + 1));
    const done = [0, 0];
    const log: Entry[] = [];
    let liveAt = 0;
    let takenMs = BEGIN_US / 1000;
    const takeLive = (count: number): void => {
      for (const entry of live.slice(liveAt, liveAt + count)) {
        takenMs = Math.max(takenMs, entry.takenMs);
        log.push({ ...entry, takenMs });
      }
      liveAt += count;
    };
    const rest = runs.map((_, at) => ({ run: at + 1, count: 1_000, back: 0, takenMs: 0 }));
    for (const { run, count, back, takenMs: gapMs } of [...emissions, ...rest]) {
      takeLive(count);
      takenMs += gapMs;
      const from = Math.max(0, done[run - 1] - back);
      for (const event of runs[run - 1].slice(from, from + count)) log.push({ takenMs, event });
      done[run - 1] = Math.max(done[run - 1], Math.min(runs[run - 1].length, from + count));
    }
    takeLive(live.length);
    return { log, ticks: runs.flat() };
  });
}

function inOrder(
  records: readonly { gapUs: number; symbol: string; price: number; size: number | null }[],
  run: number,
): TickEvent[] {
  let srcUs = BEGIN_US;
  let seq = 0;
  return records.map(({ gapUs, symbol, price, size }) => {
    srcUs += gapUs;
    seq = gapUs === 0 ? seq + 1 : 0;
    return tickOf({ provider: 'p', symbol, srcUs, seq, price, size, run });
  });
}
