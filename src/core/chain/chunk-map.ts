import type { Micros } from '../time.ts';
import type { TickRange } from '../ingest/ranges.ts';

/** A chunk of a table that is partitioned by time, half-open, and the lowest and the highest tick number in it. */
export interface ChunkNumbers {
  from: Micros;
  to: Micros;
  first: bigint;
  last: bigint;
}

/** Half-open; null: without a bound on that side. */
export interface TimeSpan {
  from: Micros | null;
  to: Micros | null;
}

const EVERYWHERE: TimeSpan = { from: null, to: null };

/**
 * Which chunks hold which tick numbers: a query by number alone has to look into every one. Numbers and times rise together, or
 * nearly so; where they do not, the chunks say it, and more of them are looked into. What is stored after the map was made
 * lies between its neighbours.
 */
export class ChunkMap {
  /** in the order of time; empty ones are left out */
  readonly chunks: readonly ChunkNumbers[];

  constructor(chunks: readonly ChunkNumbers[]) {
    this.chunks = chunks.toSorted((a, b) => (a.from < b.from ? -1 : 1));
  }

  /** Where rows with numbers of the range can be, in the order of time. Never empty. */
  spans(range: TickRange): TimeSpan[] {
    const inside = this.#overlapping(range);
    const spans: TimeSpan[] = inside.map(({ from, to }) => ({ from, to }));
    if (!covers(inside, range)) spans.push(this.#between(range));
    return merged(spans);
  }

  /** How many chunks these spans reach into. */
  countIn(spans: readonly TimeSpan[]): number {
    return this.chunks.filter((chunk) => spans.some((span) => meets(chunk, span))).length;
  }

  #overlapping({ first, last }: TickRange): ChunkNumbers[] {
    return this.chunks.filter((chunk) => chunk.first <= last && chunk.last >= first);
  }

  /** From the chunk with the next lower numbers to the one with the next higher ones. */
  #between({ first, last }: TickRange): TimeSpan {
    let below: ChunkNumbers | null = null;
    let above: ChunkNumbers | null = null;
    for (const chunk of this.chunks) {
      if (chunk.last < first && (below === null || chunk.last > below.last)) below = chunk;
      if (chunk.first > last && (above === null || chunk.first < above.first)) above = chunk;
    }
    // times that fall while numbers rise
    if (below !== null && above !== null && below.from >= above.to) return EVERYWHERE;
    return { from: below?.from ?? null, to: above?.to ?? null };
  }
}

function covers(chunks: readonly ChunkNumbers[], { first, last }: TickRange): boolean {
  let next = first;
  for (const chunk of chunks.toSorted((a, b) => (a.first < b.first ? -1 : 1))) {
    if (chunk.first > next) return false;
    if (chunk.last >= next) next = chunk.last + 1n;
  }
  return next > last;
}

/** Whether some of the chunk's time is in the span. */
export function meets(chunk: ChunkNumbers, { from, to }: TimeSpan): boolean {
  return (from === null || chunk.to > from) && (to === null || chunk.from < to);
}

/** Overlapping and touching ones become one. */
function merged(spans: readonly TimeSpan[]): TimeSpan[] {
  const result: TimeSpan[] = [];
  const rising = spans.toSorted((a, b) => (a.from === null || (b.from !== null && a.from < b.from) ? -1 : 1));
  for (const span of rising) {
    const last = result.at(-1);
    const touches = last !== undefined && (last.to === null || span.from === null || span.from <= last.to);
    if (!touches) result.push({ ...span });
    else if (last.to !== null && (span.to === null || span.to > last.to)) last.to = span.to;
  }
  return result;
}
