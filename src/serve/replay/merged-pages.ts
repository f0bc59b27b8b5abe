import type { ReplayPosition } from '../../core/replay/position.ts';
import { REPLAY_SOURCES, type ReplaySource } from '../../core/replay/request.ts';
import type { ReplayRows } from '../../core/replay/rows.ts';
import type { PageFrom } from '../../store/replay/ticks.ts';
import type { SourcePages } from './source-pages.ts';

/** Neighbouring rows of one source. */
export interface Slice {
  pages: SourcePages;
  rows: ReplayRows;
  from: number;
  to: number;
}

/** The rows of several sources in the order of their times; at one time in the order of the sources. */
export class MergedPages {
  readonly #all: readonly SourcePages[];

  /** @param all in the order of REPLAY_SOURCES */
  constructor(all: readonly SourcePages[]) {
    this.#all = all;
  }

  /** Time of the next row, µs; null: there is none. */
  async nextUs(): Promise<number | null> {
    for (const pages of this.#all) if (pages.isShort) await pages.ready();
    const next = Math.min(...this.#all.map(({ nextUs }) => nextUs));
    return next === Infinity ? null : next;
  }

  /** The next rows up to `untilUs`, included, `max` at most; after nextUs() alone, and only where it is not beyond. */
  take(untilUs: number, max: number): Slice {
    const first = this.#all.reduce((a, b) => (b.nextUs < a.nextUs ? b : a));
    const at = this.#all.indexOf(first);
    let limitUs = untilUs;
    let isIncluded = true;
    for (const [index, { nextUs }] of this.#all.entries()) {
      if (index === at || nextUs > limitUs) continue;
      // another source's row of that time comes before ours when its source does
      isIncluded = index > at && (isIncluded || nextUs < limitUs);
      limitUs = nextUs;
    }
    return { pages: first, ...first.take(limitUs, isIncluded, max) };
  }
}

/** Where the rows of a source begin that come behind a position. */
export function fromOf(
  source: ReplaySource,
  position: ReplayPosition | null,
  startUs: bigint,
  rowsMax: number,
): PageFrom {
  if (position === null) return { after: null, fromUs: startUs, rowsMax };
  const order = REPLAY_SOURCES.indexOf(source) - REPLAY_SOURCES.indexOf(position.source);
  if (order === 0) return { after: position, fromUs: startUs, rowsMax };
  // of the position's own time: sources before its own are done, those behind it are not
  return { after: null, fromUs: order < 0 ? position.tsUs + 1n : position.tsUs, rowsMax };
}
