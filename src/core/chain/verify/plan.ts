import type { TickRange } from '../../ingest/ranges.ts';

/** What to look at next: ticks that may be stored, or a run of numbers where nothing seems to be. */
export type VerifyTask = TickRange & { kind: 'page' | 'hole' };

/** ticks */
const PAGE_FIRST = 256;
/** However slow a page is: what it costs on a hypertable of many chunks does not depend on its ticks. */
const PAGE_SLOW_MIN = 256;
const PAGE_MAX = 16_384;
/** of the rows of a page; two pages a thread are in memory at once */
const PAGE_TARGET_BYTES = 8 * 2 ** 20;
/** so that progress shows and a snapshot is not held for long, also where outputs take long */
const PAGE_TARGET_MS = 500;
/** of one step, so that a single quick page does not decide */
const GROWTH_MAX = 4;
/** parts that a page is cut into when it was too large */
const SPLIT = 8;

/**
 * Cuts a range of ticks into pages that are bounded in bytes and in time, whatever the ticks are like: each page says
 * how large the next ones are. Large holes are passed over in one step.
 */
export class VerifyPlan {
  /** what was not given out yet; the last one is next */
  readonly #ranges: TickRange[];
  readonly #holes: TickRange[] = [];
  #pageTicks = PAGE_FIRST;

  constructor(range: TickRange) {
    this.#ranges = [range];
  }

  /** null: everything is given out, though split(), recut() and passed() may bring more. */
  take(): VerifyTask | null {
    const hole = this.#holes.pop();
    if (hole !== undefined) return { kind: 'hole', ...hole };
    const range = this.#ranges.pop();
    if (range === undefined) return null;
    const { first } = range;
    const end = first + BigInt(this.#pageTicks) - 1n;
    if (end >= range.last) return { kind: 'page', first, last: range.last };
    this.#ranges.push({ first: end + 1n, last: range.last });
    return { kind: 'page', first, last: end };
  }

  /** How large and how slow a page was. */
  measured({ first, last }: TickRange, bytes: number, ms: number): void {
    const had = Number(last - first) + 1;
    const byBytes = Math.floor(had / Math.max(bytes / PAGE_TARGET_BYTES, 1 / GROWTH_MAX));
    const byTime = Math.max(PAGE_SLOW_MIN, Math.floor((had * PAGE_TARGET_MS) / ms));
    this.#pageTicks = Math.min(PAGE_MAX, Math.max(1, Math.min(byBytes, byTime)));
  }

  /** A page did not fit into memory: the same again, in smaller pages from now on. */
  split(range: TickRange): void {
    const part = Math.ceil(Number(range.last - range.first + 1n) / SPLIT);
    this.#pageTicks = Math.min(this.#pageTicks, part);
    this.#ranges.push(range);
  }

  /** What seemed to be a hole holds something meanwhile: page by page after all. */
  recut(hole: TickRange): void {
    this.#ranges.push(hole);
  }

  /**
   * Nothing is stored behind `after` up to before `stored` (null: at all): what of that was not given out yet is one
   * step instead of many pages.
   */
  passed(after: bigint, stored: bigint | null): void {
    const range = this.#ranges.pop();
    if (range === undefined) return;
    const last = stored === null || stored > range.last ? range.last : stored - 1n;
    if (range.first <= after || last < range.first) {
      this.#ranges.push(range);
      return;
    }
    this.#holes.push({ first: range.first, last });
    if (last < range.last) this.#ranges.push({ first: last + 1n, last: range.last });
  }
}
