import { BarMerger, type Bar } from '../market/bar.ts';
import type { BarEvent, TickEvent } from '../market/event.ts';
import { parseInterval } from '../market/interval.ts';
import { BarBuilder } from './bar-builder.ts';
import { EventSet, fingerprint, type Seen } from './event-set.ts';

/** Where an entry is in its partition: the number of entries before it, and the position of the previous one. */
export interface Place {
  ordinal: number;
  /** null: it is the very first */
  after: string | null;
}

/** Why a bar event was left out of its window's bar. */
export type BarSkip = 'ticks_seen' | 'overlaps';

/** The result of a window. */
export interface Outcome {
  /** null: no event of it counts */
  bar: Bar | null;
  lastSeq: bigint;
  skipped: Readonly<Record<BarSkip, number>>;
}

const MICROS_PER_MS = 1000;

/** One window of one symbol while it is open: its events, each once. */
export class OpenWindow {
  readonly startUs: number;
  /** place of its first entry: a restart reads from there */
  readonly place: Place;
  /** two contents of one tick came: which of them is stored is not known here */
  isContested = false;
  /** ingest time of its oldest event, µs: the latency of its bar is measured from there */
  oldestIngestUs = Infinity;
  readonly #ticks = new BarBuilder();
  #seen: EventSet | null = null;
  #bars: Map<string, BarEvent> | null = null;

  constructor(startUs: number, place: Place) {
    this.startUs = startUs;
    this.place = place;
  }

  addTick(tick: TickEvent, srcUs: number): Seen {
    const { price, size, bid, ask, side, seq } = tick;
    this.#seen ??= new EventSet();
    const seen = this.#seen.add(
      srcUs - this.startUs,
      seq,
      fingerprint(price, size, bid, ask, side === null ? 0 : side === 1 ? 1 : 2),
    );
    if (seen === 'new') this.#ticks.add(srcUs, seq, price, size);
    if (seen === 'conflict') this.isContested = true;
    return seen;
  }

  /** @param bar lies wholly in this window */
  addBar(bar: BarEvent): Seen {
    this.#bars ??= new Map();
    const known = this.#bars.get(bar.eventId);
    if (known === undefined) {
      this.#bars.set(bar.eventId, bar);
      return 'new';
    }
    const isSame = (['open', 'high', 'low', 'close', 'volume'] as const).every(
      (name) => known[name] === bar[name],
    );
    return isSame ? 'repeat' : 'conflict';
  }

  /**
   * If there are ticks, they win: bar events of the window then repeat the same trades. Of overlapping bar events the
   * earliest counts, then the longest. Either way the result depends only on the set of events.
   */
  outcome(): Outcome {
    const bars = this.#bars === null ? [] : [...this.#bars.values()];
    const { lastSeq } = this.#ticks;
    if (this.#ticks.count > 0) {
      return { bar: this.#ticks.bar(), lastSeq, skipped: { ticks_seen: bars.length, overlaps: 0 } };
    }
    const chosen = apart(bars);
    const merger = new BarMerger();
    for (const bar of chosen) merger.add(barOfEvent(bar));
    const skipped = { ticks_seen: 0, overlaps: bars.length - chosen.length };
    return { bar: merger.bar(), lastSeq: 0n, skipped };
  }
}

export function lengthUs({ interval }: BarEvent): number {
  const ms = parseInterval(interval);
  if (ms === null) throw new Error(`interval ${interval} of a bar that was normalised`);
  return ms * MICROS_PER_MS;
}

function apart(bars: readonly BarEvent[]): BarEvent[] {
  const sorted = bars.toSorted(
    (a, b) =>
      Number(a.srcTs - b.srcTs) ||
      lengthUs(b) - lengthUs(a) ||
      Number(a.seq - b.seq) ||
      (a.eventId < b.eventId ? -1 : 1),
  );
  let endUs = -Infinity;
  return sorted.filter((bar) => {
    const startUs = Number(bar.srcTs);
    if (startUs < endUs) return false;
    endUs = startUs + lengthUs(bar);
    return true;
  });
}

/** A bar event states its volume, but not the sum of price × size. */
function barOfEvent({ open, high, low, close, volume, srcTs }: BarEvent): Bar {
  return {
    open,
    high,
    low,
    close,
    volume,
    vwap: null,
    tickCount: 0,
    firstUs: Number(srcTs),
    lastUs: Number(srcTs),
    volumeParts: volume === 0 ? [] : [volume],
    pvParts: null,
  };
}
