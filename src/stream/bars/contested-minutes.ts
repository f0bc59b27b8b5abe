import { partitionOf } from '../../core/bus/partitions.ts';
import type { PartitionWindows } from '../../core/window/partition-windows.ts';
import type { BarsStore } from '../../store/bars/bars-store.ts';
import type { BarsPlace } from '../../store/bars/state.ts';
import type { ContestedCursor, ContestedMinute } from '../../store/market/contested.ts';

export interface ContestedOptions {
  bars: BarsStore;
  place: BarsPlace;
  /** of the topic */
  partitions: number;
  windows: PartitionWindows;
  /** Calls the store until it answers; rejects when the partition is given up. */
  store: <T>(call: () => Promise<T>) => Promise<T>;
}

/** how often the table is read, ms */
const LOOK_MS = 1_000;

/**
 * Minutes in which the tick consumer put ticks of this partition aside: the windows of such a minute are marked once they
 * are closed. The cursor is stored once a transaction holds the marks, so a restart misses nothing.
 *
 *   read ─► of this partition ─► closed: marked, in the next step ─► nothing waits, the step is committed: cursor stored
 *                                open:   waits
 */
export class ContestedMinutes {
  readonly #options: ContestedOptions;
  #cursor: ContestedCursor | null = null;
  #lookedMs = -Infinity;
  #waiting: ContestedMinute[] = [];
  /** minutes were read since the cursor was stored */
  #hasRead = false;

  constructor(options: ContestedOptions) {
    this.#options = options;
  }

  /**
   * Call it between transactions.
   * @param isCaughtUp a read of the bus that began after the last call found nothing
   */
  async lookWhenDue(nowMs: number, isCaughtUp: boolean): Promise<void> {
    if (nowMs - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = nowMs;
    const { bars, place, windows, store } = this.#options;
    this.#waiting = this.#mark(this.#waiting, isCaughtUp);
    const tx = this.#cursor?.tx;
    if (tx !== undefined && this.#hasRead && this.#waiting.length === 0 && !windows.hasMarks) {
      await store(() => bars.contestedRead(place, tx));
      this.#hasRead = false;
    }
    const { minutes, cursor, isEnd } = await store(() => bars.nextContested(place, this.#cursor));
    this.#cursor = cursor;
    this.#hasRead ||= minutes.length > 0;
    const mine = minutes.filter(
      ({ symbol }) => partitionOf(symbol, this.#options.partitions) === place.held.partition,
    );
    this.#waiting.push(...this.#mark(mine, false));
    if (!isEnd) this.#lookedMs = -Infinity;
  }

  /** Those that must wait. With everything read and no window open, no bar holds what was put aside. */
  #mark(minutes: readonly ContestedMinute[], isCaughtUp: boolean): ContestedMinute[] {
    const { windows } = this.#options;
    return minutes
      .map((minute) => ({ ...minute, startUs: windows.recheck(minute) }))
      .filter(({ provider, symbol, startUs, endUs }) => {
        const isOver = startUs >= endUs || (isCaughtUp && !windows.hasOpen(provider, symbol));
        return !isOver;
      });
  }
}
